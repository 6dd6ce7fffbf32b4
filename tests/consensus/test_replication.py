"""What a leader sends to one follower, and what it makes of the answers."""

from __future__ import annotations

from consensus.configuration import Configuration
from consensus.limits import Limits
from consensus.log import Log
from consensus.messages import Append, AppendReply, InstallSnapshot, Message
from consensus.replication import Replication
from consensus.stored import Entry, Snapshot
from tests.consensus.synced import sent_whole

MS = 1_000_000
LIMITS = Limits(
    heartbeat_interval_ns=100 * MS,
    election_timeout_ns=1_000 * MS,
    snapshot_timeout_ns=3_000 * MS,
    entries_per_message_max=4,
    bytes_per_message_max=10,
    inflight_max=2,
)
FIRST = Snapshot(1, 1, Configuration.of("ab"))


def replication(log: Log) -> Replication:
    followers = Replication("a", LIMITS, log, term=2)
    followers.add("b", now=0)
    return followers


def indexes(messages: list[Message]) -> list[list[int]]:
    return [[entry.index for entry in message.entries] for message in messages if isinstance(message, Append)]


def test_a_probe_is_sent_once_and_found_to_be_lost_by_a_heartbeat_behind_it() -> None:
    log = Log(FIRST)
    followers = replication(log)
    log.append(Entry(2, 2, b"x"))
    assert indexes(followers.outgoing("b", 1, 0)) == [[2]]
    log.append(Entry(3, 2, b"y"))
    assert followers.outgoing("b", 1, 0) == []
    for _ in range(20):
        assert indexes(followers.heartbeat("b", 1, 0)) == [[]], "it may only be slow"
    followers.take_reply("b", AppendReply(2, True, 1), now=0)
    assert indexes(followers.outgoing("b", 1, 0)) == [[2, 3]]


def test_a_snapshot_that_is_not_answered_is_sent_again_ever_more_rarely() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 9)])
    log.compact(8, (b"state",))
    followers = replication(log)
    followers.take_reply("b", AppendReply(2, False, 8, 1, 1), now=0)
    sent = []
    for now in range(0, 100_000, 500):
        messages = followers.heartbeat("b", 8, now * MS)
        sent += [now] if any(isinstance(message, InstallSnapshot) for message in messages) else []
    assert sent == [0, 3_000, 9_000, 21_000, 45_000, 93_000]


def test_a_message_is_bounded_by_bytes_and_by_entries_but_takes_one_entry_of_any_size() -> None:
    log = Log(FIRST)
    followers = replication(log)
    followers.take_reply("b", AppendReply(2, True, 1), now=0)
    for index, size in enumerate([6, 5, 30, 1, 1, 1, 1, 1], start=2):
        log.append(Entry(index, 2, b"x" * size))
    assert indexes(followers.outgoing("b", 1, 0)) == [[2], [3]]
    followers.take_reply("b", AppendReply(2, True, 3), now=0)
    assert indexes(followers.outgoing("b", 1, 0)) == [[4], [5, 6, 7, 8]]


def test_a_late_rejection_does_not_slow_the_stream_down() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 6)])
    followers = replication(log)
    followers.take_reply("b", AppendReply(2, True, 5), now=0)
    followers.take_reply("b", AppendReply(2, False, 4, 1, 2), now=0)
    assert followers.outgoing("b", 0, 0) == []


def test_a_rejected_stream_goes_back_to_what_is_known_to_match_and_no_further() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 5)])
    followers = replication(log)
    followers.take_reply("b", AppendReply(2, True, 4), now=0)
    log.append(Entry(5, 2, b"y"))
    log.append(Entry(6, 2, b"z"))
    assert indexes(followers.outgoing("b", 0, 0)) == [[5, 6]]
    followers.take_reply("b", AppendReply(2, False, 6, 0, 2), now=0)
    assert indexes(followers.outgoing("b", 0, 0)) == [[5, 6]]


def test_a_snapshot_is_repeated_after_its_own_timeout_and_heartbeats_go_on_meanwhile() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 6)])
    followers = replication(log)
    log.compact(5, (b"state",))
    sent = followers.heartbeat("b", 5, 0)
    assert sent == [Append(2, 5, 2, (), 5)]
    followers.take_reply("b", AppendReply(2, False, 5, 0, 2), now=0)
    assert followers.outgoing("b", 5, 0) == sent_whole(2, log.snapshot)
    assert followers.outgoing("b", 5, 0) == []
    assert followers.heartbeat("b", 5, 2_999 * MS) == [Append(2, 5, 2, (), 5)]
    assert followers.heartbeat("b", 5, 3_000 * MS) == sent_whole(2, log.snapshot)
    followers.take_reply("b", AppendReply(2, True, 5), now=0)
    log.append(Entry(6, 2, b"y"))
    assert indexes(followers.outgoing("b", 5, 0)) == [[6]]


def test_a_snapshot_is_sent_again_at_once_to_one_that_has_started_again() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 6)])
    followers = replication(log)
    log.compact(5, (b"state",))
    sent = followers.heartbeat("b", 5, 0)
    assert sent == [Append(2, 5, 2, (), 5)]
    followers.take_reply("b", AppendReply(2, False, 5, 0, 2), now=0)
    assert followers.outgoing("b", 5, 0) == sent_whole(2, log.snapshot)
    followers.reconnected("b")
    assert followers.heartbeat("b", 5, 1 * MS) == sent_whole(2, log.snapshot)
    followers.reconnected("nobody")


def test_a_read_asks_one_whose_probe_was_compacted_away_as_well() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 6)])
    followers = Replication("a", LIMITS, log, term=2)
    followers.add("b", now=0)
    log.append(Entry(6, 2, b"y"))
    followers.outgoing("b", 1, 0)
    log.compact(6, (b"state",))
    followers.reads.ask("a", "r", 6, False)
    _, heartbeats = followers.tend_reads("abc", 6)
    assert heartbeats == [("b", Append(2, 6, 2, (), 6, 1))]
    assert followers.outgoing("b", 6, 0) == sent_whole(2, log.snapshot)


def test_a_snapshot_that_is_old_when_it_arrives_is_followed_by_the_newer_one_at_once() -> None:
    log = Log(FIRST, [Entry(index, 2, b"x") for index in range(2, 6)])
    followers = replication(log)
    log.compact(3, (b"old",))
    followers.take_reply("b", AppendReply(2, False, 5, 0, 2), now=0)
    assert isinstance(followers.outgoing("b", 5, 0)[0], InstallSnapshot)
    log.compact(5, (b"new",))
    followers.take_reply("b", AppendReply(2, True, 3), now=0)
    log.append(Entry(6, 2, b"y"))
    assert followers.outgoing("b", 5, 0) == sent_whole(2, log.snapshot)


def test_a_removed_follower_is_sent_its_removal_until_it_has_it() -> None:
    """It may be slower than the majority that has removed it, and nobody else tells it."""
    log = Log(FIRST)
    followers = replication(log)
    log.append(Entry(2, 2, configuration=Configuration.of("a")))
    followers.mark_removed("a", 2, 0)
    followers.forget_removed(999 * MS)
    assert indexes(followers.heartbeat("b", 2, 999 * MS)) == [[2]]
    followers.take_reply("b", AppendReply(2, True, 2), 999 * MS)
    assert followers.peers == ["b"]
    followers.forget_removed(999 * MS)
    assert followers.peers == []


def test_a_removed_follower_that_does_not_answer_is_forgotten() -> None:
    followers = replication(Log(FIRST))
    followers.mark_removed("a", 2, 0)
    followers.mark_removed("a", 3, 900 * MS)
    followers.forget_removed(1_000 * MS)
    assert followers.peers == []


def test_a_server_that_is_added_again_is_a_stranger() -> None:
    log = Log(FIRST, [Entry(2, 2, b"x")])
    followers = replication(log)
    followers.take_reply("b", AppendReply(2, True, 2), 0)
    followers.mark_removed("a", 2, 0)
    followers.add("b", 0)
    followers.forget_removed(5_000 * MS)
    assert (followers.peers, followers.match_index("b")) == (["b"], 0)

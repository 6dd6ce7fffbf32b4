"""Snapshots on their way: chunk by chunk, through loss, repetition and reordering, and on from where they were."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from msgspec import structs

from consensus import (
    Append,
    AppendReply,
    Configuration,
    InstallSnapshot,
    Limits,
    Persist,
    PreVoteReply,
    Raft,
    Received,
    Refused,
    Restored,
    Send,
    Snapshot,
    SnapshotReply,
    Stored,
    VoteReply,
)
from consensus.stored import digest
from consensus.transfer import Incoming, Outgoing
from tests.consensus.synced import installed, sent_whole, synced

ABC = Configuration.of("abc")
MS = 1_000_000
LIMITS = Limits(chunks_inflight_max=3)
SNAPSHOT = Snapshot(40, 2, ABC, tuple(bytes([number]) * (number + 1) for number in range(10)))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_network_does_all_of_it_arrives(seed: int) -> None:
    random = Random(seed)
    chunks = tuple(random.randbytes(random.randint(1, 9)) for _ in range(random.randrange(12)))
    snapshot = replace(SNAPSHOT, chunks=chunks)
    loss, window = random.choice([0.0, 0.1, 0.5]), random.randint(1, 4)
    outgoing, incoming = Outgoing(snapshot.header), Incoming()
    there: list[InstallSnapshot] = []
    back: list[int] = []
    for _ in range(3_000):
        while (message := outgoing.next(2, snapshot, window)) is not None:
            there += [message] * (random.random() >= loss) + [message] * (random.random() < 0.1)
        assert outgoing.sent - outgoing.acked <= window
        if there and random.random() < 0.7:
            back += [incoming.take(there.pop(random.randrange(min(2, len(there)))))] * (random.random() >= loss)
        if back and random.random() < 0.7:
            outgoing.held(back.pop(random.randrange(min(2, len(back)))))
        if random.random() < 0.05:
            outgoing.again()
        if random.random() < 0.003:
            incoming = Incoming()  # it restarts
        if incoming.whole is not None:
            break
    assert incoming.whole == snapshot


def test_one_that_holds_half_of_it_goes_on_under_the_next_leader() -> None:
    incoming = Incoming()
    first = sent_whole(2, SNAPSHOT)
    for message in first[:6]:
        incoming.take(message)
    assert [incoming.take(message) for message in sent_whole(3, SNAPSHOT)[:2]] == [6, 6]
    outgoing = Outgoing(SNAPSHOT.header)
    assert [outgoing.next(3, SNAPSHOT, 1), outgoing.next(3, SNAPSHOT, 1)] == [sent_whole(3, SNAPSHOT)[0], None]
    outgoing.held(6)
    assert outgoing.next(3, SNAPSHOT, 1) == sent_whole(3, SNAPSHOT)[6]


def test_another_snapshot_begins_anew_and_a_late_chunk_of_the_one_before_changes_nothing() -> None:
    incoming, newer = Incoming(), replace(SNAPSHOT, index=50)
    old, new = sent_whole(2, SNAPSHOT), sent_whole(2, newer)
    held = [incoming.take(m) for m in (*old[:9], new[0], old[9], new[1])]
    assert held[-3:] == [1, 0, 2]
    assert incoming.whole is None


def test_chunks_that_are_not_what_the_digest_says_are_thrown_away() -> None:
    incoming = Incoming()
    messages = sent_whole(2, SNAPSHOT)
    held = [incoming.take(m) for m in (*messages[:4], structs.replace(messages[4], chunk=b"forged"), *messages[5:])]
    assert (held[-2:], incoming.whole) == ([9, 0], None)
    for message in messages:
        incoming.take(message)
    assert incoming.whole == SNAPSHOT


def test_a_digest_tells_where_the_chunks_are_cut() -> None:
    assert len({digest(c) for c in ([], [b"ab", b"c"], [b"a", b"bc"], [b"abc"])}) == 4


# One leader and one follower


def leader(snapshot: Snapshot) -> Raft:
    """a leads term 3, and its log begins with this snapshot."""
    raft = Raft("a", Stored(snapshot=snapshot), LIMITS, Random(1), now=0)
    raft.term = 2
    raft.campaign(0)
    raft.step("b", PreVoteReply(3, True), 0)
    synced(raft, raft.step("b", VoteReply(3, True), 0))
    assert raft.is_leader
    raft.step("b", AppendReply(3, True, 41), 0)
    return raft


def chunks_to(raft: Raft, effects: list[object]) -> list[int]:
    messages = [e.message for e in effects if isinstance(e, Send) and e.to == "c"]
    return [message.number for message in messages if isinstance(message, InstallSnapshot)]


def test_few_chunks_are_under_way_and_each_that_arrives_lets_another_go() -> None:
    raft = leader(SNAPSHOT)
    assert chunks_to(raft, [*raft.step("c", AppendReply(3, False, 40, 0, 2), 0)]) == [0, 1, 2]
    header = SNAPSHOT.header
    for held in (1, 2, 3):
        assert chunks_to(raft, [*raft.step("c", SnapshotReply(3, 40, header.digest, held), 0)]) == [held + 2]
    assert raft.is_sending_snapshot(0)
    raft.step("c", SnapshotReply(3, 40, header.digest, 10), 0)
    raft.step("c", AppendReply(3, True, 40), 0)
    assert not raft.is_sending_snapshot(0)
    raft.validate()


def test_what_is_not_acknowledged_is_sent_again_from_there() -> None:
    raft = leader(SNAPSHOT)
    raft.step("c", AppendReply(3, False, 40, 0, 2), 0)
    raft.step("c", SnapshotReply(3, 40, SNAPSHOT.header.digest, 2), 0)
    raft.step("b", AppendReply(3, True, 41), 900 * MS)
    assert chunks_to(raft, [*raft.wake(900 * MS)]) == []
    assert chunks_to(raft, [*raft.wake(1_200 * MS)]) == [2, 3, 4]


def test_what_is_said_of_another_snapshot_says_nothing_of_this() -> None:
    raft = leader(SNAPSHOT)
    raft.step("c", AppendReply(3, False, 40, 0, 2), 0)
    for index, wrong in ((39, SNAPSHOT.header.digest), (40, bytes(16))):
        assert chunks_to(raft, [*raft.step("c", SnapshotReply(3, index, wrong, 2), 0)]) == []
    assert raft.step("z", SnapshotReply(3, 40, SNAPSHOT.header.digest, 2), 0) == []


def test_a_leader_that_compacts_in_the_middle_sends_the_new_one() -> None:
    raft = leader(SNAPSHOT)
    raft.step("c", AppendReply(3, False, 40, 0, 2), 0)
    raft.compact(41, [b"new"])
    effects = [*raft.step("c", SnapshotReply(3, 40, SNAPSHOT.header.digest, 2), 0)]
    assert [
        e.message.header.index for e in effects if isinstance(e, Send) and isinstance(e.message, InstallSnapshot)
    ] == [41]


def test_nothing_is_installed_before_the_host_has_read_it() -> None:
    raft = Raft("c", Stored.bootstrap(ABC), LIMITS, Random(1), now=0)
    raft.step("a", Append(3, 1, 1, (), 1), 0)
    effects = [effect for message in sent_whole(3, SNAPSHOT) for effect in raft.step("a", message, 0)]
    (received,) = [effect for effect in effects if isinstance(effect, Received)]
    assert (raft.commit_index, received.snapshot) == (1, SNAPSHOT)
    assert not [effect for effect in effects if isinstance(effect, Persist | Restored)]
    again = raft.step("a", sent_whole(3, SNAPSHOT)[-1], 0)
    assert [effect for effect in again if isinstance(effect, Received)] == [received], "asked once more"
    assert [type(effect) for effect in raft.install(received.snapshot)] == [Persist, Restored, Send]
    assert raft.install(received.snapshot) == []


def test_a_snapshot_that_was_received_from_a_leader_before_is_not_installed_without_one() -> None:
    raft = Raft("c", Stored.bootstrap(ABC), LIMITS, Random(1), now=0)
    raft.step("a", Append(3, 1, 1, (), 1), 0)
    effects = [effect for message in sent_whole(3, SNAPSHOT) for effect in raft.step("a", message, 0)]
    assert raft.deadline is not None
    raft.wake(raft.deadline)
    assert raft.install(next(e for e in effects if isinstance(e, Received)).snapshot) == []
    assert raft.commit_index == 1


def test_one_whose_log_has_come_so_far_needs_no_chunk_more() -> None:
    raft = Raft("c", Stored.bootstrap(ABC), LIMITS, Random(1), now=0)
    installed(raft, "a", 3, SNAPSHOT)
    assert raft.step("a", sent_whole(3, SNAPSHOT)[3], 0) == [Send("a", AppendReply(3, True, 40))]


def test_compacting_takes_no_chunk_that_could_not_be_sent() -> None:
    raft = leader(SNAPSHOT)
    for bad in ([b""], [bytes((1 << 20) + 1)]):
        with pytest.raises(AssertionError):
            raft.compact(41, bad)
    with pytest.raises(Refused):
        raft.compact(40, [b"x"])

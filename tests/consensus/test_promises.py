"""Servers whose disk has gone back: found out by what they had said, and without a say from then on."""

from __future__ import annotations

from random import Random

import pytest

from consensus import (
    Append,
    AppendReply,
    Configuration,
    Entry,
    Forgot,
    HardState,
    InstallSnapshot,
    Limits,
    Message,
    PreVoteReply,
    PreVoteRequest,
    Raft,
    Role,
    Send,
    Snapshot,
    SnapshotReply,
    Stored,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.effects import Committed, Readable
from consensus.promises import Promise, Promises, promised
from tests.consensus.synced import synced

MS = 1_000_000
LIMITS = Limits(heartbeat_interval_ns=100 * MS, election_timeout_ns=1_000 * MS)
FIRST = Snapshot(1, 1, Configuration.of("abc"))


@pytest.mark.parametrize(
    ("message", "promise"),
    [
        (PreVoteRequest(6, 90, 4), Promise(5, 0)),
        (PreVoteReply(6, granted=True), None),
        (PreVoteReply(5, granted=False), Promise(5, 0)),
        (VoteRequest(5, 90, 4), Promise(5, 0)),
        (VoteReply(5, granted=True), Promise(5, 0)),
        (Append(5, 7, 4, (Entry(8, 5), Entry(9, 5)), 3), Promise(5, 9)),
        (AppendReply(5, accepted=True, index=9), Promise(5, 9)),
        (AppendReply(5, accepted=False, index=9), Promise(5, 0)),
        (InstallSnapshot(5, FIRST.header, 0, b""), Promise(5, 1)),
        (SnapshotReply(5, 1, FIRST.header.digest, 1), Promise(5, 0)),
        (TimeoutNow(5), Promise(5, 0)),
    ],
)
def test_what_a_message_promises(message: Message, promise: Promise | None) -> None:
    assert promised(message) == promise


@pytest.mark.parametrize(
    ("term", "last_index", "is_broken"),
    [
        (5, 90, False),  # to the entry
        (5, 93, False),  # more than anybody was told
        (6, 40, False),  # a later leader may have cut its log
        (5, 89, True),  # one acknowledged entry less
        (4, 95, True),  # a term that it had left, and in which it may have voted since
        (0, 0, True),
    ],
)
def test_a_server_that_starts_again_below_what_it_promised_has_forgotten(
    term: int, last_index: int, is_broken: bool
) -> None:
    promises = Promises()
    promises.note("b", AppendReply(5, accepted=True, index=90))
    promises.note("b", AppendReply(5, accepted=True, index=70))  # late
    promises.note("b", VoteReply(4, granted=True))
    found = promises.started_again("b", term, last_index)
    assert found == (Forgot("b", term, last_index, 5, 90) if is_broken else None)
    assert promises.are_void("b") is is_broken
    assert promises.started_again("b", term, last_index) is None, "said once"


def test_a_stranger_has_promised_nothing() -> None:
    assert Promises().started_again("b", 0, 0) is None


def test_those_who_forgot_are_remembered_and_strangers_among_them_not_without_end() -> None:
    promises = Promises()
    promises.distrust("b")
    for number in range(1000):
        promises.distrust(f"stranger-{number}")
    promises.keep_only("abc")
    assert promises.are_void("b")
    assert promises.are_void("stranger-999")
    assert len(promises.forgetful) < 100


# -- in a server -------------------------------------------------------------------------------------------------------


def server(name: str = "a", entries: int = 0) -> Raft:
    stored = Stored(HardState(1), FIRST, tuple(Entry(2 + i, 1, b"x") for i in range(entries)))
    return Raft(name, stored, LIMITS, Random(1), 0)


def leader(entries: int = 0) -> Raft:
    """a leads term 2, by the vote of b."""
    raft = server(entries=entries)
    assert raft.deadline is not None
    now = raft.deadline
    raft.wake(now)
    raft.step("b", PreVoteReply(2, granted=True), now)
    synced(raft, raft.step("b", VoteReply(2, granted=True), now))
    assert raft.is_leader
    return raft


def acknowledge(raft: Raft, peer: str, now: int) -> list[object]:
    return list(raft.step(peer, AppendReply(raft.term, accepted=True, index=raft.last_index), now))


NOW = 3_000 * MS


def test_an_acknowledgement_that_was_forgotten_commits_nothing() -> None:
    raft = leader()
    acknowledge(raft, "b", NOW)
    synced(raft, raft.propose([b"x"], NOW))
    synced(raft, raft.propose([b"y"], NOW))
    before = raft.commit_index
    raft.step("b", AppendReply(2, accepted=True, index=3), NOW)
    assert raft.commit_index == before + 1, "x is held by two of three"
    raft.step("b", AppendReply(2, accepted=False, index=0), NOW)
    effects = raft.started_again("b", term=2, last_index=2)
    assert Forgot("b", 2, 2, 2, 3) in effects
    synced(raft, raft.propose([b"z"], NOW))
    assert not [e for e in acknowledge(raft, "b", NOW) if isinstance(e, Committed)], "nothing that it says counts"
    assert acknowledge(raft, "c", NOW), "the other one makes a majority"
    assert raft.commit_index == raft.last_index


def test_who_forgot_is_sent_nothing_and_leaves_its_leader_without_a_majority() -> None:
    raft, later = leader(), NOW + LIMITS.election_timeout_ns
    acknowledge(raft, "c", NOW)
    acknowledge(raft, "b", later)
    raft.promises.distrust("b")
    assert {effect.to for effect in raft.propose([b"x"], later) if isinstance(effect, Send)} == {"c"}
    raft.validate()
    raft.wake(later)  # c alone counts, and has been silent for an election timeout
    assert raft.role is Role.FOLLOWER
    raft.validate()


def test_who_forgot_answers_no_read() -> None:
    raft = leader()
    acknowledge(raft, "b", NOW)
    acknowledge(raft, "c", NOW)
    raft.promises.distrust("b")
    assert not [e for e in raft.read("a", "r", NOW) if isinstance(e, Readable)]
    assert not [e for e in raft.step("b", AppendReply(2, True, 2, round=1), NOW) if isinstance(e, Readable)]
    assert [e for e in raft.step("c", AppendReply(2, True, 2, round=1), NOW) if isinstance(e, Readable)]


def test_who_forgot_has_no_vote() -> None:
    raft = server(entries=3)
    raft.promises.distrust("b")
    assert raft.deadline is not None
    now = raft.deadline
    raft.wake(now)
    assert raft.step("b", PreVoteReply(2, granted=True), now) == []
    assert raft.role is Role.PRE_CANDIDATE
    raft.step("c", PreVoteReply(2, granted=True), now)
    assert raft.role is Role.CANDIDATE, "the other one's is as good as ever"


def test_who_forgot_gets_no_vote_and_leads_nobody() -> None:
    """Its log may lack what is committed, and look good to one that forgot it, too."""
    raft = server(entries=3)
    raft.promises.distrust("b")
    assert raft.step("b", VoteRequest(7, 99, 6), NOW) == []
    assert raft.step("b", Append(7, 4, 1, (), 4), NOW) == []
    assert (raft.term, raft.vote, raft.leader) == (1, None, None)

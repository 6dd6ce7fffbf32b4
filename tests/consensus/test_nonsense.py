"""A peer's nonsense is dropped and counted, and never breaks an assertion."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from consensus import (
    CHUNK_BYTES_MAX,
    Append,
    AppendReply,
    Configuration,
    Entry,
    HardState,
    InstallSnapshot,
    Limits,
    Message,
    Persist,
    PreVoteReply,
    PreVoteRequest,
    Raft,
    Received,
    Refused,
    Restored,
    Send,
    Snapshot,
    SnapshotReply,
    Stored,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.terms import LEAP_MAX

ABC = Configuration.of("abc")
WHOLE = Snapshot(5, 2, ABC, (b"one", b"two"))
DIGESTS = [Snapshot(1, 1, ABC, chunks).header.digest for chunks in ((), (b"x",), (b"x", b"y"), (b"x", b"y", b"z"))]


def chunk(term: int, snapshot: Snapshot) -> InstallSnapshot:
    """The first of a snapshot."""
    return InstallSnapshot(term, snapshot.header, 0, snapshot.chunks[0] if snapshot.chunks else b"")


def any_chunk(random: Random, term: int, index: int, before: int) -> InstallSnapshot:
    """Of one of a few snapshots at an index, the wrong one now and then."""
    chunks = (b"x", b"y", b"z")[: random.randrange(4)]
    header = Snapshot(index, before, Configuration.of("abc"), chunks).header
    number = random.randrange(max(1, len(chunks)))
    said = chunks[number] if chunks and random.random() < 0.9 else b"" if not chunks else b"?"
    return InstallSnapshot(term, header, number, said)


@pytest.mark.parametrize(
    "message",
    [
        Append(2, -1, 0, (), 0),
        Append(2, 0, 1, (), 0),
        Append(2, 1, 0, (), 0),
        Append(2, 1, 3, (), 0),
        Append(2, 1, 1, (), -1),
        Append(2, 1, 1, (), 0, -1),
        Append(2, 1, 1, (Entry(3, 2),), 0),
        Append(2, 1, 1, (Entry(2, 3),), 0),
        Append(2, 1, 1, (Entry(2, 0),), 0),
        Append(2, 1, 1, (Entry(2, 2), Entry(3, 1)), 0),
        Append(2, 1, 1, (Entry(2, 2, configuration=Configuration()),), 0),
        Append(2, 1, 1, (Entry(2, 2, configuration=Configuration(("b", "a"))),), 0),
        Append(2, 1, 1, (Entry(2, 2, configuration=Configuration(("a",), ("a",))),), 0),
        Append(2, 1, 1, (Entry(2, 2, b"x", ABC),), 0),
        Append(-2, 1, 1, (), 0),
        AppendReply(2, True, -1),
        AppendReply(2, False, 1, 3, 1),
        AppendReply(2, False, 1, 1, -1),
        AppendReply(2, True, 1, round=-1),
        chunk(2, Snapshot(0, 1, ABC)),
        chunk(2, Snapshot(5, 3, ABC)),
        chunk(2, Snapshot(5, 2, Configuration())),
        replace(chunk(2, WHOLE), number=2),
        replace(chunk(2, WHOLE), number=-1),
        replace(chunk(2, WHOLE), chunk=b""),
        replace(chunk(2, WHOLE), chunk=bytes(CHUNK_BYTES_MAX + 1)),
        replace(chunk(2, WHOLE), header=replace(WHOLE.header, digest=b"short")),
        replace(chunk(2, WHOLE), header=replace(WHOLE.header, count=2**25)),
        replace(chunk(2, WHOLE), header=replace(WHOLE.header, count=-1)),
        replace(chunk(2, Snapshot(5, 1, ABC)), chunk=b"of none"),
        SnapshotReply(2, 0, bytes(16), 1),
        SnapshotReply(2, 5, bytes(16), -1),
        SnapshotReply(2, 5, bytes(16), 2**25),
        VoteRequest(2, -1, 1),
        VoteRequest(2, 1, 2),
        PreVoteRequest(2, 1, -1),
        TimeoutNow(0),
    ],
)
def test_what_no_correct_server_sends_is_dropped(message: Message) -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), now=0)
    assert raft.step("b", message, 0) == []
    assert raft.dropped == 1
    assert raft.term == 1


def test_a_message_of_oneself_or_of_nobody_is_dropped() -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), now=0)
    assert raft.step("a", VoteRequest(2, 1, 1), 0) == []
    assert raft.step("", VoteRequest(2, 1, 1), 0) == []
    assert raft.dropped == 2


def test_a_second_leader_of_one_term_is_dropped() -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), now=0)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    assert raft.step("c", Append(2, 1, 1, (Entry(2, 2, b"evil"),), 2), 0) == []
    assert (raft.dropped, raft.last_index, raft.leader) == (1, 1, "b")


def any_message(random: Random, raft: Raft) -> Message:
    """A message with numbers near those that matter, so that some are taken."""
    term = raft.term + random.choice([-1, 0, 0, 0, 0, 1])
    index = max(0, random.choice([0, raft.commit_index, raft.last_index]) + random.randrange(-2, 3))
    before = random.choice([raft.log.term_at(index) or 0, random.randrange(raft.term + 2)])
    entries = tuple(
        Entry(index + offset, min(max(before, 1) + random.randrange(2), max(term, 1)), random.choice([b"", b"x"]))
        if random.random() < 0.8
        else Entry(index + offset, term, configuration=Configuration.of(random.sample("abcde", 3)))
        for offset in range(1, random.randrange(1, 4))
    )
    messages: list[Message] = [
        PreVoteRequest(term + 1, index, before),
        PreVoteReply(random.choice([term, term + 1]), random.random() < 0.7),
        VoteRequest(term, index, before, random.random() < 0.2),
        VoteReply(term, random.random() < 0.7),
        Append(term, index, before, entries, max(0, index + random.randrange(-1, 3)), random.randrange(3)),
        AppendReply(term, random.random() < 0.6, index, random.choice([0, before]), index, random.randrange(4)),
        any_chunk(random, term, index, before),
        SnapshotReply(term, index, random.choice(DIGESTS), random.randrange(5)),
        TimeoutNow(term),
    ]
    return random.choice(messages)


@pytest.mark.parametrize("seed", range(20))
def test_no_sequence_of_messages_breaks_an_invariant(seed: int) -> None:
    """Peers that lie may ruin what is agreed, but not the process; and the disk always follows."""
    random = Random(seed)
    limits = Limits(uncommitted_max=5, entries_per_message_max=2, inflight_max=2)
    stored = Stored(HardState(1), Snapshot(1, 1, ABC))
    raft = Raft("a", stored, limits, Random(seed), now=0)
    now = 0
    writes: list[Persist] = []
    whole: list[Snapshot] = []
    for _ in range(500):
        now += random.randrange(limits.election_timeout_ns // 5)
        choice = random.random()
        try:
            if choice < 0.1:
                effects = raft.wake(now)
            elif choice < 0.2:
                effects = raft.propose([b"x"] * random.randint(1, 3), now)
            elif choice < 0.22 and writes:
                effects = raft.persisted(writes.pop(0), now)
            elif choice < 0.24 and whole:
                effects = raft.install(random.choice(whole))
            elif choice < 0.25:
                effects = raft.add_server(random.choice("abcdef"), random.random() < 0.5, now)
            elif choice < 0.3:
                effects = raft.transfer_leadership(random.choice("abcdef"), now)
            elif choice < 0.35:
                effects = raft.compact(raft.commit_index, [b"state"])
            elif choice < 0.4:
                effects = raft.read(random.choice("abc"), random.choice("xyz"), now)
            else:
                effects = raft.step(random.choice("bcde"), any_message(random, raft), now)
        except Refused:
            continue
        for effect in effects:
            if isinstance(effect, Persist):
                stored = effect.onto(stored)
                writes.append(effect)
            elif isinstance(effect, Received):
                assert effect.snapshot.header.digest in DIGESTS
                whole.append(effect.snapshot)
            elif isinstance(effect, Restored):
                assert stored.snapshot == effect.snapshot
        raft.validate()
        entries = raft.log.span(raft.log.snapshot.index + 1, raft.last_index)
        assert stored == Stored(HardState(raft.term, raft.vote), raft.log.snapshot, entries)


TOP = 2**64 - 1


@pytest.mark.parametrize(
    "message",
    [
        Append(TOP, 1, 1, (), 1),
        Append(2**62 + 1, 1, 1, (), 1),
        Append(2, 2**61 + 1, 1, (), 1),
        Append(2, 1, 1, (), TOP),
        Append(2, 1, 1, (), 1, TOP),
        AppendReply(TOP, False, 0),
        AppendReply(2, True, TOP),
        AppendReply(2, False, 1, 1, TOP),
        chunk(TOP, Snapshot(5, 1, ABC)),
        chunk(2, Snapshot(TOP, 1, ABC)),
        SnapshotReply(TOP, 5, bytes(16), 1),
        SnapshotReply(2, TOP, bytes(16), 1),
        VoteRequest(TOP, 1, 1),
        VoteReply(TOP, False),
        PreVoteRequest(TOP, 1, 1),
        PreVoteReply(TOP, False),
        TimeoutNow(TOP),
    ],
)
def test_a_number_that_no_server_reaches_is_dropped(message: Message) -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0)
    assert raft.step("b", message, 10) == []
    assert (raft.term, raft.dropped) == (1, 1)


def test_a_snapshot_that_is_ahead_by_more_than_any_log_grows_is_dropped() -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0)
    raft.step("b", Append(2, 1, 1, (), 1), 10)
    raft.step("b", chunk(2, Snapshot(2**41, 2, ABC)), 10)
    assert (raft.last_index, raft.dropped) == (1, 1)


def test_a_chunk_of_a_snapshot_makes_nobody_a_leader() -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0)
    assert raft.step("b", chunk(2, WHOLE), 10) == []
    assert raft.step("b", chunk(1, Snapshot(5, 1, ABC)), 10) == []
    assert (raft.term, raft.leader) == (1, None)


FAR = [
    lambda term: Append(term, 1, 1, (), 1),
    lambda term: AppendReply(term, False, 0),
    lambda term: VoteReply(term, False),
    lambda term: PreVoteReply(term, False),
    lambda term: VoteRequest(term, 1, 1),
    lambda term: TimeoutNow(term),
]


@pytest.mark.parametrize("said", FAR)
def test_whatever_is_said_of_terms_there_is_a_next_one(said: Callable[[int], Message]) -> None:
    """The greatest term a million times a second for a minute: it costs a bounded leap each election timeout."""
    raft, limits = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0), Limits()
    for now in range(0, 60_000_000_000, 50_000_000):
        raft.step("b", said(2**62), now)
        raft.validate()
    assert 1 < raft.term <= 1 + 61 * LEAP_MAX < 2**40
    now = 120 * limits.election_timeout_ns
    asked = [e.message for e in raft.wake(now) if isinstance(e, Send)]
    assert PreVoteRequest(raft.term + 1, 1, 1) in asked


def test_who_was_away_catches_up_with_terms_that_are_far_ahead() -> None:
    raft, now, reached = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0), 0, 5 * LEAP_MAX
    while raft.leader != "b" and now < 60_000_000_000:
        now += 100_000_000
        raft.step("b", Append(reached, 1, 1, (), 1), now)
    assert (raft.term, raft.leader) == (reached, "b")
    assert now <= 6_000_000_000


def test_an_ordinary_term_is_entered_at_once() -> None:
    raft = Raft("a", Stored.bootstrap(ABC), Limits(), Random(1), 0)
    for term in (2, 3, 60_000, 60_001):
        raft.step("b", Append(term, 1, 1, (), 1), 10)
        assert raft.term == term


def test_at_the_last_term_a_server_stands_no_more() -> None:
    raft = Raft("a", Stored(HardState(2**62), Snapshot(1, 1, ABC)), Limits(), Random(1), 0)
    assert raft.deadline is None
    assert raft.wake(10**12) == []

"""Batches: many commands in one write, several writes in one, and the order of effects that must survive both."""

from __future__ import annotations

from random import Random

import pytest

from consensus import (
    Append,
    AppendReply,
    Committed,
    Configuration,
    Effect,
    EffectQueue,
    Entry,
    HardState,
    Limits,
    Persist,
    PreVoteReply,
    Raft,
    Reason,
    Refused,
    Send,
    Snapshot,
    Stored,
    VoteReply,
)
from consensus.effect_queue import STALL_NS, WAITING_MAX
from consensus.log import Log
from tests.consensus.synced import synced

BOTH = Configuration.of("ab")


def leader(voters: str = "abc", limits: Limits | None = None) -> Raft:
    """a, which leads term 2 and has committed its no-op at 2."""
    raft = Raft("a", Stored.bootstrap(Configuration.of(voters)), limits or Limits(), Random(1), now=0)
    effects = synced(raft, raft.campaign(0))
    for peer in voters[1:]:
        effects = raft.step(peer, PreVoteReply(2, True), 0)
    for peer in voters[1:]:
        effects += synced(raft, raft.step(peer, VoteReply(2, True), 0))
    for peer in voters[1:]:
        raft.step(peer, AppendReply(2, True, 2), 0)
    assert raft.is_leader
    assert raft.commit_index == 2
    return raft


def committed(effects: list[Effect]) -> list[bytes]:
    return [entry.data for effect in effects if isinstance(effect, Committed) for entry in effect.entries]


def test_a_batch_is_one_write_and_one_append_to_each_follower() -> None:
    raft = leader()
    entries = (Entry(3, 2, b"x"), Entry(4, 2, b"y"), Entry(5, 2, b"z"))
    append = Append(2, 2, 2, entries, 2)
    assert raft.propose([b"x", b"y", b"z"], 0) == [Persist(entries=entries), Send("b", append), Send("c", append)]
    assert raft.last_index == 5


def test_a_follower_writes_once_for_all_entries_of_an_append() -> None:
    raft = Raft("b", Stored.bootstrap(BOTH), Limits(), Random(1), now=0)
    entries = tuple(Entry(index, 2, b"x") for index in range(2, 34))
    effects = raft.step("a", Append(2, 1, 1, entries, 1), 0)
    assert [effect for effect in effects if isinstance(effect, Persist)] == [Persist(HardState(2), entries=entries)]
    assert effects[-1] == Send("a", AppendReply(2, True, 33))


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ([], Reason.EMPTY),
        ([b"x", b""], Reason.EMPTY),
        ([b"x", b"x" * 11], Reason.TOO_LARGE),
        ([b"x"] * 4, Reason.QUEUE_FULL),
    ],
)
def test_of_a_batch_all_is_taken_or_nothing(commands: list[bytes], reason: Reason) -> None:
    raft = leader(limits=Limits(bytes_per_message_max=10, uncommitted_max=3))
    with pytest.raises(Refused) as refused:
        raft.propose(commands, 0)
    assert refused.value.reason is reason
    assert (raft.last_index, raft.room) == (2, 3)
    raft.propose([b"x", b"y"], 0)
    assert raft.room == 1


def test_who_may_not_propose_has_no_room() -> None:
    raft = leader()
    raft.transfer_leadership("b", 0)
    assert raft.room == 0
    assert Raft("b", Stored.bootstrap(BOTH), Limits(), Random(1), now=0).room == 0


def test_a_leader_counts_its_own_log_only_once_it_is_durable() -> None:
    raft = leader()
    (persist, *_) = raft.propose([b"x", b"y"], 0)
    assert isinstance(persist, Persist)
    assert raft.is_saving
    assert committed(raft.step("b", AppendReply(2, True, 4), 0)) == [], "one of three holds it"
    assert committed(raft.persisted(persist, 0)) == [b"x", b"y"]
    assert not raft.is_saving


def test_a_majority_of_followers_commits_what_the_leader_has_yet_to_write() -> None:
    raft = leader()
    raft.propose([b"x"], 0)
    raft.step("b", AppendReply(2, True, 3), 0)
    assert committed(raft.step("c", AppendReply(2, True, 3), 0)) == [b"x"]


def test_a_write_of_an_earlier_term_says_nothing_of_the_log_of_a_later() -> None:
    """What was appended as leader of term 2 was cut off by b, in term 3; then a leads again, and the old news comes."""
    raft = leader("ab")
    (old, _) = raft.propose([b"lost"] * 9, 0)
    raft.step("b", Append(3, 2, 2, (Entry(3, 3),), 2), 0)
    raft.campaign(2 * 10**9)
    raft.step("b", PreVoteReply(4, True), 2 * 10**9)
    raft.step("b", VoteReply(4, True), 2 * 10**9)
    assert (raft.is_leader, raft.last_index) == (True, 4)
    assert isinstance(old, Persist)
    raft.persisted(old, 2 * 10**9)
    assert raft.is_saving
    assert committed(raft.step("b", AppendReply(4, True, 3), 2 * 10**9)) == []
    assert raft.commit_index == 2


def test_a_batch_that_is_larger_than_a_message_is_sent_in_several_without_waiting() -> None:
    raft = leader("ab", limits=Limits(entries_per_message_max=3, inflight_max=2))
    appends = [e.message for e in raft.propose([b"x"] * 10, 0) if isinstance(e, Send)]
    assert [len(a.entries) for a in appends if isinstance(a, Append)] == [3, 3]
    effects = raft.step("b", AppendReply(2, True, 5), 0)
    assert [len(e.message.entries) for e in effects if isinstance(e, Send) and isinstance(e.message, Append)] == [3]


# Several writes in one


def some_history(random: Random) -> tuple[Stored, list[Persist]]:
    """A disk, and what a log then had persisted, one after the other."""
    before = Stored(
        HardState(3), Snapshot(4, 1, BOTH), tuple(Entry(5 + i, 2, b"e") for i in range(random.randrange(6)))
    )
    log, term, found = Log(before.snapshot, before.entries), 3, []
    for _ in range(random.randint(2, 6)):
        for _ in range(random.randint(0, 3)):
            draw = random.random()
            if draw < 0.5:
                log.append(Entry(log.last_index + 1, term, random.randbytes(2)))
            elif draw < 0.7:
                term += 1
                first = random.randint(log.snapshot.index + 1, log.last_index + 1)
                log.merge([Entry(first, term, b"another"), Entry(first + 1, term, b"leader's")])
            elif draw < 0.85 and log.last_index > log.snapshot.index:
                log.compact(random.randint(log.snapshot.index + 1, log.last_index), (b"state",))
            elif draw > 0.95:
                term += 1
                log.restore(Snapshot(log.last_index + random.randint(1, 3), term, BOTH, (b"leader's",)))
        persist = log.take_unsaved(HardState(term) if random.random() < 0.3 else None)
        if persist is not None:
            found.append(persist)
    return before, found


@pytest.mark.parametrize("seed", range(300))
def test_two_writes_in_one_are_both_in_their_order(seed: int) -> None:
    stored, persists = some_history(Random(seed))
    together = Persist()
    one_by_one = stored
    for persist in persists:
        together = together.then(persist)
        one_by_one = persist.onto(one_by_one)
        assert together.onto(stored) == one_by_one


# The queue


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_let_out_before_what_it_relies_on_is_durable(seed: int) -> None:
    """Sends are numbers, and each relies on all that was to be persisted before it was given."""
    random, queue = Random(seed), EffectQueue[object]()
    needed: list[int] = []
    durable = given = 0
    writing: Persist | None = None
    seen: list[int] = []
    for _ in range(400):
        if random.random() < 0.5:
            effects: list[object] = []
            for _ in range(random.randrange(4)):
                if random.random() < 0.4:
                    given += 1
                    effects.append(Persist(HardState(given)))
                else:
                    effects.append(len(needed))
                    needed.append(given)
            queue.put(effects)
        elif writing is not None and random.random() < 0.5:
            assert writing.hard_state is not None
            durable, writing = writing.hard_state.term, None
            queue.written()
        while (effect := queue.next(0)) is not None:
            assert writing is None, "nothing is let out while the disk writes"
            if isinstance(effect, Persist):
                writing = effect
            else:
                assert isinstance(effect, int)
                assert needed[effect] <= durable
                seen.append(effect)
    assert seen == sorted(seen)
    assert len(seen) > 10


def test_a_write_of_another_kind_is_not_overtaken() -> None:
    queue = EffectQueue[object]((Persist, bytes))
    queue.put([Persist(HardState(1)), 1, b"promise", Persist(HardState(2)), 2])
    assert queue.next(0) == Persist(HardState(1))
    queue.written()
    assert [queue.next(0), queue.next(0), queue.next(0)] == [1, b"promise", None]
    queue.written()
    assert queue.next(0) == Persist(HardState(2))
    queue.written()
    assert (queue.next(0), queue.next(0), queue.is_idle) == (2, None, True)


def test_a_disk_that_stalls_or_keeps_too_much_waiting_stops_its_host() -> None:
    queue = EffectQueue[object]()
    queue.put([Persist(HardState(1))])
    assert not queue.has_stalled(10 * STALL_NS), "it has nothing to do"
    queue.next(5)
    assert (queue.has_stalled(4 + STALL_NS), queue.has_stalled(5 + STALL_NS)) == (False, True)
    queue.put(range(WAITING_MAX))
    assert queue.has_stalled(5)
    queue.written()
    assert not queue.has_stalled(10 * STALL_NS)

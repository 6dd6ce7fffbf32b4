"""Linearizable reads: sentences of section 6.4 of the thesis, and the leader's queue of reads alone."""

from __future__ import annotations

from random import Random

import pytest

from consensus import (
    Append,
    AppendReply,
    Configuration,
    Effect,
    Limits,
    PreVoteReply,
    Raft,
    Readable,
    Reason,
    Refused,
    Role,
    Send,
    Stored,
    VoteReply,
)
from consensus.read_index import Reads
from tests.consensus.synced import synced

MS = 1_000_000
LIMITS = Limits(heartbeat_interval_ns=100 * MS, election_timeout_ns=1_000 * MS, reads_max=3)


def leader(voters: str = "abc", commits: bool = True) -> Raft:
    """Server a, elected by all in term 2, with the no-op at 2 committed if wanted."""
    raft = Raft("a", Stored.bootstrap(Configuration.of(voters)), LIMITS, Random(1), now=0)
    raft.campaign(0)
    for peer in voters[1:]:
        raft.step(peer, PreVoteReply(raft.term + (raft.role is Role.PRE_CANDIDATE), True), 0)
    for peer in voters[1:]:
        synced(raft, raft.step(peer, VoteReply(raft.term, True), 0))
    for peer in voters[1:] if commits else ():
        raft.step(peer, AppendReply(2, True, 2), 0)
    assert raft.is_leader
    return raft


def rounds(effects: list[Effect]) -> dict[str, int]:
    """Of the Appends in what a door gave, by whom they are for."""
    return {e.to: e.message.round for e in effects if isinstance(e, Send) and isinstance(e.message, Append)}


def readable(effects: list[Effect]) -> list[Readable]:
    return [effect for effect in effects if isinstance(effect, Readable)]


def test_6_4_the_leader_saves_its_current_commit_index() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    synced(raft, raft.propose([b"later"], 0))
    raft.step("b", AppendReply(2, True, 3), 0)
    assert raft.commit_index == 3
    assert readable(raft.step("b", AppendReply(2, True, 3, round=1), 0)) == [Readable("b", "x", 2)]


def test_6_4_it_issues_a_new_round_of_heartbeats_and_waits_for_a_majority() -> None:
    raft = leader("abcde")
    assert rounds(raft.read("b", "x", 0)) == dict.fromkeys("bcde", 1)
    assert not readable(raft.step("b", AppendReply(2, True, 2, round=1), 0))
    assert not readable(raft.step("b", AppendReply(2, True, 2, round=1), 0)), "one server is one, however often"
    assert not readable(raft.step("c", AppendReply(2, True, 2), 0)), "an answer to what was sent before"
    assert readable(raft.step("c", AppendReply(2, True, 2, round=1), 0)) == [Readable("b", "x", 2)]


def test_6_4_a_rejection_acknowledges_the_leader_as_well() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    assert readable(raft.step("b", AppendReply(2, False, 2, 0, 1, round=1), 0)) == [Readable("b", "x", 2)]


def test_6_4_the_commit_index_of_a_new_leader_is_that_of_its_first_entry_at_least() -> None:
    raft = leader(commits=False)
    assert raft.commit_index == 1
    raft.read("b", "x", 0)
    assert readable(raft.step("b", AppendReply(2, True, 1, round=1), 0)) == [Readable("b", "x", 2)]


def test_6_4_one_round_serves_any_number_of_reads_that_have_accumulated() -> None:
    raft = leader()
    assert rounds(raft.read("b", "x", 0)) == {"b": 1, "c": 1}
    assert rounds(raft.read("b", "y", 0)) == rounds(raft.read("c", "x", 0)) == {}
    effects = raft.step("c", AppendReply(2, True, 2, round=1), 0)
    assert readable(effects) == [Readable("b", "x", 2)], "the others came after the round had begun"
    assert rounds(effects) == {"b": 2, "c": 2}
    assert len(readable(raft.step("b", AppendReply(2, True, 2, round=2), 0))) == 2


def test_a_lost_round_is_begun_again_by_the_next_periodic_heartbeat() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    effects = raft.wake(LIMITS.heartbeat_interval_ns)
    assert rounds(effects) == {"b": 2, "c": 2}
    assert readable(raft.step("c", AppendReply(2, True, 2, round=2), 0)) == [Readable("b", "x", 2)]
    assert rounds(raft.wake(2 * LIMITS.heartbeat_interval_ns)) == {"b": 2, "c": 2}, "nobody waits"


def test_a_leader_that_steps_down_answers_nothing() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    assert not readable(raft.step("c", Append(3, 2, 2, (), 2), 0))
    assert not readable(raft.step("b", AppendReply(2, True, 2, round=1), 0))
    with pytest.raises(Refused, match="leader: c") as refused:
        raft.read("b", "x", 0)
    assert refused.value.reason is Reason.NOT_LEADER


@pytest.mark.parametrize(("voters", "follower", "at_once"), [
    ("ab", "b", True), ("abc", "b", True), ("abc", "d", False), ("abc", None, False), ("abcd", "b", False),
])  # fmt: skip
def test_who_asks_and_follows_has_answered_the_round(voters: str, follower: str | None, at_once: bool) -> None:
    raft = leader(voters)
    effects = raft.read("b", "x", 0, follower)
    assert (effects == [Readable("b", "x", 2)]) == at_once
    assert bool(rounds(effects)) == (not at_once)


def test_a_question_that_is_repeated_by_a_follower_waits_for_no_round_any_more() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    assert raft.read("b", "x", 0, "b") == [Readable("b", "x", 2)]
    assert not readable(raft.step("c", AppendReply(2, True, 2, round=1), 0))


def test_reads_go_on_while_leadership_is_handed_over() -> None:
    raft = leader()
    raft.transfer_leadership("b", 0)
    raft.read("c", "x", 0)
    assert readable(raft.step("c", AppendReply(2, True, 2, round=1), 0))


def test_a_single_voter_answers_at_once() -> None:
    assert readable(leader("a").read("b", "x", 0)) == [Readable("b", "x", 2)]


def test_the_word_of_learners_and_strangers_does_not_count() -> None:
    raft = leader("ab")
    synced(raft, raft.add_server("c", voter=False, now=0))
    assert rounds(raft.read("c", "x", 0)) == {"b": 1}
    for other in "cd":
        assert not readable(raft.step(other, AppendReply(2, True, 2, round=1), 0))


def test_an_answer_to_a_round_that_has_not_begun_is_dropped() -> None:
    raft = leader()
    raft.read("b", "x", 0)
    assert raft.step("b", AppendReply(2, True, 2, round=2), 0) == []
    assert raft.dropped == 1


def test_reads_have_a_limit() -> None:
    raft = leader()
    for number in range(LIMITS.reads_max):
        raft.read("b", str(number), 0)
    with pytest.raises(Refused) as refused:
        raft.read("b", "one more", 0)
    assert refused.value.reason is Reason.TOO_MANY_READS


@pytest.mark.parametrize(("term", "answered"), [(2, 1), (3, 0)])
def test_a_follower_echoes_the_round_to_the_leader_of_its_term_alone(term: int, answered: int) -> None:
    raft = Raft("b", Stored.bootstrap(Configuration.of("abc")), LIMITS, Random(1), now=0)
    raft.step("c", Append(term, 1, 1, (), 1), 0)
    effects = raft.step("a" if term == 3 else "c", Append(2, 1, 1, (), 1, 1), 0)
    answers = [effect.message for effect in effects if isinstance(effect, Send)]
    assert [answer.round for answer in answers if isinstance(answer, AppendReply)] == [answered]


def test_a_question_that_is_repeated_keeps_the_index_and_the_round_of_the_first() -> None:
    reads = Reads(1)
    reads.ask("b", "x", 4, is_followed=False)
    assert reads.begins()
    reads.ask("b", "x", 9, is_followed=False)
    assert reads.take(1) == [Readable("b", "x", 4)]
    assert not reads
    reads.validate()

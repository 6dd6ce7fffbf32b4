"""Proposals are sent until they are decided or given up."""

from __future__ import annotations

from daemon.control.effects import Answered
from daemon.control.messages import Proposal
from daemon.control.proposals import NO_ANSWER, RESEND_INTERVAL_NS, Proposals
from daemon.state import Decided, command_codec
from daemon.state.commands import Identity, StopRun
from daemon.state.machine import Request

LATE = 10**12
ME = Identity("ant", 3)
STOP = StopRun("run-1")
DATA = command_codec().encode(STOP)


def decided(sequence: int, shard: str = "ant", generation: int = 3) -> Decided:
    return Decided(Request(shard, generation, sequence), "no", "", 7)


def test_a_proposal_is_sent_again_until_it_is_decided() -> None:
    proposals = Proposals(ME)
    assert proposals.add("r", STOP, LATE)
    assert proposals.due(0) == [Proposal(1, 1, "cluster", DATA)]
    assert proposals.due(1) == []
    assert proposals.deadline == RESEND_INTERVAL_NS
    assert proposals.due(RESEND_INTERVAL_NS) == [Proposal(1, 1, "cluster", DATA)]
    assert proposals.decided(decided(1)) == Answered("r", "no", "", decided=True, index=7)
    assert proposals.decided(decided(1)) is None
    assert proposals.due(LATE) == []
    assert proposals.deadline is None


def test_each_says_below_which_number_nothing_is_waited_for() -> None:
    proposals = Proposals(ME)
    for name in "abc":
        proposals.add(name, STOP, LATE)
    assert [(each.sequence, each.answered) for each in proposals.due(0)] == [(1, 1), (2, 1), (3, 1)]
    proposals.decided(decided(2))
    assert proposals.answered == 1
    proposals.decided(decided(1))
    once = proposals.once(STOP)
    assert (once.sequence, once.answered) == (4, 3)
    proposals.decided(decided(3))
    assert proposals.answered == 5


def test_one_that_is_not_answered_is_sent_ever_more_rarely() -> None:
    proposals = Proposals(ME)
    proposals.add("r", STOP, LATE)
    sent = [half for half in range(30) if proposals.due(half * RESEND_INTERVAL_NS)]
    assert sent == [0, 1, 3, 7, 11, 15, 19, 23, 27]
    proposals.leader_changed()
    assert [half for half in range(30, 35) if proposals.due(half * RESEND_INTERVAL_NS)] == [30, 31, 33]


def test_a_new_leader_gets_all_at_once() -> None:
    proposals = Proposals(ME)
    proposals.add("r", STOP, LATE)
    proposals.due(0)
    proposals.leader_changed()
    assert [proposal.sequence for proposal in proposals.due(1)] == [1]


def test_what_takes_too_long_is_given_up() -> None:
    proposals = Proposals(ME)
    proposals.add("r", STOP, 100)
    assert proposals.deadline == 100
    assert proposals.given_up(99) == []
    assert proposals.is_pending("r")
    assert proposals.given_up(100) == [Answered("r", NO_ANSWER)]
    assert not proposals.is_pending("r")
    assert proposals.given_up(101) == []


def test_those_that_wait_are_never_far_apart() -> None:
    """Or the log would drop an outcome that one of them waits for."""
    proposals = Proposals(ME, pending_max=2)
    assert [proposals.add(f"r{i}", STOP, LATE) for i in range(3)] == [True, True, False]
    proposals.decided(decided(2))
    assert not proposals.add("r3", STOP, LATE), "the first still waits"
    proposals.decided(decided(1))
    assert proposals.add("r3", STOP, LATE)


def test_what_the_log_says_to_others_and_to_former_lives_is_no_answer() -> None:
    proposals = Proposals(ME)
    proposals.add("r", STOP, LATE)
    assert proposals.decided(decided(1, "bee")) is None
    assert proposals.decided(decided(1, generation=2)) is None
    assert proposals.is_pending("r")


def test_a_refusal_ends_a_proposal_unless_it_keeps_asking() -> None:
    proposals = Proposals(ME)
    proposals.add("r", STOP, LATE)
    proposals.add("own", STOP, LATE, keeps_asking=True)
    assert proposals.refused(1, "an older version") == Answered("r", "an older version")
    assert proposals.refused(1, "an older version") is None
    assert proposals.refused(2, "an older version") is None
    assert proposals.is_pending("own")

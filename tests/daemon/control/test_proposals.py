"""Proposals are sent until they are decided or given up."""

from __future__ import annotations

from daemon.control.proposals import RESEND_INTERVAL_NS, Proposals
from daemon.state.commands import CommandCodec, StopRun

LATE = 10**12


def test_a_proposal_is_sent_again_until_it_is_decided() -> None:
    proposals, command = Proposals(), CommandCodec().encode(StopRun("r", "run-1"))
    assert proposals.add(StopRun("r", "run-1"), LATE)
    assert proposals.due(0) == [("r", command)]
    assert proposals.due(1) == []
    assert proposals.deadline == RESEND_INTERVAL_NS
    assert proposals.due(RESEND_INTERVAL_NS) == [("r", command)]
    assert proposals.settle("r")
    assert not proposals.settle("r")
    assert proposals.due(LATE) == []
    assert proposals.deadline is None


def test_one_that_is_not_answered_is_sent_ever_more_rarely() -> None:
    proposals = Proposals()
    proposals.add(StopRun("r", "run-1"), LATE)
    sent = [half for half in range(30) if proposals.due(half * RESEND_INTERVAL_NS)]
    assert sent == [0, 1, 3, 7, 11, 15, 19, 23, 27]
    proposals.leader_changed()
    assert [half for half in range(30, 35) if proposals.due(half * RESEND_INTERVAL_NS)] == [30, 31, 33]


def test_a_new_leader_gets_all_at_once() -> None:
    proposals = Proposals()
    proposals.add(StopRun("r", "run-1"), LATE)
    proposals.due(0)
    proposals.leader_changed()
    assert [request for request, _ in proposals.due(1)] == ["r"]


def test_what_takes_too_long_is_given_up() -> None:
    proposals = Proposals()
    proposals.add(StopRun("r", "run-1"), 100)
    assert proposals.deadline == 100
    assert proposals.given_up(99) == []
    assert proposals.given_up(100) == ["r"]
    assert proposals.given_up(101) == []


def test_the_queue_has_a_limit() -> None:
    proposals = Proposals(pending_max=2)
    assert [proposals.add(StopRun(f"r{i}", "x"), LATE) for i in range(3)] == [True, True, False]
    proposals.settle("r0")
    assert proposals.add(StopRun("r3", "x"), LATE)

"""When a run is over, and how."""

from __future__ import annotations

from daemon.control.leader.end import ending
from daemon.control.leader.messages import RunReport
from daemon.state.commands import EndRun


def report(outcome: str, tick: int, failure: str = "") -> RunReport:
    return RunReport(1, 1, tick, outcome, failure, 10)


def test_a_run_is_over_when_all_members_say_so() -> None:
    reports = {"a": report("completed", 5), "b": report("completed", 5)}
    assert ending("p-1", ("a", "b", "c"), reports) is None
    reports["c"] = report("completed", 5)
    assert ending("p-1", ("a", "b", "c"), reports) == EndRun("p-1", "completed", 5, "", 30)


def test_one_failure_is_enough() -> None:
    reports = {"a": report("stopped", 6), "b": report("failed", 5, "b: it broke")}
    decided = ending("p-1", ("a", "b", "c"), reports)
    assert decided is not None
    assert (decided.outcome, decided.tick, decided.failure) == ("failed", 5, "b: it broke")


def test_a_run_that_goes_on_is_left_alone() -> None:
    assert ending("p-1", ("a", "b"), {}) is None

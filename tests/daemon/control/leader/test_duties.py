"""What the tick leader decides, and how often it says so."""

from __future__ import annotations

from msgspec.structs import replace

from daemon.control.leader.duties import Leading, ResultLimits, sight_of
from daemon.control.leader.end import ending
from daemon.control.leader.flapping import FlappingLimits
from daemon.control.leader.messages import RunReport, RunStates, StatesHeld
from daemon.control.leader.view_policy import Sight, Views
from daemon.state import Registry, ResultsExpired
from daemon.state.commands import EndRun, ExpireResults, FormView, Identity, ResumeRun, StopRun, to_bits
from daemon.state.records import FAILED
from tests.daemon.state.registries import PARTITIONS, Log, formed, freeze, restore

EVERYTHING = to_bits(range(PARTITIONS))
ALL = Sight({"a": 1, "b": 1, "c": 1}, ())


def leading() -> Leading:
    return Leading(Views(10, 2, 100, FlappingLimits.of(0)), ResultLimits(2, 100))


def waiting() -> Log:
    """A run that waits in the second view."""
    log = formed()
    log.run()
    log.view("abc")
    return log


def held(epoch: int, tick: int, partitions: bytes = EVERYTHING) -> StatesHeld:
    return StatesHeld(epoch, (RunStates(1, tick, partitions, 1),))


def report(outcome: str = "completed") -> RunReport:
    return RunReport(1, 1, 9, outcome, "", 0)


def test_a_run_is_resumed_once_all_members_have_told_their_states_in_this_epoch() -> None:
    log, leader = waiting(), leading()
    leader.hear_states("a", held(2, 4))
    leader.hear_states("b", held(2, 4, b""))
    leader.hear_states("c", held(1, 4))
    assert leader.decisions(log.registry, ALL, (), 0) == []
    leader.hear_states("c", held(2, 5, b""))
    (duty,) = leader.decisions(log.registry, ALL, (), 0)
    decision = duty.command
    assert isinstance(decision, ResumeRun)
    assert (decision.run, decision.epoch, decision.tick) == ("rank-1", 2, 4)
    assert log.apply(decision) == ""
    assert leader.decisions(log.registry, ALL, (), 0) == []


def test_states_from_before_a_run_began_are_those_of_another_that_had_its_number() -> None:
    """As a disk has them that was away while its cluster was restored from a backup."""
    log, leader = formed(), leading()
    log.view("abc")
    log.run()
    log.view("abc")
    assert log.registry.runs["rank-1"].begun_in == 2
    for name in "abc":
        leader.hear_states(name, StatesHeld(3, (RunStates(1, 9, EVERYTHING, 1), RunStates(1, 4, EVERYTHING, 2))))
    ((_, decision),) = leader.decisions(log.registry, ALL, (), 0)
    assert isinstance(decision, ResumeRun)
    assert (decision.tick, decision.origin) == (4, 2)


def test_a_decision_is_said_once_a_leadership() -> None:
    log, leader = formed(), leading()
    lost = Sight({"a": 1, "b": 1}, {"c"})
    (duty,) = leader.decisions(log.registry, lost, (), 0)
    decision = duty.command
    assert isinstance(decision, FormView)
    assert leader.decisions(log.registry, lost, (), 0) == []
    leader.begin()
    assert leader.decisions(log.registry, lost, (), 0) == [duty]


def test_a_decision_that_the_log_could_not_take_is_said_again() -> None:
    """While leadership is handed over, proposals are refused; if that fails, this leader is still the one to do it."""
    log, leader = formed(), leading()
    lost = Sight({"a": 1, "b": 1}, {"c"})
    (duty,) = leader.decisions(log.registry, lost, (), 0)
    leader.take_back(duty)
    assert leader.decisions(log.registry, lost, (), 0) == [duty]


def test_what_was_said_of_an_older_view_is_void() -> None:
    log, leader = formed(), leading()
    log.run()
    for name in "ab":
        leader.hear_report(name, report())
    leader.enter_view()
    leader.hear_report("c", report())
    assert leader.decisions(log.registry, ALL, (), 0) == []


def test_a_run_that_all_have_reported_is_over() -> None:
    log, leader = formed(), leading()
    log.run()
    for name in "abc":
        leader.hear_report(name, report())
    (duty,) = leader.decisions(log.registry, ALL, (), 0)
    decision = duty.command
    assert isinstance(decision, EndRun)
    assert (decision.run, decision.outcome, decision.tick) == ("rank-1", "completed", 9)
    leader.forget_run(1)
    assert leader.kept == {}


def halted() -> Log:
    log = formed("ab", replicas=1)
    log.run()
    log.holds("b", 2)
    log.view({"a": 1, "b": 2}, replicas=1)
    assert log.registry.lost("web")
    return log


def test_a_run_on_a_halted_graph_waits() -> None:
    log, leader = halted(), leading()
    for name in "ab":
        leader.hear_states(name, held(2, 4))
    assert leader.decisions(log.registry, Sight({"a": 1, "b": 2}, ()), (), 0) == []


def test_a_run_on_a_halted_graph_that_is_stopped_has_failed() -> None:
    log, leader = halted(), leading()
    log.apply(StopRun("rank-1"))
    (duty,) = leader.decisions(log.registry, Sight({"a": 1, "b": 2}, ()), (), 0)
    decision = duty.command
    assert isinstance(decision, EndRun)
    assert decision.outcome == FAILED
    assert "halted" in decision.failure
    assert log.apply(decision) == ""


def test_old_news_of_a_former_life_convict_nobody() -> None:
    log = formed()
    log.holds("b", 5)
    log.view({"a": 1, "b": 5, "c": 1})
    records = [
        (Identity("a", 1), True),
        (Identity("b", 4), False),
        (Identity("c", 1), False),
        (Identity("d", 1), False),
    ]
    assert sight_of(records, log.registry) == Sight({"a": 1}, {"c", "d"})


def finished(log: Log, sizes: list[int]) -> None:
    for size in sizes:
        log.run()
        name = list(log.registry.runs)[-1]
        log.apply(EndRun(name, "completed", 9, "", 0, "", size))


def expired(log: Log, limits: ResultLimits) -> list[str]:
    """What the leader has expire; the registry takes it."""
    leader = Leading(Views(10, 2, 100, FlappingLimits.of(0)), limits)
    names: list[str] = []
    for _, decision in leader.decisions(log.registry, ALL, "abc", 0):
        assert isinstance(decision, ExpireResults)
        assert not log.apply(decision)
        names += decision.runs
    assert leader.decisions(log.registry, ALL, "abc", 0) == []
    return names


def test_the_oldest_results_expire_by_number_and_by_bytes() -> None:
    log = formed()
    finished(log, [10, 10, 10, 10])
    assert expired(log, ResultLimits(9, 100)) == []
    assert expired(log, ResultLimits(3, 100)) == ["rank-1"]
    assert expired(log, ResultLimits(3, 20)) == ["rank-2"]
    assert [run.name for run in log.registry.kept_results()] == ["rank-3", "rank-4"]
    run = log.registry.runs["rank-1"]
    assert (run.state, run.shown, run.has_result) == ("completed", "expired", False)


def test_the_newest_result_is_kept_whatever_its_size() -> None:
    log = formed()
    finished(log, [10, 10, 500])
    assert expired(log, ResultLimits(9, 100)) == ["rank-1", "rank-2"]
    finished(log, [600])
    assert expired(log, ResultLimits(9, 100)) == ["rank-3"]


def test_what_failed_or_goes_on_neither_expires_nor_counts() -> None:
    log = formed()
    finished(log, [10])
    log.run()
    log.run()
    log.apply(EndRun("rank-3", FAILED, 9, "", 0, "", 0))
    assert expired(log, ResultLimits(1, 100)) == []


def test_a_snapshot_tells_of_results_that_have_expired() -> None:
    log, behind = formed(), Registry()
    finished(log, [10, 10])
    restore(behind, freeze(log.registry))
    expired(log, ResultLimits(1, 100))
    (news,) = [each for each in restore(behind, freeze(log.registry)) if isinstance(each, ResultsExpired)]
    assert [run.name for run in news.runs] == ["rank-1"]
    assert behind == log.registry


def test_a_result_takes_as_much_as_on_the_disk_of_the_member_that_has_most_of_it() -> None:
    reports = {name: replace(report(), result_bytes=size) for name, size in (("a", 3), ("b", 9), ("c", 0))}
    ended = ending("rank-1", ("a", "b", "c"), reports)
    assert ended is not None
    assert ended.result_bytes == 9

"""Runs that wait for their turn: in order, by the log alone, and only those that asked to."""

from __future__ import annotations

from daemon.state import Registry, RunBegun, RunEnded, RunQueued, command_codec
from daemon.state.commands import DropGraph, EndRun, ResumeRun, StartRun, StopRun
from daemon.state.queue import QUEUED_MAX
from daemon.state.records import COMPLETED, FAILED, QUEUED, RUNNING, STOPPED, restored, to_keep
from tests.daemon.state.registries import LOAD, Log, apply, formed, freeze, restore


def asked(log: Log, graph: str = "web", load: str = LOAD, *, most: int = 2, queue: bool = True) -> StartRun:
    return StartRun("rank", graph, load, (), 9, 0, False, 15, (), 0, "", runs_max=most, may_queue=queue)


def end(run: str, outcome: str = COMPLETED) -> EndRun:
    return EndRun(run, outcome, 9, "", 0)


def full(queued: int = 3) -> Log:
    """Two runs go on, and some wait."""
    log = formed()
    for _ in range(2 + queued):
        assert not log.apply(asked(log))
    return log


def states(log: Log) -> dict[str, str]:
    return {name: run.state for name, run in log.registry.runs.items()}


def test_what_there_is_no_room_for_waits_and_begins_in_order() -> None:
    log = full()
    assert list(states(log).values()) == [RUNNING, RUNNING, QUEUED, QUEUED, QUEUED]
    ended, begun, _ = apply(log.registry, end("rank-2"), 700)
    assert isinstance(ended, RunEnded)
    assert isinstance(begun, RunBegun)
    assert (begun.run.name, begun.run.epoch, begun.run.begun_in) == ("rank-3", 1, 1)
    assert begun.run.started_unix_ns == 700, "it is timed from when it began"
    assert [run.name for run in log.registry.queued_runs()] == ["rank-4", "rank-5"]
    log.apply(end("rank-1", FAILED))
    log.apply(end("rank-3", STOPPED))
    assert list(states(log).values()) == [FAILED, COMPLETED, STOPPED, RUNNING, RUNNING]


def test_who_has_not_asked_for_it_is_told_how() -> None:
    log = full(0)
    assert log.apply(asked(log, queue=False)) == (
        "2 runs are already active (ticks.runs_max): wait for one, stop one, or let this one wait for its "
        "turn (--queue)"
    )
    assert log.registry.runs_begun == 2


def test_nobody_overtakes_by_queuing() -> None:
    log = full(1)
    assert not log.apply(asked(log, most=9))
    assert list(states(log).values()) == [RUNNING, RUNNING, QUEUED, QUEUED]


def test_one_that_is_stopped_in_the_queue_never_begins_and_has_no_result() -> None:
    log = full()
    (ended, _) = apply(log.registry, StopRun("rank-3"))
    assert isinstance(ended, RunEnded)
    run = log.registry.runs["rank-3"]
    assert (run.state, run.tick, run.failure) == (STOPPED, 0, "it was stopped while it was queued")
    assert run.is_over
    assert not run.has_result
    log.apply(end("rank-1"))
    assert [run.name for run in log.registry.active_runs()] == ["rank-2", "rank-4"]
    assert "already over" in log.apply(StopRun("rank-3"))
    assert "already over" in log.apply(end("rank-3"))


def test_one_that_is_stopped_at_the_head_of_the_queue_lets_those_begin_who_have_room() -> None:
    log = full(1)
    log.apply(asked(log, most=9))
    _, begun, *_ = apply(log.registry, StopRun("rank-3"))
    assert isinstance(begun, RunBegun)
    assert list(states(log).values()) == [RUNNING, RUNNING, STOPPED, RUNNING]


def test_one_that_is_queued_is_neither_resumed_nor_ended() -> None:
    log = full(1)
    log.view("abc")
    assert [run.name for run in log.registry.waiting_runs()] == ["rank-1", "rank-2"]
    assert "does not wait" in log.apply(ResumeRun("rank-3", 2, 0, ()))
    assert "already over" in log.apply(end("rank-3", FAILED))
    assert states(log)["rank-3"] == QUEUED


def test_the_graph_of_one_that_is_queued_is_in_use() -> None:
    log = full(1)
    assert not log.graph("net", "load-net")
    assert not log.apply(asked(log, "net", "load-net"))
    assert "in use by rank-4 (queued)" in log.apply(DropGraph("net", "load-net"))
    assert not log.apply(DropGraph("net", "load-net", True))
    assert "belonged to graph 'net'" in log.apply(StopRun("rank-4"))
    news = apply(log.registry, DropGraph("web", LOAD, True))
    assert sorted(each.run.name for each in news if isinstance(each, RunEnded)) == ["rank-1", "rank-2", "rank-3"]
    assert log.registry.runs == {}


def test_room_that_a_drop_makes_is_taken() -> None:
    log = formed()
    assert not log.graph("net", "load-net")
    for graph, load in (("web", LOAD), ("web", LOAD), ("net", "load-net")):
        assert not log.apply(asked(log, graph, load))
    news = apply(log.registry, DropGraph("web", LOAD, True))
    assert [each.run.name for each in news if isinstance(each, RunBegun)] == ["rank-3"]


def test_on_a_graph_that_has_lost_partitions_it_takes_its_turn_and_waits() -> None:
    log = formed("ab", replicas=1)
    for _ in range(3):
        assert not log.apply(asked(log))
    log.holds("b", 2)
    log.view({"a": 1, "b": 2}, replicas=1)
    assert log.registry.lost("web")
    log.apply(end("rank-1", FAILED))
    run = log.registry.runs["rank-3"]
    assert (run.state, run.epoch) == (RUNNING, 0)
    assert log.registry.waiting_runs() == []
    log.holds("b", 3, range(6))
    log.view({"a": 1, "b": 3}, replicas=1)
    assert [run.name for run in log.registry.waiting_runs()] == ["rank-2", "rank-3"]
    assert not log.apply(ResumeRun("rank-3", 3, 0, ()))


def test_a_snapshot_and_a_backup_have_the_queue() -> None:
    log, copy = full(), Registry()
    restore(copy, freeze(log.registry))
    assert copy == log.registry
    behind = copy
    log.apply(end("rank-1"))
    news = restore(behind, freeze(log.registry))
    assert [each.run.name for each in news if isinstance(each, RunBegun)] == ["rank-3"]
    for run in log.registry.queued_runs():
        assert restored(to_keep(run)) == run
    assert command_codec().decode("cluster", command_codec().encode(asked(log))) is not None


def test_a_queue_has_an_end() -> None:
    log = full(QUEUED_MAX)
    assert f"{QUEUED_MAX} runs are already queued" in log.apply(asked(log))


def test_a_run_is_announced_as_queued() -> None:
    log = full(0)
    news = apply(log.registry, asked(log))
    assert isinstance(news[0], RunQueued)

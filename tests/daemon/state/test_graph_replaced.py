"""A run belongs to one load of a graph and goes with it; what takes the name later has nothing to do with it."""

from __future__ import annotations

import pytest

from daemon.control.leader.duties import Leading, ResultLimits, sight_of
from daemon.control.leader.flapping import FlappingLimits
from daemon.control.leader.messages import RunStates, StatesHeld
from daemon.control.leader.view_policy import Views
from daemon.state import GraphRemoved, Registry, RunEnded
from daemon.state.commands import DropGraph, EndRun, Identity, Restore, ResumeRun, StartRun, StopRun, to_bits
from daemon.state.records import FAILED, to_keep
from tests.daemon.state.registries import LOAD, PARTITIONS, Log, apply, formed, freeze, restore


def drop(log: Log, load: str = LOAD, *, by_force: bool = False, name: str = "web") -> str:
    return log.apply(DropGraph(name, load, by_force))


def end(log: Log, run: str, outcome: str = "completed") -> str:
    return log.apply(EndRun(run, outcome, 9, "", 0, "", 10))


def start(log: Log, load: str, graph: str = "web") -> str:
    return log.apply(StartRun("rank", graph, load, (), 9, 0, False, 15, ()))


def replaced(log: Log, load: str = "load-2") -> None:
    """The daily refresh."""
    assert not drop(log)
    assert not log.graph("web", load)


def test_a_drop_takes_runs_and_results_along_and_says_so() -> None:
    log = formed()
    for name in ("rank-1", "rank-2"):
        log.run()
        end(log, name, "completed" if name == "rank-1" else "failed")
    (removed, _) = apply(log.registry, DropGraph("web", LOAD))
    assert isinstance(removed, GraphRemoved)
    assert [run.name for run in removed.runs] == ["rank-1", "rank-2"]
    assert log.registry.runs == {}
    assert [(run.name, run.had_result) for run in log.registry.dropped.values()] == [
        ("rank-1", True),
        ("rank-2", False),
    ]
    told = "there is no run 'rank-1' any more: it belonged to graph 'web', which was dropped, and its runs with it"
    for decision in (
        StopRun("rank-1"),
        ResumeRun("rank-1", 1, 4, ()),
        EndRun("rank-1", FAILED, 1, "", 0),
    ):
        assert log.apply(decision) == told


def test_another_graph_of_the_name_has_no_runs_and_the_next_number() -> None:
    log = formed()
    log.run()
    end(log, "rank-1")
    replaced(log)
    assert log.registry.runs == {}
    assert log.registry.runs_on(LOAD) == []
    assert not start(log, "load-2")
    assert log.registry.runs["rank-2"].load == "load-2"
    assert "it belonged to graph 'web'" in log.apply(StopRun("rank-1"))


def test_what_was_asked_of_the_graph_before_is_declined() -> None:
    """A run and a drop that were asked for while the log replaced the graph."""
    log = formed()
    replaced(log)
    assert "another one was loaded under its name" in start(log, LOAD)
    assert "another one was loaded under its name" in drop(log, LOAD)
    assert "another one was loaded under its name" in drop(log, LOAD, by_force=True)
    assert log.registry.graphs["web"].load == "load-2"
    assert log.registry.runs_begun == 0


def test_two_graphs_that_swap_their_names_keep_no_run() -> None:
    log = formed()
    assert not log.graph("net", "load-net")
    for graph in ("web", "net"):
        log.run(graph)
    end(log, "rank-1")
    end(log, "rank-2")
    assert not drop(log)
    assert not drop(log, "load-net", name="net")
    assert not log.graph("net", "load-3")
    assert not log.graph("web", "load-4")
    assert log.registry.runs == {}
    assert "which was dropped" in start(log, LOAD, "net") or "another one" in start(log, LOAD, "net")


@pytest.mark.parametrize("is_paced", [False, True])
def test_a_graph_with_runs_goes_by_force_alone(is_paced: bool) -> None:
    log = formed()
    log.apply(StartRun("rank", "web", LOAD, (), 9, 0, is_paced, 15, ()))
    assert "in use by rank-1" in drop(log)
    (ended, removed, _) = apply(log.registry, DropGraph("web", LOAD, True))
    assert isinstance(ended, RunEnded)
    assert (ended.run.state, ended.run.failure) == (FAILED, "its graph 'web' was dropped")
    assert isinstance(removed, GraphRemoved)
    assert log.registry.active_runs() == []
    assert not log.graph("web", "load-2")
    log.view("abc")
    assert log.registry.waiting_runs() == []


def test_a_run_that_was_stopped_may_go_on_for_a_moment_and_holds_the_graph_until_then() -> None:
    log = formed()
    log.run()
    log.apply(StopRun("rank-1"))
    assert "in use by rank-1" in drop(log)
    end(log, "rank-1", "stopped")
    assert not drop(log)


def test_a_snapshot_has_what_was_dropped_and_tells_whoever_was_away() -> None:
    """A shard that was away while the graph was replaced: it hears of it by a snapshot alone."""
    log, behind = formed(), Registry()
    log.run()
    end(log, "rank-1")
    log.run()
    restore(behind, freeze(log.registry))
    assert not drop(log, by_force=True)
    assert not log.graph("web", "load-2")
    assert not start(log, "load-2")
    news = restore(behind, freeze(log.registry))
    assert behind == log.registry
    (removed,) = [each for each in news if isinstance(each, GraphRemoved)]
    assert [run.name for run in removed.runs] == ["rank-1", "rank-2"]
    (ended,) = [each for each in news if isinstance(each, RunEnded)]
    assert (ended.run.name, ended.run.state) == ("rank-2", FAILED)


def test_a_backup_keeps_runs_with_their_loads_and_declines_those_of_others() -> None:
    log = formed()
    log.run()
    end(log, "rank-1")
    (run,) = log.registry.runs.values()
    graph = log.registry.graphs["web"]
    replaced(log)
    other = log.registry.graphs["web"]
    for graphs, error in (((graph,), ""), ((other,), "the backup has runs that no cluster has had")):
        new = Log()
        for name in "abc":
            new.holds(name)
        new.view("abc")
        assert new.apply(Restore(graphs, (to_keep(run),), 1)) == error


def test_states_that_a_disk_has_from_before_a_run_began_are_none_of_it() -> None:
    """A restoration that was given up leaves states under numbers that other runs get later."""
    log, leading = formed(), Leading(Views(10, 2, 100, FlappingLimits.of(0)), ResultLimits())
    log.run()
    (run,) = log.registry.active_runs()
    assert run.is_void(0, 30)
    assert not run.is_void(1, 30)
    log.view("abc")
    everything = to_bits(range(PARTITIONS))
    for name in "abc":
        states = (RunStates(1, 30, everything, 0), RunStates(1, 4, everything, 1))
        leading.hear_states(name, StatesHeld(2, states))
    alive = sight_of([(Identity(name, 1), True) for name in "abc"], log.registry)
    duties = [duty.command for duty in leading.decisions(log.registry, alive, "abc", 0)]
    (resumed,) = [command for command in duties if isinstance(command, ResumeRun)]
    assert resumed.tick == 4

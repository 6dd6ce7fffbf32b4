"""A backup goes into a new cluster whole or not at all, and its runs go on from where they were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.state import Registry, RunBegun, RunsWaiting, command_codec
from daemon.state.commands import AddGraph, KeptRun, Restore, ResumeRun, StartRun
from daemon.state.records import COMPLETED, RUNNING, STOPPING
from tests.daemon.state.registries import Log, apply, freeze, restore


def graph(name: str = "web", load: str = "load-web", epoch: int = 1) -> AddGraph:
    return AddGraph(name, load, epoch, 9, 9, 6, 0, "int", (), ())


def kept(number: int, state: str = COMPLETED, tick: int = 9, on: str = "web") -> KeptRun:
    start = StartRun("rank", on, f"load-{on}", (), 9, 0, False, 15, ("rank",), 3)
    return KeptRun(number, start, state, tick if state == COMPLETED else 0, "", 5, 77, 99)


def new(members: str = "abc") -> Log:
    log = Log()
    for name in members:
        log.holds(name)
    log.view(members)
    return log


def restore_backup(log: Log, *graphs: AddGraph, runs: tuple[KeptRun, ...] = (), begun: int = 0) -> str:
    return log.apply(Restore(graphs or (graph(),), runs, begun))


def test_everything_is_there_at_once_and_survives_a_snapshot() -> None:
    log = new()
    assert restore_backup(log, graph(), graph("roads", "load-roads"), runs=(kept(7), kept(3, RUNNING)), begun=12) == ""
    registry = log.registry
    assert list(registry.graphs) == ["web", "roads"]
    assert not registry.lost("web")
    assert all(len(holders) == 2 for holders in registry.placements["web"])
    assert {name: run.state for name, run in registry.runs.items()} == {"rank-3": RUNNING, "rank-7": COMPLETED}
    assert (registry.runs["rank-7"].tick, registry.runs["rank-7"].ended_unix_ns) == (9, 99)
    again = Registry()
    restore(again, freeze(registry))
    assert again == registry


def test_what_was_active_waits_until_the_log_says_from_which_tick_it_goes_on() -> None:
    log = new()
    announced = apply(log.registry, Restore((graph(),), (kept(3, RUNNING), kept(4, STOPPING)), 0))
    assert RunsWaiting() in announced
    assert [run.name for run in log.registry.waiting_runs()] == ["rank-3", "rank-4"]
    announced = apply(log.registry, ResumeRun("rank-3", 1, 6, ()))
    assert announced[0] == RunBegun(log.registry.runs["rank-3"])
    assert log.registry.runs["rank-3"].resumed == 6
    assert [run.name for run in log.registry.waiting_runs()] == ["rank-4"]


def test_who_hears_of_it_in_a_snapshot_is_told_that_runs_wait() -> None:
    log = new()
    other = Registry()
    restore(other, freeze(log.registry))
    assert restore_backup(log, runs=(kept(3, RUNNING),)) == ""
    assert RunsWaiting() in restore(other, freeze(log.registry))
    assert RunsWaiting() not in restore(other, freeze(log.registry))


@pytest.mark.parametrize(("begun", "following"), [(0, 8), (5, 8), (12, 13)])
def test_no_number_of_a_run_is_given_twice(begun: int, following: int) -> None:
    log = new()
    restore_backup(log, runs=(kept(7), kept(2)), begun=begun)
    log.run()
    assert f"rank-{following}" in log.registry.runs


def test_not_into_a_cluster_that_has_anything() -> None:
    for log in (new(), new()):
        restore_backup(log, runs=(kept(1),))
        assert "into a new cluster" in restore_backup(log, graph("other", "load-other"))
    log = new()
    log.graph()
    assert "into a new cluster" in restore_backup(log, graph("other", "load-other"))
    assert list(log.registry.graphs) == ["web"]


@pytest.mark.parametrize(
    ("graphs", "runs", "why"),
    [
        ((graph(), graph("roads", epoch=1)), (), "is a graph already"),
        ((graph(), graph(load="other")), (), "already loaded"),
        ((graph(), graph("roads", "load-roads", epoch=4)), (), "the view changed"),
        ((graph(),), (kept(1, on="gone"),), "no cluster has had"),
        ((graph(),), (kept(1, "resting"),), "no cluster has had"),
        ((graph(),), (kept(0),), "no cluster has had"),
        ((graph(),), (kept(1), kept(1, RUNNING)), "two runs of one number"),
    ],
)  # fmt: skip
def test_all_or_nothing(graphs: tuple[AddGraph, ...], runs: tuple[KeptRun, ...], why: str) -> None:
    log = new()
    before = replace(log.registry, disks=dict(log.registry.disks))
    assert why in restore_backup(log, *graphs, runs=runs)
    assert (log.registry.graphs, log.registry.placements, log.registry.runs) == ({}, {}, {})
    assert (log.registry.disks, log.registry.runs_begun) == (before.disks, 0)
    assert restore_backup(log) == "", "and a better one may follow"


def test_it_goes_through_the_log_as_bytes() -> None:
    codec = command_codec()
    command = Restore((graph(),), (kept(7), kept(3, RUNNING)), 12)
    assert codec.decode("cluster", codec.encode(command)) == command

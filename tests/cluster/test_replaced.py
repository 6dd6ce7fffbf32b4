"""Graphs that are dropped and loaded again, runs that wait for their turn, and results that make room for others."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData, Session
from shoal.api.errors import Refused, TickNotKept, UnknownGraph, UnknownRun
from tests.cluster.conftest import MADE, Up
from tests.cluster.trial import ask, kill, said, shoalctl, wait_for, well
from tests.trials import Count

SETTINGS = """\
[ticks]
runs_max = 2
results_kept = 50
results_bytes = "3MiB"
"""
GONE = "there is no run '{}' any more: it belonged to graph 'net', which was dropped, and its runs with it"


@pytest.fixture(scope="module")
def few(up: Up) -> list[DevShard]:
    """Three daemons with room for two runs at a time, and for few results."""
    return up(3, SETTINGS)


@pytest.fixture
def session(few: list[DevShard]) -> Iterator[Session]:
    with shoal.connect(str(few[0].socket)) as session:
        yield session
    with shoal.connect(str(few[0].socket)) as session:  # the daemon may have restarted meanwhile
        for graph in session.graphs():
            session.drop(graph.name, force=True)


def star() -> GraphData:
    return shoal.from_arrays(["a", "a", "a"], ["b", "c", "d"])


def path() -> GraphData:
    """The same ids with other edges."""
    return shoal.from_arrays(["a", "b", "c"], ["b", "c", "d"])


def test_of_those_who_drop_a_graph_at_once_one_does_and_the_others_hear_that_it_is_gone(
    few: list[DevShard], session: Session
) -> None:
    others = [shoal.connect(str(few[n % 3].socket)) for n in range(6)]

    def dropped(other: Session) -> bool:
        try:
            return other.drop("net", force=True)["runs"] == 1
        except UnknownGraph:
            return False

    with ThreadPoolExecutor(len(others)) as threads:
        for _ in range(5):
            session.load("net", data=star()).start("degree", paced=True)
            assert sum(threads.map(dropped, others)) == 1
    for other in others:
        other.close()


def states_on(shard: DevShard) -> set[int]:
    """Returns the runs whose states are on a disk."""
    (database,) = Path(shard.folder).rglob("shoal.db")
    with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True) as connection:
        return {run for (run,) in connection.execute("SELECT DISTINCT run FROM state")}


def test_the_daily_refresh_mixes_nothing_also_where_a_shard_was_away(few: list[DevShard], session: Session) -> None:
    before = session.load("net", data=star()).run("degree")
    number = int(before.name.rpartition("-")[2])
    assert before.result("degree").to_dict() == {"a": 3, "b": 1, "c": 1, "d": 1}
    wait_for(lambda: all(number in states_on(shard) for shard in few), 10, "states everywhere")
    kill(few[2])
    wait_for(lambda: len(ask(few[1], "view")["members"]) == 2, 20, "a view of the others")
    dropped = said(few[1], "graph", "drop", "net", "--yes")
    assert (dropped["runs"], dropped["results"]) == (1, 1)
    session.load("net", data=path())
    MADE[-1].start([3])
    wait_for(lambda: well(few), 30, "all are back")
    wait_for(lambda: not any(number in states_on(shard) for shard in few), 10, "no state of it is left")
    after = session.graph("net").run("degree")
    for shard in few:
        assert GONE.format(before.name) in shoalctl(shard, "run", "result", before.name).stderr
        with shoal.connect(str(shard.socket)) as other:
            assert other.get_run(after.name).result("degree").to_dict() == {"a": 1, "b": 2, "c": 2, "d": 1}
            assert [row.name for row in other.runs()] == [after.name]


def test_what_a_script_holds_of_the_graph_before_answers_with_nothing(few: list[DevShard], session: Session) -> None:
    graph = session.load("net", data=star())
    run = graph.start("degree", paced=True)
    with shoal.connect(str(few[1].socket)) as other:
        with pytest.raises(Refused, match=f"in use by {run.name}: stop them first, or drop the graph by force"):
            other.drop("net")
        assert other.drop("net", force=True)["runs"] == 1
        other.load("net", data=path()).run("degree")
    for attempt in (lambda: graph.run("degree"), graph.at):
        with pytest.raises(UnknownGraph, match="another one was loaded under its name"):
            attempt()
    for gone in (run.show, run.step, run.ticks_kept, run.wait, lambda: run.result("degree")):
        with pytest.raises(UnknownRun, match=GONE.format(run.name)):
            gone()
    with pytest.raises(Refused, match="another one was loaded"):
        ask(few[0], "graph drop", graph="net", load=graph.load)


def test_a_third_run_waits_for_its_turn_and_outlives_a_power_cut(few: list[DevShard], session: Session) -> None:
    graph = session.load("net", data=star())
    runs = [graph.start(Count, ticks=10**9) for _ in range(2)]
    with pytest.raises(Refused, match=r"2 runs are already active \(ticks.runs_max\).*--queue"):
        graph.start("degree")
    queued = [graph.start("degree", queue=True) for _ in range(3)]
    assert [(run.state, run.place) for run in queued] == [("queued", 1), ("queued", 2), ("queued", 3)]
    assert "queued, place 2" in shoalctl(few[2], "run", "list").stdout
    assert queued[0].stop().state == "stopped"
    with pytest.raises(TickNotKept, match="it was stopped while it was queued"):
        queued[0].result("degree")
    for shard in few:
        kill(shard)
    MADE[-1].start([1, 2, 3])
    wait_for(lambda: well(few), 40, "all are back")
    with shoal.connect(str(few[1].socket)) as again:
        waiting = [again.get_run(run.name) for run in queued[1:]]
        assert [(run.state, run.place) for run in waiting] == [("queued", 1), ("queued", 2)]
        with pytest.raises(TimeoutError, match="is still queued, at place 1"):
            waiting[0].wait(timeout=0.2)
        again.get_run(runs[0].name).stop()
        assert [run.wait(30).state for run in waiting] == ["completed", "completed"]


def test_results_make_room_for_others_by_their_bytes(few: list[DevShard], session: Session) -> None:
    nodes = np.arange(70_000)
    graph = session.load("ring", data=shoal.from_arrays(nodes, np.roll(nodes, 1)))
    runs = [graph.run("degree")]
    stream = runs[0].stream()
    next(stream)
    runs += [graph.run("degree") for _ in range(4)]

    def is_expired() -> list[str]:
        return [row["run"] for row in ask(few[2], "run list")["runs"] if row["state"] == "expired"]

    wait_for(lambda: 2 <= len(is_expired()) <= 4, 10, "the oldest expire")
    expired = is_expired()
    assert expired == [run.name for run in runs[: len(expired)]]
    for shard in few:
        began = time.monotonic()
        result = shoalctl(shard, "run", "result", runs[0].name)
        assert time.monotonic() - began < 5
        assert result.exit_code == 1
        assert f"the result of run '{runs[0].name}' has expired" in result.stderr
        assert "ticks.results_bytes" in result.stderr
    for read in (runs[0].at, lambda: next(stream)):  # the stream was in the middle of it
        with pytest.raises(TickNotKept, match="expired"):
            read()
    assert (runs[0].show()["state"], runs[0].show()["outcome"]) == ("expired", "completed")
    assert shoalctl(few[0], "run", "wait", runs[0].name).exit_code == 0
    assert runs[-1].result("degree").top(1) == [(0, 2)]
    numbers = {int(name.rpartition("-")[2]) for name in expired}
    wait_for(lambda: not any(numbers & states_on(shard) for shard in few), 10, "their states are deleted")

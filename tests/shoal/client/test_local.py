"""A session in one process. What it shares with a cluster is tested on both, in tests/cluster/test_client.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import shoal
from shoal import Graph, RunFailed, Session, ShoalError
from shoal.api.commands.cluster import Barrier
from shoal.api.errors import NameTaken, TickNotKept, UnknownGraph, UnknownRun
from tests.trials import Count, Everything, Raise


@pytest.fixture
def session() -> Iterator[Session]:
    with shoal.local(3) as opened:
        yield opened


@pytest.fixture
def graph(session: Session) -> Graph:
    return session.load("ring", data=shoal.from_arrays(np.arange(30), (np.arange(30) + 1) % 30))


def test_there_is_at_least_one_shard() -> None:
    with pytest.raises(ValueError, match="at least one shard"):
        shoal.local(0)


def test_what_to_load_is_said_once(session: Session) -> None:
    for given in ({}, {"data": shoal.from_arrays([1], [2]), "edges": "edges.csv"}):
        with pytest.raises(ValueError, match="give either edges"):
            session.load("g", **given)  # type: ignore[arg-type]


def test_a_graph_lies_on_all_shards(graph: Graph) -> None:
    shards = graph.info["shards"]
    assert sum(shard["nodes"] for shard in shards.values()) == graph.node_count == 30
    assert len(shards) == 3
    assert repr(graph) == "<Graph 'ring': 30 nodes, 30 edges>"
    assert graph.info["cross_edges"] > 0


def test_an_undirected_graph(session: Session, tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("id:int\n5\n6\n7\n8\n")
    (tmp_path / "edges.csv").write_text("source:int,target:int,weight:float\n5,6,0.5\n7,6,1.5\n7,7,2\n")
    files = tmp_path / "edges.csv", tmp_path / "nodes.csv"
    both_ways = session.load("both-ways", *files, undirected=True)
    assert (both_ways.node_count, both_ways.edge_count, both_ways.directed) == (4, 3, False)
    assert sum(shard["edges"] for shard in both_ways.info["shards"].values()) == 3 + both_ways.info["cross_edges"]
    run = both_ways.run("wcc")
    assert run.result("component").values.tolist() == [0, 0, 0, 3]
    assert run.show()["totals"]["edges"] == 3
    assert session.load("one-way", *files).directed
    with pytest.raises(ValueError, match="pass undirected=True when you create it"):
        session.load("neither", data=shoal.from_arrays([1], [2]), undirected=True)


def test_nothing_happens_until_somebody_waits(graph: Graph) -> None:
    run = graph.start(Count, ticks=3)
    assert (run.state, run.tick, run.show()["ticks"]) == ("running", 0, 3)
    assert repr(run.wait()) == f"<Run '{run.name}': completed at tick 3>"


def test_a_program_of_ones_own_need_not_be_installed(session: Session, graph: Graph) -> None:
    assert set(graph.run(Count, ticks=2).result("tick").values.tolist()) == {2}
    with pytest.raises(ShoalError, match="no program is called 'trial-everything'"):
        graph.run(Everything.name)
    assert graph.run(Everything, ticks=2).state == "completed"
    assert graph.run(Everything.name, ticks=2).state == "completed"  # known by now


def test_a_failure_shows_where_it_came_from(graph: Graph) -> None:
    for tick in (0, 2):
        run = graph.start(Raise, tick=tick)
        with pytest.raises(RunFailed) as caught:
            run.wait()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert "trials.py" in str(caught.value)
        assert (run.state, run.tick) == ("failed", max(tick - 1, 0))
        with pytest.raises(RunFailed):
            run.wait()


def test_a_failed_step_fails_the_run(graph: Graph) -> None:
    run = graph.start(Raise, tick=2, paced=True)
    assert run.step()["tick"] == 1
    with pytest.raises(RunFailed, match="failed before tick 2"):
        run.step()
    with pytest.raises(ShoalError, match="is already over: it failed after 1 ticks"):
        run.step()


def test_a_paced_run_is_not_waited_for(graph: Graph) -> None:
    with pytest.raises(ShoalError, match="is paced: it makes no progress until it is stepped"):
        graph.start(Count, paced=True).wait()


def test_a_stop_ends_it_after_its_next_tick(graph: Graph) -> None:
    run = graph.start(Count, paced=True)
    run.step()
    assert (run.stop().state, run.tick) == ("stopped", 2)
    assert set(run.result("tick").values.tolist()) == {2}


def test_runs_of_one_graph_do_not_disturb_each_other(graph: Graph) -> None:
    alone = graph.run(Everything, ticks=4).result("a").digest
    first, second = graph.start(Everything, ticks=4, paced=True), graph.start(Everything, ticks=4, paced=True)
    for _ in range(4):
        first.step()
        second.step()
    assert first.result("a").digest == second.result("a").digest == alone


def test_a_graph_that_is_dropped_takes_its_runs_along(session: Session, graph: Graph) -> None:
    run = graph.run("degree")
    other = session.load("other", data=shoal.from_arrays([1], [2])).run("degree")
    session.drop("ring")
    with pytest.raises(UnknownRun, match="there is no run 'degree-1' any more: it belonged to graph 'ring'"):
        run.result("degree")
    assert [found.name for found in session.runs()] == [other.name]
    session.load("ring", data=shoal.from_arrays([1], [2]))  # its name is free again
    again = session.graph("ring").run("degree")
    assert again.name not in (run.name, other.name)
    with pytest.raises(NameTaken):
        session.load("ring", data=shoal.from_arrays([1], [2]))


def test_what_a_daemon_answers_and_this_does_not(session: Session) -> None:
    with pytest.raises(ShoalError, match="does not answer 'barrier'"):
        session.ask(Barrier())


def test_the_last_few_checkpoints_can_be_read() -> None:
    with shoal.local(shards=2) as session:
        graph = session.load("g", data=shoal.from_arrays([1, 2, 3], [2, 3, 1]))
        with pytest.raises(TickNotKept, match="no run on graph 'g' can be read: there was none"):
            graph.at()
        run = graph.start(Count, ticks=7, checkpoint=2, paced=True)
        assert run.ticks_kept() == []
        with pytest.raises(TickNotKept, match="it is running, and has no checkpoint to read yet"):
            run.at()
        for tick, kept in enumerate(([], [2], [2], [2, 4], [2, 4], [2, 4, 6], [4, 6, 7]), 1):
            run.step()
            assert (tick, run.ticks_kept()) == (tick, kept)
        assert [set(run.at(tick).result("tick").to_dict().values()) for tick in (4, 6, 7)] == [{4}, {6}, {7}]
        assert (graph.at(tick=6).tick, graph.at().tick, repr(run.at(4))) == (
            6,
            7,
            f"<Snapshot of {run.name!r} at tick 4>",
        )
        with pytest.raises(TickNotKept, match="can't be read at tick 5: the ticks kept are 4, 6, 7"):
            graph.at(tick=5, run=run.name)
        assert [batch.num_rows for batch in run.stream(["tick"], tick=4)] == [3]


def test_what_has_to_converge_is_read_once_it_has() -> None:
    with shoal.local(2) as session:
        graph = session.load("g", data=shoal.from_arrays([0, 1, 2], [1, 2, 3]))
        run = graph.start("wcc", checkpoint=1, paced=True)
        run.step()
        assert run.ticks_kept() == []
        with pytest.raises(TickNotKept, match="no checkpoint to read yet"):
            run.result("component")
        with pytest.raises(RunFailed, match="had not converged after 1 ticks"):
            graph.run("wcc", ticks=1)
        over = graph.run("wcc")
        assert over.ticks_kept() == [over.tick]


def test_what_is_held_of_a_graph_that_was_replaced_answers_with_nothing(session: Session, graph: Graph) -> None:
    run = graph.run("degree")
    assert session.drop("ring") == {"graph": "ring", "state": "dropped", "runs": 1, "results": 1}
    session.load("ring", data=shoal.from_arrays([1], [2])).run("degree")
    for attempt in (lambda: graph.run("degree"), lambda: graph.start("degree", queue=True), graph.at):
        with pytest.raises(UnknownGraph, match="was dropped, and another one was loaded under its name"):
            attempt()
    for gone in (run.show, run.ticks_kept, run.step, run.stop, run.wait, lambda: run.result("degree")):
        with pytest.raises(UnknownRun, match=f"no run '{run.name}' any more: it belonged to graph 'ring'"):
            gone()


def test_a_graph_in_use_is_dropped_by_force_alone(session: Session, graph: Graph) -> None:
    run = graph.start("pagerank", ticks=9, paced=True)
    run.step()
    with pytest.raises(
        ShoalError, match=f"'ring' is in use by {run.name}: stop them first, or drop the graph by force"
    ):
        session.drop("ring")
    assert session.drop("ring", force=True)["results"] == 0
    with pytest.raises(UnknownRun):
        run.step()


def test_here_is_always_room_for_a_run_that_would_wait(graph: Graph) -> None:
    runs = [graph.start("degree", queue=True) for _ in range(20)]
    assert {(run.state, run.place) for run in runs} == {("running", None)}

"""One script, on a laptop and on a cluster: the same results, the same errors, with one changed line."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import BadParameter, RunFailed, Session, ShoalError, UnknownColumn, UnknownGraph, UnknownProgram, UnknownRun
from shoal.api.errors import NameTaken
from tests.interrupt import InterruptAfter
from tests.trials import Count, Everything, Halves, Raise


@pytest.fixture(params=["local", "connect"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    if request.param == "local":
        opened = shoal.local(3)
    else:
        three: list[DevShard] = request.getfixturevalue("three")
        opened = shoal.connect(str(three[2].socket))
    with opened as session:
        before = {graph.name for graph in session.graphs()}
        yield session
        for name in {graph.name for graph in session.graphs()} - before:
            session.drop(name)


def script(session: Session, files: Path) -> dict[str, Any]:
    """Returns the results of graphs from arrays, from networkx and from files."""
    found: dict[str, Any] = {}
    edges = [(i, (i * 7 + 3) % 50) for i in range(50)] + [(1, 1), (2, 3), (2, 3)]
    arrays = session.load("arrays", data=shoal.from_arrays([s for s, _ in edges], [t for _, t in edges]))
    drawn = session.load("drawn", data=shoal.from_networkx(nx.karate_club_graph()))
    read = session.load("read", files / "edges.csv", files / "nodes.csv", types={"size": "int"}, partitions=8)
    for graph in (arrays, drawn, read):
        found[graph.name] = (graph.node_count, graph.edge_count, repr(graph), graph.info["partitions"])
        found[f"{graph.name} columns"] = (graph.info["node_columns"], graph.info["edge_columns"])
        rank = graph.run("pagerank", ticks=10, damping=0.9).result("rank")
        found[f"{graph.name} rank"] = (rank.digest, rank.top(5), rank.top(5, least=True), len(rank))
        component = graph.run("wcc").result("component")
        found[f"{graph.name} component"] = component.to_dict()
        run = graph.start(Everything, ticks=3, weight=0.25)
        found[f"{graph.name} all"] = [run.wait(30).result(name).digest for name in ("a", "b", "c", "marks")]
        found[f"{graph.name} run"] = (run.state, run.tick, run.show()["totals"]["edges"], run.show()["params"])
    counted = arrays.run(Count, ticks=9, checkpoint=2)
    found["kept"] = (counted.ticks_kept(), counted.at(6).result("tick").digest, arrays.at().tick)
    halves = read.run(Halves, ticks=1)
    found["nulls"] = (halves.result("half").to_dict(), halves.result("ratio").top(9), halves.table().to_pydict())
    paced = arrays.start("pagerank", ticks=5, paced=True)
    found["steps"] = [tick["tick"] for tick in paced.steps(2)]
    found["phases"] = list(paced.step()["phases"])
    found["stopped"] = paced.stop().state
    return found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "nodes.csv").write_text("id,size\na,1\nb,2\nc,3\nd,4\n")
    (tmp_path / "edges.csv").write_text(
        "source,target,type,weight\na,b,x,1.5\nb,c,y,\nc,a,x,2\n".replace("y,\n", "y,1\n")
    )
    return tmp_path


def test_one_script_gives_the_same_everywhere(session: Session, files: Path) -> None:
    with shoal.local(1) as alone:
        assert script(session, files) == script(alone, files)


def test_what_is_loaded_at_once_is_loaded_or_refused(three: list[DevShard]) -> None:
    """A dozen loads from each shard: a client that is told that a graph is loaded can run on it."""
    data = shoal.from_arrays(list(range(500)), [(i * 7 + 3) % 500 for i in range(500)])

    def load(number: int) -> str:
        with shoal.connect(str(three[number % 3].socket)) as session:
            try:
                session.load(f"at-once-{number}", data=data)
            except ShoalError as error:
                return str(error)
        return f"at-once-{number}"

    with ThreadPoolExecutor(36) as pool:
        told = set(pool.map(load, range(36)))
    loaded = sorted(word for word in told if word.startswith("at-once-"))
    assert loaded
    assert all("; try again when one is done" in refusal for refusal in told.difference(loaded)), told
    with shoal.connect(str(three[0].socket)) as session:
        assert {graph.name for graph in session.graphs()} >= set(loaded)
        assert len({session.graph(name).run("pagerank", ticks=2).result("rank").digest for name in loaded}) == 1
        for name in loaded:
            session.drop(name)


def test_the_same_errors_everywhere(session: Session) -> None:
    graph = session.load("g", data=shoal.from_arrays([1, 2], [2, 3]))
    with pytest.raises(NameTaken, match="a graph called 'g' is already loaded"):
        session.load("g", data=shoal.from_arrays([1], [2]))
    with pytest.raises(UnknownGraph, match="no graph is called 'h'"):
        session.graph("h")
    with pytest.raises(UnknownGraph):
        session.drop("h")
    with pytest.raises(UnknownProgram, match="no program is called 'pagerang'; did you mean 'pagerank'"):
        graph.run("pagerang")
    with pytest.raises(BadParameter, match="no parameter 'dumping'; did you mean 'damping'"):
        graph.run("pagerank", dumping=0.5)
    with pytest.raises(BadParameter, match=r"'damping': -1\.0 is out of bounds"):
        graph.run("pagerank", damping=-1)
    with pytest.raises(ShoalError, match="ticks should be 0 or more, not -1"):
        graph.run("pagerank", ticks=-1)
    with pytest.raises(ShoalError, match="a graph's name has 1 to 63 letters"):
        session.load("a b", data=shoal.from_arrays([1], [2]))
    with pytest.raises(UnknownRun, match="there is no run 'nothing'"):
        session.get_run("nothing")
    run = graph.run("degree")
    with pytest.raises(UnknownColumn, match="has no column 'dgree'; did you mean 'degree'"):
        run.result("dgree")
    with pytest.raises(ShoalError, match=f"run '{run.name}' is already over: it completed after 1 ticks"):
        run.stop()
    with pytest.raises(ShoalError, match=f"run '{run.name}' is already over: it completed after 1 ticks"):
        run.step()
    free = graph.start(Count, ticks=10**9)
    with pytest.raises(ShoalError, match=f"run '{free.name}' is not paced"):
        free.step()
    with pytest.raises(ShoalError, match=f"run '{free.name}' has no result: it is running"):
        free.result("tick")
    with pytest.raises(TimeoutError, match=f"run '{free.name}' is still running, at tick"):
        free.wait(0.1)
    free.stop()


@pytest.mark.parametrize("tick", [0, 2])
def test_a_program_that_fails_fails_its_run_everywhere(session: Session, tick: int) -> None:
    graph = session.load("g", data=shoal.from_arrays([1, 2], [2, 3]))
    run = graph.start(Raise, tick=tick)
    with pytest.raises(
        RunFailed, match=rf"(?s)run '{run.name}' failed at tick .*the trial's own failure in tick {tick}"
    ):
        run.wait(30)
    assert run.show()["state"] == "failed"
    assert "ZeroDivisionError" in run.show()["error"]
    with pytest.raises(ShoalError, match=f"run '{run.name}' has no result: it is failed"):
        run.result("tick")
    paced = graph.start(Raise, tick=1, paced=True)
    with pytest.raises(ShoalError, match="the trial's own failure in tick 1"):
        paced.step()


def test_progress_is_told_everywhere(session: Session) -> None:
    stages: list[str] = []
    graph = session.load(
        "g", data=shoal.from_arrays([1, 2], [2, 3]), progress=lambda event: stages.append(event["stage"])
    )
    assert "cut" in stages
    events: list[Any] = []
    run = graph.start(Count, ticks=25, interval=0.02).wait(30, progress=events.append)
    assert run.tick == 25
    assert len(events) >= 2
    assert all(event["run"] == run.name and 0 <= event["tick"] <= 25 for event in events)


def test_what_is_there_is_listed_everywhere(session: Session) -> None:
    graph = session.load("g", data=shoal.from_arrays([1, 2], [2, 3]))
    run = graph.run("degree")
    assert "g" in [found.name for found in session.graphs()]
    assert run.name in [found.name for found in session.runs()]
    assert {"degree", "pagerank", "wcc"} <= {program["name"] for program in session.programs()}
    assert session.status()["state"] == "joined"
    assert session.get_run(run.name).result("degree").to_dict() == {1: 1, 2: 2, 3: 1}
    session.drop("g")
    assert "g" not in [found.name for found in session.graphs()]
    began = time.monotonic()
    with pytest.raises(ShoalError):
        run.result("degree")
    assert time.monotonic() - began < 5, "a graph that was dropped does not come back: it is not waited for"


def test_threads_share_a_session(session: Session) -> None:
    graph = session.load("g", data=shoal.from_arrays(range(60), [i * 7 % 60 for i in range(60)]))
    due = {ticks: graph.run(Count, ticks=ticks).result("tick").digest for ticks in (1, 2, 3)}
    long = graph.start(Count, ticks=10**9)

    def ask(thread: int) -> None:
        for i in range(4):
            ticks = (thread + i) % 3 + 1
            run = graph.run(Count, ticks=ticks)
            assert (run.state, run.tick, run.show()["run"]) == ("completed", ticks, run.name)
            assert run.result("tick").digest == due[ticks]
            assert session.get_run(long.name).name == long.name
            assert session.graph("g").node_count == 60

    with ThreadPoolExecutor(7) as pool:
        waiting = pool.submit(long.wait)
        for asked in [pool.submit(ask, thread) for thread in range(6)]:
            asked.result(60)
        assert not waiting.done()
        long.stop()
        assert waiting.result(60).state == "stopped"


def test_interrupts_at_random_moments(session: Session) -> None:
    small = shoal.from_arrays(range(60), [i * 7 % 60 for i in range(60)])
    large = shoal.from_arrays(range(100_000), [i * 7 % 100_000 for i in range(100_000)])
    graph, chance = session.load("g", data=small), random.Random(9)
    first, other = graph.run(Count, ticks=2), graph.run(Count, ticks=3)
    due = first.result("tick").digest
    long = graph.start(Count, ticks=10**9)
    for i in range(40):
        with InterruptAfter(chance.uniform(0.0002, 0.03)) as interrupt:
            if i % 4 == 0:
                session.load(f"h-{i}", data=large)
            elif i % 10 == 3:  # only this many results are kept
                graph.run(Count, ticks=1)
            while True:
                first.show() if i % 2 else first.result("tick")
                with contextlib.suppress(TimeoutError):
                    long.wait(0.01)
        assert interrupt.happened
        assert (first.show()["run"], other.show()["run"], long.show()["run"]) == (first.name, other.name, long.name)
        assert (first.tick, other.tick, first.result("tick").digest) == (2, 3, due)
    assert long.stop().wait(60).state == "stopped"
    ours = [run for run in session.runs() if run.show()["load"] == graph.load]
    assert len(ours) >= 3
    for run in ours:  # those whose start was interrupted are in progress or never began
        assert run.wait(60).state in ("completed", "stopped")

"""The example programs are right, and a program of one's own reaches daemons the way docs/programs.md says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import shoal
from daemon.cli.dev_cluster import DevCluster
from examples.own_program import FAR, Steps
from examples.sandpile import Sandpile

ROOT = Path(__file__).parents[2]


def graph_data() -> tuple[nx.MultiDiGraph, shoal.GraphData]:
    drawn = nx.MultiDiGraph(nx.gnm_random_graph(200, 600, seed=5, directed=True))
    drawn.add_edges_from(list(drawn.edges())[:50])
    return drawn, shoal.from_networkx(drawn)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("kind", [int, str])
def test_steps_are_breadth_first_search(shards: int, kind: type) -> None:
    drawn = nx.relabel_nodes(graph_data()[0], kind)
    expected = nx.single_source_shortest_path_length(drawn.reverse(), kind(7))
    with shoal.local(shards) as session:
        run = session.load("g", data=shoal.from_networkx(drawn)).run(Steps, goal="7")
        assert run.result("steps").to_dict() == {node: expected.get(node, FAR) for node in drawn}


def test_chips_are_neither_lost_nor_made_and_fall_alike_everywhere() -> None:
    drawn, data = graph_data()
    digests = set()
    for shards in (1, 2, 5):
        with shoal.local(shards) as session:
            run = session.load("g", data=data).run(Sandpile, chips=2, ticks=50)
            chips, fired = run.result("chips"), run.result("fired")
        digests.add((chips.digest, fired.digest))
    assert len(digests) == 1
    assert chips.values.sum() == 2 * len(drawn)
    times = fired.to_dict()
    for node, left in chips:
        came = sum(times[source] for source, _ in drawn.in_edges(node))
        assert left == 2 + came - times[node] * drawn.out_degree(node)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir="/tmp"))  # with a short path, for sockets are below it
    yield made
    DevCluster(made / "d").down()
    shutil.rmtree(made)


def test_an_installed_program_runs_on_daemons(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "site"
    metadata = site / "steps-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "own_program.py", site / "steps.py")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: steps\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[shoal.programs]\nsteps = steps:Steps\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    _, data = graph_data()
    with shoal.local() as session:
        expected = session.load("g", data=data).run(Steps, goal="7").result("steps").digest
    shards = DevCluster(folder / "d").up(2)
    with shoal.connect(str(shards[1].socket), 60.0) as session:
        assert "steps" in [program["name"] for program in session.programs()]
        run = session.load("g", data=data).run("steps", goal="7")
        assert run.result("steps").digest == expected

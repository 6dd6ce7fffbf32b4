"""All installed algorithms on real daemons, one and three, with the command lines that others depend on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import shoal
from bench.rmat import rmat
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData
from tests.cluster.conftest import Up
from tests.cluster.trial import said, shoalctl

SCALE = 9
LINES = {
    "bfs": ("depth", "--param", "source={source}"),
    "sssp": ("distance", "--param", "source={source}", "--param", "weight=weight"),
    "cdlp": ("label", "--ticks", "10"),
    "lcc": ("coefficient",),
    "wcc": ("component",),
    "pagerank": ("rank", "--ticks", "10"),
    "label-propagation": ("label", "--param", "seed=4"),
    "kcore": ("core",),
    "triangles": ("triangles",),
    "scc": ("component",),
    "ppr": ("rank", "--ticks", "10", "--param", "sources={source},{other}"),
    "betweenness": ("betweenness", "--param", "samples=3"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Writes nodes.csv and edges.csv of an R-MAT graph; the last nodes have no edge."""
    folder = tmp_path_factory.mktemp("rmat")
    source, target = rmat(SCALE)
    weight = np.random.default_rng(5).integers(1, 1000, len(source)) / 1000
    with open(folder / "nodes.csv", "w", encoding="utf-8") as file:
        file.writelines(["id:int\n", *(f"{node}\n" for node in range((1 << SCALE) + 3))])
    with open(folder / "edges.csv", "w", encoding="utf-8") as file:
        rows = zip(source.tolist(), target.tolist(), weight.tolist(), strict=True)
        file.writelines(["source:int,target:int,weight:float\n", *(f"{u},{v},{w}\n" for u, v, w in rows)])
    return folder / "nodes.csv", folder / "edges.csv"


def sources(data: GraphData) -> dict[str, int]:
    busiest = np.argsort(np.bincount(data.source), kind="stable")[::-1]
    return {"source": int(data.ids[busiest[0]]), "other": int(data.ids[busiest[1]])}


def digests_of(shard: DevShard, graph: str, data: GraphData) -> dict[str, str]:
    found = {}
    for program, (column, *words) in LINES.items():
        given = [word.format(**sources(data)) for word in words]
        run = said(shard, "run", "start", program, "--graph", graph, *given, "--wait")
        assert run["state"] == "completed", run
        found[program] = said(shard, "run", "result", run["run"], "--column", column, "--top", "1")["digest"]
    return found


def expected(data: GraphData) -> dict[str, str]:
    found = {}
    with shoal.local() as session:
        graph = session.load("g", data=data)
        for program, (column, *words) in LINES.items():
            given = dict(w.format(**sources(data)).split("=", 1) for w in words if "=" in w)
            ticks = int(words[words.index("--ticks") + 1]) if "--ticks" in words else 0
            found[program] = graph.run(program, ticks=ticks, **given).result(column).digest
    return found


@pytest.mark.parametrize("undirected", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_every_algorithm_has_one_digest(
    up: Up, trio: list[DevShard], files: tuple[Path, Path], count: int, undirected: bool
) -> None:
    shard = trio[0] if count == 3 else _alone(up)
    data = shoal.read_graph(files[0], edges=files[1], undirected=undirected)
    name = f"all{count}{undirected:d}"
    way = ["--undirected"] if undirected else []
    said(shard, "graph", "load", name, "--nodes", str(files[0]), "--edges", str(files[1]), *way)
    assert digests_of(shard, name, data) == expected(data)


ALONE: list[DevShard] = []


def _alone(up: Up) -> DevShard:
    """Returns a single daemon, started once."""
    if not ALONE:
        ALONE.extend(up(1, encryption="none"))
    return ALONE[0]


def test_the_lines_of_the_six(trio: list[DevShard], files: tuple[Path, Path], tmp_path: Path) -> None:
    """As in the documentation, with a node that no edge enters."""
    first, second, _ = trio
    said(first, "graph", "load", "six", "--nodes", str(files[0]), "--edges", str(files[1]), "--undirected")
    source = str(sources(shoal.read_graph(files[0], edges=files[1], undirected=True))["source"])
    run = said(second, "run", "start", "bfs", "--graph", "six", "--param", f"source={source}", "--wait")
    out = tmp_path / "result.csv"
    ended = shoalctl(first, "run", "result", run["run"], "--column", "depth", "--out", str(out))
    assert ended.exit_code == 0, ended.output
    with open(out, encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["id", "value"]
    depth = dict(rows)
    assert (depth[source], depth[str((1 << SCALE) + 1)]) == ("0", "")
    parquet = tmp_path / "result.parquet"
    assert shoalctl(first, "run", "result", run["run"], "--column", "depth", "--out", str(parquet)).exit_code == 0
    nodes, depths = pq.read_table(parquet).to_pydict().values()
    assert [str(node) for node in nodes] == [row[0] for row in rows]
    assert depths == [int(row[1]) if row[1] else None for row in rows]


def test_a_source_that_is_no_node_fails_the_run_on_all_shards_alike(three: list[DevShard], deps: str) -> None:
    for program, params in (("bfs", ["source=no-such"]), ("ppr", ["sources=libc6,no-such"])):
        words = [word for param in params for word in ("--param", param)]
        ended = shoalctl(three[1], "run", "start", program, "--graph", deps, *words, "--wait", "--json")
        assert ended.exit_code != 0
        run: dict[str, Any] = _shown(three[2], ended.output, program)
        assert (run["state"], run["tick"]) == ("failed", 0)
        assert f"parameter '{params[0].split('=')[0]}': no node is called 'no-such' in graph 'deps'" in run["error"]


def _shown(shard: DevShard, output: str, program: str) -> dict[str, Any]:
    runs = [run for run in said(shard, "run", "list")["runs"] if run["program"] == program]
    assert runs, output
    shown: dict[str, Any] = said(shard, "run", "show", runs[-1]["run"])
    return shown

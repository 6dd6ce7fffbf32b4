"""Rivals on a graph so small that a dumb twin can say what is right; only those that tests have installed anyway."""

from __future__ import annotations

import heapq
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.compare.ours import PROGRAMS, Ours
from bench.compare.report import report
from bench.graphs import WEIGHTED, WeightedGraph, weighted, write_weighted
from bench.grid import grid
from bench.rivals import RIVALS, Measured, Missing, agree, run
from bench.rivals.answers import SHORT, Answer
from bench.rivals.child import engine_for, measure
from bench.rivals.engine import Edges, Engine, Job, read_edges
from bench.rivals.options import read_options
from bench.rivals.register import ALGORITHMS
from bench.rivals.with_networkx import Enough
from bench.rivals.with_numpy import most_frequent

HERE = ("scipy", "numpy", "networkx")
NODES, EDGES = 60, 220
ITERATIONS = {"pagerank": 20, "cdlp": 5}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> WeightedGraph:
    """Ids with gaps, nodes without out-edges, some that can't be reached, edges in both directions."""
    random = np.random.default_rng(7)
    pairs = np.unique(random.integers(0, NODES, (EDGES, 2)), axis=0)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs[:, 0] % 5 > 0)]
    pairs = np.concatenate([pairs, [[200, 201], [201, 202]]]) * 3
    path = tmp_path_factory.mktemp("graph") / "tiny.parquet"
    write_weighted(path, pairs[:, 0].copy(), pairs[:, 1].copy(), 1.0 - random.random(len(pairs)))
    facts = json.loads(pq.read_schema(path).metadata[b"shoal.bench"])
    del facts["recipe"]
    return WeightedGraph(name="tiny", words="tiny", edges=path, nodes=None, **facts)


def _job(graph: WeightedGraph, rival: str, algorithm: str) -> Job:
    iterations = ITERATIONS.get(algorithm, 1)
    return Job(rival, algorithm, str(graph.edges), graph.source, 1, iterations, 2, 60, str(graph.edges.parent))


CASES = [(rival, algorithm) for rival in HERE for algorithm in RIVALS[rival].offers]


@pytest.mark.parametrize(("rival", "algorithm"), CASES)
def test_a_rival_finds_what_the_dumb_twin_finds(graph: WeightedGraph, rival: str, algorithm: str) -> None:
    found = measure(engine_for(_job(graph, rival, algorithm)))
    twin = Twin(graph, directed=algorithm not in RIVALS[rival].differs)
    assert agree(found.answer, getattr(twin, algorithm)()), (found.answer, getattr(twin, algorithm)())
    assert 2 <= len(found.times) <= 6
    assert len(found.cpu_times) == len(found.times)
    assert found.load_seconds > 0
    assert found.load_cpu_seconds > 0
    assert found.peak_mib > 1


def test_a_run_in_a_process_of_its_own(graph: WeightedGraph) -> None:
    found = run("scipy", "wcc", graph)
    assert isinstance(found, Measured)
    assert agree(found.answer, Twin(graph).wcc())
    assert found.cpu_seconds > 0
    assert found.ns_per_edge == pytest.approx(found.seconds * 1e9 / graph.edge_count)
    assert json.loads(json.dumps(found.as_json()))["answer"] == found.answer


def test_what_is_not_tried_says_why(graph: WeightedGraph) -> None:
    assert run("scipy", "cdlp", graph) == Missing("scipy", "cdlp", "tiny", 1, RIVALS["scipy"].lacks["cdlp"])
    hopeless = RIVALS["networkx"].why_not("wcc", "rmat-20")
    assert hopeless
    assert "load" in hopeless


def test_whoever_is_not_installed_is_missing_with_a_hint(graph: WeightedGraph, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")  # an interpreter that has found none of the packages
    python.chmod(0o755)
    found = run("networkit", "bfs", graph, python=str(python))
    assert isinstance(found, Missing)
    assert found.reason == "networkit not installed: make rivals"


def test_whoever_takes_too_long_is_ended(graph: WeightedGraph) -> None:
    found = run("networkx", "lcc", graph, limit=0.01)
    assert found == Missing("networkx", "lcc", "tiny", 1, "not finished in 0.01 s")
    assert isinstance(found, Missing)
    assert found.is_late


def test_whoever_fails_is_quoted(graph: WeightedGraph, tmp_path: Path) -> None:
    gone = WeightedGraph(
        name="gone", words="gone", edges=tmp_path / "gone.parquet", nodes=None, node_count=1, edge_count=1, source=0
    )
    found = run("scipy", "wcc", gone)
    assert isinstance(found, Missing)
    assert "failed with status 1" in found.reason
    assert "FileNotFoundError" in found.reason


def test_everybody_in_the_register_has_a_file_and_knows_the_algorithms() -> None:
    for name, rival in RIVALS.items():
        assert rival.name == name
        path = Path(__file__).parents[2] / (rival.module.replace(".", "/") + ".py")
        text = path.read_text()
        for algorithm in ALGORITHMS:
            assert (f"def {algorithm}(self)" in text) == (algorithm in rival.offers), (name, algorithm)
        assert {*rival.differs, *rival.remarks, *rival.lacks} <= {*ALGORITHMS}
        assert all(algorithm in (*ALGORITHMS, "*") and graph in WEIGHTED for algorithm, graph in rival.hopeless)


def test_ids_far_apart_are_numbered_as_those_close_together(graph: WeightedGraph, tmp_path: Path) -> None:
    near = read_edges(_job(graph, "scipy", "sssp"))
    table = pq.read_table(graph.edges)
    ends = [table[column].to_numpy() * 10**12 for column in ("source", "target")]
    path = tmp_path / "far.parquet"
    pq.write_table(pa.table({"source": ends[0], "target": ends[1], "weight": table["weight"]}), path)
    job = Job("scipy", "sssp", str(path), graph.source * 10**12, 1, 1, 1, 60, "")
    far = read_edges(job)
    assert _plain(near) == _plain(far)


def _plain(edges: Edges) -> tuple[Any, ...]:
    assert edges.weight is not None
    return edges.node_count, edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), edges.start


def test_of_equally_frequent_labels_the_least_wins() -> None:
    owner, label = np.array([0, 0, 0, 2, 2, 2]), np.array([5, 3, 3, 9, 4, 7])
    assert most_frequent(owner, label, np.array([0, 1, 2])).tolist() == [3, 1, 4]


def test_networkx_is_told_to_stop_after_so_many_looks() -> None:
    enough = Enough(3)
    assert [np.float64(0.5) < 10 * enough for _ in range(3)] == [False, False, True]


def test_answers_agree_but_for_rounding() -> None:
    assert agree({"sum": 1.0}, {"sum": 1.0 + 1e-12})
    assert not agree({"sum": 1.0}, {"sum": 1.001})
    assert not agree({"sum": 1.0}, {"reached": 1.0})


def test_a_file_is_written_once_and_again_after_a_change_of_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return grid(5)

    monkeypatch.setitem(WEIGHTED, "grid-5", ("a grid", make))
    first = weighted("grid-5", tmp_path)
    assert weighted("grid-5", tmp_path) == first
    assert len(made) == 1
    monkeypatch.setattr("bench.graphs.RECIPE", 999)
    assert weighted("grid-5", tmp_path) == first
    assert len(made) == 2


def test_a_grid_leads_both_ways_with_the_same_weight() -> None:
    source, target, weight = grid(20)
    there = dict(zip(zip(source.tolist(), target.tolist(), strict=True), weight.tolist(), strict=True))
    assert all(there[target, source] == weight for (source, target), weight in there.items())
    assert 0.5 < len(there) / (4 * 20 * 19) < 0.7
    assert all(0 < weight <= 1 for weight in there.values())


class Twin:
    """All six in plain Python over dictionaries, by the definitions; the undirected view where it is asked for."""

    def __init__(self, graph: WeightedGraph, directed: bool = True) -> None:
        columns = (pq.read_table(graph.edges)[name].to_pylist() for name in ("source", "target", "weight"))
        rows = list(zip(*columns, strict=True))
        if not directed:
            rows = [*rows, *((target, source, weight) for source, target, weight in rows)]
        self.start = graph.source
        self.nodes = sorted({end for row in rows for end in row[:2]})
        self.out: dict[int, dict[int, float]] = defaultdict(dict)
        self.near: dict[int, Counter[int]] = defaultdict(Counter)
        for source, target, weight in {row[:2]: row for row in rows}.values():
            self.out[source][target] = weight
            self.near[source][target] += 1
            self.near[target][source] += 1

    def pagerank(self) -> Answer:
        count = len(self.nodes)
        rank = dict.fromkeys(self.nodes, 1 / count)
        for _ in range(ITERATIONS["pagerank"]):
            lost = sum(rank[node] for node in self.nodes if not self.out[node])
            after = dict.fromkeys(self.nodes, 0.15 / count + 0.85 * lost / count)
            for node in self.nodes:
                for other in self.out[node]:
                    after[other] += 0.85 * rank[node] / len(self.out[node])
            rank = after
        return self._short("pagerank", rank)

    def wcc(self) -> Answer:
        label = {node: node for node in self.nodes}
        for _ in self.nodes:
            label = {node: min(label[node], *(label[other] for other in self.near[node])) for node in self.nodes}
        return self._short("wcc", label)

    def bfs(self) -> Answer:
        return self._short("bfs", self._distances(lambda weight: 1))

    def sssp(self) -> Answer:
        return self._short("sssp", self._distances(lambda weight: weight))

    def cdlp(self) -> Answer:
        label = {node: node for node in self.nodes}
        for _ in range(ITERATIONS["cdlp"]):
            after = {}
            for node in self.nodes:
                seen: Counter[int] = Counter()
                for other, times in self.near[node].items():
                    seen[label[other]] += times
                after[node] = min(seen, key=lambda each: (-seen[each], each))
            label = after
        return self._short("cdlp", label)

    def lcc(self) -> Answer:
        found = {}
        for node in self.nodes:
            near = self.near[node].keys()
            joined = sum(other in self.out[one] for one in near for other in near)
            found[node] = joined / max(1, len(near) * (len(near) - 1))
        return self._short("lcc", found)

    def _distances(self, length: Any) -> dict[int, float]:
        known: dict[int, float] = {}
        heap = [(0.0, self.start)]
        while heap:
            distance, node = heapq.heappop(heap)
            if node in known:
                continue
            known[node] = distance
            for other, weight in self.out[node].items():
                heapq.heappush(heap, (distance + length(weight), other))
        return known

    def _short(self, algorithm: str, values: dict[int, Any]) -> Answer:
        return SHORT[algorithm](np.array(list(values.values())))


def test_the_base_class_needs_nothing_to_start_or_close(graph: WeightedGraph) -> None:
    class Idle(Engine):
        def load(self) -> None:
            self.loaded = True

        def wcc(self) -> list[int]:
            return [0, 0, 1]

    assert measure(Idle(_job(graph, "scipy", "wcc"))).answer == {"groups": 2, "largest": 2}


def test_what_is_not_chosen_from_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--graph", "debian", "--rival", "scipy", "--rival", "numpy"])
    options = read_options("bench.compare", "", shards=(1, 2))
    assert (options.graph, options.rival, options.shards) == (["debian"], ["scipy", "numpy"], [1, 2])
    assert tuple(options.algorithm) == ALGORITHMS == tuple(PROGRAMS)
    monkeypatch.setattr(sys, "argv", ["bench", "--algorithm", "bfs"])
    options = read_options("bench.rivals", "")
    assert (options.graph, options.algorithm, options.rival) == ([*WEIGHTED], ["bfs"], [*RIVALS])


def test_a_report_has_a_table_a_graph_with_what_was_measured_and_what_was_not() -> None:
    answer = {"groups": 2.0}
    ours = [
        Ours("wcc", "debian", shards, 3, 1000, 0.5, 0.25, (0.002, 0.004, 0.003), None, None, 70.0, 9, 40.0, answer)
        for shards in (1, 2)
    ]
    rivals = [
        Measured("scipy", "wcc", "debian", 1, 1, 1000, 0.1, 0.1, (0.04,), (0.04,), 50.0, answer, True, ""),
        Missing("networkx", "wcc", "debian", 1, "not finished in 9 s"),
    ]
    lines = report(ours, rivals).splitlines()
    assert "| **Shoal, 2 shards** | 500,000 | 3.0 | 70 |" in lines
    assert "| scipy, 1 thread | 100,000 | 40 | 50 |" in lines
    assert not any(line.startswith("| networkx") for line in lines), "of which nothing was measured"
    assert "| debian, wcc | 1 (best thread: scipy, 40 ms) |" in lines

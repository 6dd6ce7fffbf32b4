"""Measures Shoal: load, run and memory, for each number of daemons."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench.daemons import Daemons, daemons
from bench.graphs import WeightedGraph
from bench.rivals.answers import SHORT, Answer
from bench.rivals.runner import ITERATIONS, TURNS
from shoal.client.session import Graph

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """How an algorithm is run: its column, and its parameters on a graph."""

    column: str
    takes_source: bool = False
    takes_weight: bool = False

    def params(self, graph: WeightedGraph) -> dict[str, Any]:
        """Returns the parameters by name."""
        params: dict[str, Any] = {"source": graph.source} if self.takes_source else {}
        return {**params, "weight": "weight"} if self.takes_weight else params


PROGRAMS = {
    "pagerank": Program("rank"),
    "wcc": Program("component"),
    "bfs": Program("depth", takes_source=True),
    "sssp": Program("distance", takes_source=True, takes_weight=True),
    "cdlp": Program("label"),
    "lcc": Program("coefficient"),
}


@dataclass(frozen=True, slots=True)
class Ours:
    """One algorithm on one graph, with this number of daemons. `peak_mib` is summed over all daemons, so far."""

    algorithm: str
    graph: str
    shards: int
    ticks: int
    edge_count: int
    load_seconds: float
    bare_load_seconds: float
    """The time to load the edges without their weights."""
    times: tuple[float, ...]
    tick_ms: float | None
    """The median tick of PageRank."""
    plain_tick_ms: float | None
    """The same without encryption, which is possible if all daemons are on one machine."""
    peak_mib: float
    held_bytes: int
    idle_mib: float
    """The memory of one daemon before anything is loaded."""
    answer: Answer

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(self.times)

    @property
    def ns_per_edge(self) -> float:
        """Nanoseconds per edge and iteration (for some algorithms per edge)."""
        return self.seconds * 1e9 / self.edge_count / ITERATIONS.get(self.algorithm, 1)

    @property
    def load_ns_per_edge(self) -> float:
        """Nanoseconds per edge, from Parquet to ready."""
        return self.load_seconds * 1e9 / self.edge_count

    @property
    def bare_load_ns_per_edge(self) -> float:
        """The same for the edges without their weights."""
        return self.bare_load_seconds * 1e9 / self.edge_count

    def as_json(self) -> dict[str, Any]:
        """Returns everything."""
        derived = ("seconds", "ns_per_edge", "load_ns_per_edge", "bare_load_ns_per_edge")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A graph loaded into daemons, and the measurements of its load."""

    graph: WeightedGraph
    seconds: float
    bare_seconds: float
    held_bytes: int
    idle_mib: float


def measure(graph: WeightedGraph, algorithms: Sequence[str], shards: int) -> Iterator[Ours]:
    """Runs all algorithms on one graph, loaded once."""
    bare_seconds = _bare_load(graph, shards)
    plain_tick_ms = _plain_tick(graph, shards) if shards > 1 and "pagerank" in algorithms else None
    with daemons(shards) as cluster:
        idle = cluster.memory_bytes()
        began = time.perf_counter()
        there = cluster.session.load(graph.name, edges=graph.edges)
        seconds = time.perf_counter() - began
        loaded = _Loaded(graph, seconds, bare_seconds, cluster.memory_bytes() - idle, idle / shards / MIB)
        for algorithm in algorithms:
            yield _one(cluster, there, loaded, algorithm, plain_tick_ms if algorithm == "pagerank" else None)


def _one(cluster: Daemons, there: Graph, loaded: _Loaded, algorithm: str, plain_tick_ms: float | None) -> Ours:
    program, ticks, graph = PROGRAMS[algorithm], ITERATIONS.get(algorithm, 0), loaded.graph
    runs = [
        there.run(algorithm, ticks=ticks, timeout=600.0, checkpoint=-1, **program.params(graph)) for _ in range(TURNS)
    ]
    return Ours(
        algorithm=algorithm,
        graph=graph.name,
        shards=len(cluster.shards),
        ticks=runs[-1].tick,
        edge_count=graph.edge_count,
        load_seconds=loaded.seconds,
        bare_load_seconds=loaded.bare_seconds,
        times=tuple(float(run.show()["seconds"]) for run in runs),
        tick_ms=_tick_ms(cluster, there) if algorithm == "pagerank" else None,
        plain_tick_ms=plain_tick_ms,
        peak_mib=sum(_peak_bytes(shard.pid()) for shard in cluster.shards) / MIB,
        held_bytes=loaded.held_bytes,
        idle_mib=loaded.idle_mib,
        answer=SHORT[algorithm](runs[-1].result(program.column).to_numpy()),
    )


def _tick_ms(cluster: Daemons, there: Graph) -> float:
    return cluster.tick_ms(there, "bench-pagerank", 60, warm_up=30).value


def _plain_tick(graph: WeightedGraph, shards: int) -> float:
    with daemons(shards, "none") as cluster:
        return _tick_ms(cluster, cluster.session.load(graph.name, edges=graph.edges))


def _bare_load(graph: WeightedGraph, shards: int) -> float:
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder, daemons(shards) as cluster:
        bare = Path(folder, "bare.parquet")
        pq.write_table(pq.read_table(graph.edges, columns=["source", "target"]), bare)
        began = time.perf_counter()
        cluster.session.load(graph.name, edges=bare)
        return time.perf_counter() - began


def _peak_bytes(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

"""What Shoal takes for it: load, run and memory, on so many daemons."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.daemons import Daemons, daemons
from bench.graphs import WeightedGraph
from bench.rivals.answers import SHORT, Answer
from bench.rivals.runner import ITERATIONS, TURNS
from shoal.session import Graph

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """How an algorithm is asked for: its column, and its parameters on a graph."""

    column: str
    takes_source: bool = False
    takes_weight: bool = False

    def params(self, graph: WeightedGraph) -> dict[str, Any]:
        """By name."""
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
    """One algorithm on one graph, on so many daemons. `peak_mib` is of all daemons, summed, so far."""

    algorithm: str
    graph: str
    shards: int
    ticks: int
    edge_count: int
    load_seconds: float
    times: tuple[float, ...]
    tick_ms: float | None
    """Of PageRank: the median tick by itself."""
    peak_mib: float
    held_bytes: int
    idle_mib: float
    """What one daemon has for itself before anything is loaded."""
    answer: Answer

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(self.times)

    @property
    def ns_per_edge(self) -> float:
        """Nanoseconds an edge and iteration (which for some is the whole)."""
        return self.seconds * 1e9 / self.edge_count / ITERATIONS.get(self.algorithm, 1)

    @property
    def load_ns_per_edge(self) -> float:
        """Nanoseconds an edge, from Parquet to ready."""
        return self.load_seconds * 1e9 / self.edge_count

    def as_json(self) -> dict[str, Any]:
        """Everything, for a machine."""
        derived = {"seconds": self.seconds, "ns_per_edge": self.ns_per_edge, "load_ns_per_edge": self.load_ns_per_edge}
        return {**asdict(self), **derived}


def measure(graph: WeightedGraph, algorithms: Sequence[str], shards: int) -> Iterator[Ours]:
    """All algorithms on one graph, loaded once."""
    with daemons(shards) as cluster:
        idle = cluster.memory_bytes()
        began = time.perf_counter()
        loaded = cluster.session.load(graph.name, edges=graph.edges)
        load_seconds = time.perf_counter() - began
        held = cluster.memory_bytes() - idle
        for algorithm in algorithms:
            yield _one(cluster, loaded, graph, algorithm, load_seconds, held, idle / shards / MIB)


def _one(
    cluster: Daemons,
    loaded: Graph,
    graph: WeightedGraph,
    algorithm: str,
    load_seconds: float,
    held: int,
    idle_mib: float,
) -> Ours:
    program, ticks = PROGRAMS[algorithm], ITERATIONS.get(algorithm, 0)
    runs = [
        loaded.run(algorithm, ticks=ticks, timeout=600.0, checkpoint=-1, **program.params(graph)) for _ in range(TURNS)
    ]
    tick_ms = cluster.tick_ms(loaded, "bench-pagerank", 60, warm_up=30).value if algorithm == "pagerank" else None
    values = runs[-1].result(program.column).to_numpy()
    times = tuple(float(run.show()["seconds"]) for run in runs)
    peak = sum(_peak_bytes(shard.pid()) for shard in cluster.shards) / MIB
    return Ours(
        algorithm, graph.name, len(cluster.shards), runs[-1].tick, graph.edge_count, load_seconds, times, tick_ms, peak,
        held, idle_mib, SHORT[algorithm](values),
    )  # fmt: skip


def _peak_bytes(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

"""Shoal's aims compared with its rivals, and which of them a table meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.compare.ours import Ours
from bench.rivals import Measured


@dataclass(frozen=True, slots=True)
class Verdict:
    """One aim: its text, the figure, the limit, and whether it is met; None if something was not measured."""

    words: str
    figure: float | None
    limit: float
    unit: str = "x"

    @property
    def told(self) -> str:
        """Returns `met`, `missed` or `not measured`."""
        if self.figure is None:
            return "not measured"
        return "met" if self.figure <= self.limit else "missed"


@dataclass(frozen=True, slots=True)
class _Versus:
    """Our time divided by a rival's, at most `limit`."""

    words: str
    algorithm: str
    graph: str
    rival: str
    limit: float
    shards: int = 1
    threads: int = 1


_VERSUS = (
    _Versus("PageRank, 1 shard, beside scipy's loop", "pagerank", "rmat-18", "scipy", 1.3),
    _Versus("PageRank, 1 shard, beside scipy's loop", "pagerank", "rmat-20", "scipy", 1.3),
    _Versus("PageRank, 1 shard, beside one thread of networkit", "pagerank", "rmat-18", "networkit", 1.0),
    _Versus("PageRank, 1 shard, beside one thread of graphblas", "pagerank", "rmat-18", "graphblas", 1.0),
    _Versus("WCC, 1 shard, beside scipy's", "wcc", "rmat-18", "scipy", 1.0),
    _Versus("BFS, 1 shard, beside numpy's, level by level", "bfs", "rmat-18", "numpy", 1.0),
    _Versus("BFS, 1 shard, beside numpy's, level by level", "bfs", "grid-710", "numpy", 1.0),
    _Versus("SSSP, 1 shard, beside scipy's", "sssp", "rmat-18", "scipy", 1.5),
    _Versus("CDLP, 1 shard, beside numpy with a sort", "cdlp", "rmat-18", "numpy", 1.0),
    _Versus("LCC, 1 shard, beside networkit's on two threads", "lcc", "rmat-18", "networkit", 2.0, threads=2),
    _Versus("PageRank, 4 shards, beside 4 Ray actors", "pagerank", "rmat-18", "ray", 1.0, shards=4, threads=2),
    _Versus("PageRank, 4 shards, a tenth of GraphX's", "pagerank", "rmat-18", "graphx", 0.1, shards=4, threads=2),
    _Versus("PageRank, 4 shards, a 40th of DataFrames'", "pagerank", "rmat-18", "dataframes", 1 / 40, 4, threads=2),
    _Versus("WCC on the long graph, 4 shards, beside networkx", "wcc", "grid-710", "networkx", 1.0, shards=4),
)


def verdicts(ours: Sequence[Ours], rivals: Sequence[Measured]) -> Iterator[Verdict]:
    """Returns the verdict on every aim that these measurements cover."""
    mine = {(o.algorithm, o.graph, o.shards): o for o in ours}
    theirs = {(r.rival, r.algorithm, r.graph, r.threads): r for r in rivals}
    for aim in _VERSUS:
        our, their = (
            mine.get((aim.algorithm, aim.graph, aim.shards)),
            theirs.get((aim.rival, aim.algorithm, aim.graph, aim.threads)),
        )
        yield Verdict(f"{aim.words}, {aim.graph}", our.seconds / their.seconds if our and their else None, aim.limit)
    for words, algorithm, graph, shards, figure, limit, unit in _ALONE:
        found = mine.get((algorithm, graph, shards))
        yield Verdict(words, figure(found) if found else None, limit, unit)
    one, two = mine.get(("pagerank", "rmat-20", 1)), mine.get(("pagerank", "rmat-20", 2))
    alone = one.tick_ms if one else None
    for words, beside in (("encrypted", two and two.tick_ms), ("plain text", two and two.plain_tick_ms)):
        ratio = beside / alone if beside and alone else None
        yield Verdict(f"PageRank tick, 2 shards by 1 (1.6 times as fast), {words}, rmat-20", ratio, 1 / 1.6)


_ALONE: tuple[tuple[str, str, str, int, Callable[[Ours], float | None], float, str], ...] = (
    ("PageRank tick on Debian, 4 shards", "pagerank", "debian", 4, lambda o: o.tick_ms, 3.0, "ms"),
    ("WCC on the long graph, 4 shards", "wcc", "grid-710", 4, lambda o: float(o.ticks), 60.0, "ticks"),
    ("load into 4 shards, R-MAT 18", "pagerank", "rmat-18", 4, lambda o: o.bare_load_ns_per_edge, 350.0, "ns/edge"),
    ("the same with weights", "pagerank", "rmat-18", 4, lambda o: o.load_ns_per_edge, 350.0, "ns/edge"),
    ("memory held, 1 shard, R-MAT 18", "pagerank", "rmat-18", 1, lambda o: o.held_bytes / o.edge_count, 80.0, "B/edge"),
    ("memory of an idle daemon", "pagerank", "rmat-18", 1, lambda o: o.idle_mib, 80.0, "MiB"),
)


def cost(ours: Sequence[Ours], rivals: Sequence[Measured]) -> Iterator[tuple[str, str, str]]:
    """Returns COST (McSherry, Isard and Murray 2015): the number of shards needed to beat the best single thread.

    Yields graph, algorithm, and the answer in words, if a single thread gave a comparable answer.
    """
    pairs = dict.fromkeys((o.graph, o.algorithm) for o in ours)
    for graph, algorithm in pairs:
        single = [r for r in rivals if (r.graph, r.algorithm, r.threads) == (graph, algorithm, 1) and r.exact]
        if not single:
            continue
        best = min(single, key=lambda r: r.seconds)
        mine = sorted((o for o in ours if (o.graph, o.algorithm) == (graph, algorithm)), key=lambda o: o.shards)
        enough = next((o.shards for o in mine if o.seconds <= best.seconds), None)
        tried = ", ".join(str(o.shards) for o in mine)
        words = f"{enough}" if enough else f"none of {tried}"
        yield graph, algorithm, f"{words} (best thread: {best.rival}, {best.seconds * 1000:.0f} ms)"

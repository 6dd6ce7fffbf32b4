"""The compiled loops alone, on one thread, each beside its closest counterpart in scipy or numpy; no daemon, no tick.

Both are measured in turns, in this thread's processor time, so a busy machine hardly affects the ratio. The part is
that of a single shard that holds everything.

    python -m bench.kernels          R-MAT 18; another scale as an argument
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

import shoal
from bench.rmat import rmat
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.kernels.reductions import Kernel
from shoal.kernels.traversals import UNREACHED, breadth_first, components, shortest_paths
from shoal.kernels.triangles import corner_arcs, neighbour_sets

Work = Callable[[], Any]
TURNS = 5


def main() -> None:
    """Measures and prints, one line per loop."""
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 18
    data = shoal.from_arrays(*rmat(scale))
    part = part_of("g", data, Placement(("x",), np.zeros(data.partition_count, np.int16)), 0)
    edges = len(part.out_edges.neighbours)
    print(f"R-MAT {scale}: {part.size:,} nodes, {edges:,} edges; milliseconds of processor time, medians of {TURNS}")
    for what, ours, rival, name in loops(part):
        pairs = [(seconds(ours), seconds(rival) if rival else 0.0) for _ in range(TURNS)]
        mine, theirs = (median(times) * 1e3 for times in zip(*pairs, strict=True))
        beside = f"   {name} {theirs:9.1f}   {mine / theirs:5.2f}x" if rival else ""
        print(f"{what:34} {mine:9.1f}   {mine * 1e6 / edges:7.2f} ns/edge{beside}", flush=True)


def seconds(work: Work) -> float:
    """Returns the processor time of one execution."""
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def loops(part: ShardGraph) -> Iterator[tuple[str, Work, Work | None, str]]:
    """Yields what is measured: the name, our loop, and a rival's with its name."""
    into, out, nodes = part.in_kernel, part.out_kernel, part.size
    random = np.random.default_rng(1)
    values, per_edge = random.random(nodes), random.random(nodes)
    weights = random.random(len(into.neighbours))
    ones, weighted = matrix(into, np.ones(len(into.neighbours))), matrix(out, weights)
    yield "sum", lambda: into.sum(values), lambda: ones @ values, "csr @ x"
    yield "least", lambda: into.reduce(np.minimum, values, np.inf), lambda: reduceat(into, values), "reduceat"
    yield "sum of value * weight", lambda: into.sum(values, weights=weights), lambda: ones @ values, "csr @ x"
    rank, share = np.empty(nodes), np.empty(nodes)

    def in_parts() -> None:
        found = ones @ values
        found *= 0.85
        found += 1e-6
        np.multiply(found, per_edge, out=share)

    yield (
        "PageRank's step",
        lambda: into.rank_step(values, per_edge, rank, share, 0.85, 1e-6),
        in_parts,
        "csr @ x, numpy",
    )
    ordinals = part.all_ordinals()
    yield (
        "mode, both directions",
        lambda: into.mode(ordinals, 0, out),
        lambda: sort_by_row(into, ordinals),
        "one lexsort",
    )
    undirected = matrix(out, np.ones(len(out.neighbours), np.int8))
    whole = partial(connected_components, undirected, directed=False)
    yield "components", lambda: components(out, into), whole, "scipy"
    source = int(np.argmax(part.out_degree))
    yield "breadth-first search", lambda: search(part, source), lambda: by_levels(out, source), "numpy, by levels"
    yield "shortest paths", lambda: paths(out, weights, source), partial(scipy_paths, weighted, source), "scipy"
    yield "neighbour sets and triangles", lambda: triangles(part), None, ""


def matrix(kernel: Kernel, values: Any) -> Any:
    """Returns the kernel's rows as a scipy matrix."""
    return csr_array((values, kernel.neighbours, kernel.indptr), shape=(kernel.rows, kernel.width))


def reduceat(kernel: Kernel, values: Any) -> Any:
    """Returns the least value of each row that has an edge."""
    filled = np.flatnonzero(np.diff(kernel.indptr))
    return np.minimum.reduceat(values[kernel.neighbours], kernel.indptr[filled])


def sort_by_row(kernel: Kernel, labels: Any) -> Any:
    """Does numpy's first step towards the most frequent label, in one direction only."""
    return np.lexsort((labels[kernel.neighbours], np.repeat(np.arange(kernel.rows), np.diff(kernel.indptr))))


def search(part: ShardGraph, source: int) -> None:
    """Runs our search from one node."""
    depth = np.full(part.size, UNREACHED)
    depth[source] = 0
    breadth_first(part.out_kernel, part.in_kernel, depth, np.array([source]))


def by_levels(out: Kernel, source: int) -> None:
    """Searches by levels: all unseen neighbours of the last level."""
    depth = np.full(out.rows, UNREACHED)
    depth[source] = level = 0
    frontier = np.array([source])
    while len(frontier):
        level += 1
        begin = out.indptr[frontier].astype(np.int64)
        length = out.indptr[frontier + 1] - begin
        end = np.cumsum(length)
        found = out.neighbours[np.arange(end[-1]) + np.repeat(begin - (end - length), length)]
        depth[found[depth[found] == UNREACHED]] = level
        frontier = np.flatnonzero(depth == level)


def paths(out: Kernel, weights: Any, source: int) -> None:
    """Runs our search from one node."""
    distance = np.full(out.rows, np.inf)
    distance[source] = 0.0
    shortest_paths(out, weights, distance, np.array([source]))


def scipy_paths(weighted: Any, source: int) -> Any:
    """Runs scipy's search."""
    return dijkstra(weighted, indices=np.array([source]), directed=True, return_predecessors=False, min_only=False)


def triangles(part: ShardGraph) -> None:
    """Does all the work for the local clustering coefficient."""
    sets = neighbour_sets(part.out_kernel, part.in_kernel)
    corner_arcs(sets.oriented(sets.lengths, part.all_ordinals()), part.size)


if __name__ == "__main__":
    main()

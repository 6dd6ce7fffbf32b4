"""What a shard can find out about its own piece at once, instead of an edge further with every tick.

A tick then costs a crossing from shard to shard, not an edge: components are merged and paths followed to their end
here first, and only what reaches a ghost is left for its owner. What is found in the end is a least number over paths,
which does not depend on where the graph is cut.

The loops are compiled (`shoal/native`: components, bfs, dijkstra).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native
from shoal.kernels.reductions import Kernel

Array = NDArray[Any]
Index = NDArray[np.int32]
Flags = NDArray[np.bool_]

UNREACHED = np.iinfo(np.int64).max
"""The depth of a node that no path leads to."""


def components(out: Kernel, into: Kernel) -> tuple[int, Index]:
    """Returns the number of weakly connected components, and the component number of each own node and ghost.

    They are numbered from 0 in the order of their first local index. The edges are not copied.
    """
    labels = np.empty(_width(out, into), np.int32)
    rows = out.indptr, out.neighbours, into.indptr, into.neighbours
    return _native.components(*rows, labels, len(labels)), labels


def breadth_first(
    out: Kernel,
    into: Kernel | None,
    depth: NDArray[np.int64],
    given: Array,
    limit: int = UNREACHED,
    waiting: Flags | None = None,
) -> Index:
    """Relaxes depth[v] to depth[u] + 1 over all out-edges, from the own nodes `given` on, until nothing changes.

    `depth`, by local index, is changed in place; `UNREACHED` is what no path leads to. All edges but those of `given`
    have to be relaxed already. Returns the own nodes and ghosts that have changed, by ascending depth. With the
    in-edges, levels with many edges are done from their far side, where most of them need not be looked at.

    Own nodes beyond `limit` are not gone on from: they are marked in `waiting`, to be given another time.
    """
    width = out.width if into is None else _width(out, into)
    reached = np.empty(width + 1, np.int32)
    given = np.asarray(given, np.int32)
    given_depth = depth[given]
    order = np.argsort(given_depth, kind="stable")
    in_indptr, in_neighbours = (None, None) if into is None else (into.indptr, into.neighbours)
    rows = out.indptr, out.neighbours, in_indptr, in_neighbours
    waits = np.zeros(out.rows, np.bool_) if waiting is None else waiting
    count = _native.breadth_first(*rows, depth, given[order], given_depth[order], reached, waits, width, limit)
    return reached[:count].copy()


def shortest_paths(
    out: Kernel,
    weights: NDArray[np.float64],
    distance: NDArray[np.float64],
    given: Array,
    limit: float = np.inf,
    waiting: Flags | None = None,
) -> Index:
    """Relaxes distance[v] to distance[u] + weight over all out-edges, from the own nodes `given` on, to the end.

    `distance`, by local index, is changed in place; infinity is what no path leads to. `weights` stand in the order of
    the rows. Returns the own nodes and ghosts that have changed. Raises ValueError when it comes upon a weight that is
    negative or not a number; some distances have been changed by then. `limit` and `waiting` as above.
    """
    changed = np.empty(out.width, np.int32)
    given = np.asarray(given, np.int32)
    waits = np.zeros(out.rows, np.bool_) if waiting is None else waiting
    rows = out.indptr, out.neighbours
    count = _native.shortest_paths(*rows, weights, distance, given, changed, waits, out.width, limit)
    return changed[:count].copy()


def _width(out: Kernel, into: Kernel) -> int:
    if (out.rows, out.width) != (into.rows, into.width):
        raise ValueError("the rows of both directions have to be the same nodes")
    return out.width

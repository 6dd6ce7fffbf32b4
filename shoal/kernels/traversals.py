"""Searches that a shard completes on its own part at once, instead of one edge per tick.

A tick is then needed for each crossing between shards, not for each edge: a shard first merges components and follows
paths to their end, and leaves only what reaches a ghost to its owner. The final result is a minimum over paths, which
does not depend on the cut.

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
"""The depth of an unreachable node."""


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

    `depth`, by local index, is changed in place; unreachable nodes have `UNREACHED`. All edges except those of `given`
    must be relaxed already. Returns the own nodes and ghosts that have changed, by ascending depth. With the in-edges,
    levels with many edges are processed from their far side, where most edges can be skipped.

    The search does not continue from own nodes beyond `limit`, but marks them in `waiting`, for a later call.
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

    `distance`, by local index, is changed in place; unreachable nodes have infinity. `weights` are in the order of the
    rows. Returns the own nodes and ghosts that have changed. Raises ValueError for a weight that is negative or not a
    number; some distances may have changed by then. `limit` and `waiting` as above.
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

"""Edges of one direction, for a step along those of some nodes: one by one if they are few, else all at once, compiled.

The choice changes no result.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Adjacency
from shoal.kernels.reductions import Kernel
from shoal.program.ragged import spread

Array = NDArray[Any]
DENSE = 8
"""A compiled step over all edges pays if more than one in this many edges is needed."""


class Side:
    """The edges of one direction, for some rows or only those that cross; `back` has them by their other ends."""

    def __init__(self, edges: Adjacency, back: Kernel) -> None:
        self._indptr, self._neighbours, self._back = edges.indptr.astype(np.int64), edges.neighbours, back
        self._size = len(self._indptr) - 1

    def others(self) -> NDArray[np.int64]:
        """Returns how many edges each row has, without loops."""
        rows = np.repeat(np.arange(self._size, dtype=np.int32), np.diff(self._indptr))
        loops = rows[rows == self._neighbours]
        return np.diff(self._indptr) - np.bincount(loops, minlength=self._size)

    def are_many(self, rows: Array) -> bool:
        """Returns whether these rows have so many edges that a step along all edges is cheaper."""
        edges = int((self._indptr[rows + 1] - self._indptr[rows]).sum())
        return edges * DENSE > len(self._neighbours)

    def neighbours(self, rows: Array) -> tuple[Array, Array]:
        """Returns the other ends of these rows' edges, and the row of each."""
        lengths = self._indptr[rows + 1] - self._indptr[rows]
        return self._neighbours[spread(self._indptr[rows], lengths)], np.repeat(rows, lengths)

    def leave(self, ws: Workspace, rows: Array, counts: NDArray[np.int64]) -> tuple[Array, Array]:
        """Subtracts these rows' edges from the `counts` of own nodes at their other ends.

        Returns own nodes that have none left (all at the ends of these edges, and perhaps others), and ghosts, once per
        edge.
        """
        if not self.are_many(rows):
            ends, _ = self.neighbours(rows)
            own = ends[ends < self._size]
            np.subtract.at(counts, own, 1)
            return own[counts[own] <= 0], ends[ends >= self._size]
        leaving = np.zeros(self._back.width, np.bool_)
        leaving[rows] = True
        counts -= self._back.count(leaving, ws.pool, ws.threads)
        return np.flatnonzero(counts <= 0), self.crossing(rows)[1]

    def crossing(self, rows: Array) -> tuple[Array, Array]:
        """Returns the rows and the ghosts of those of these rows' edges that lead to ghosts."""
        if not self.are_many(rows):
            ends, begins = self.neighbours(rows)
            away = ends >= self._size
            return begins[away], ends[away]
        wanted = np.zeros(self._size, np.bool_)
        wanted[rows] = True
        begins, ghosts = self._all_crossing
        along = wanted[begins]
        return begins[along], ghosts[along]

    @cached_property
    def _all_crossing(self) -> tuple[Array, Array]:
        away = self._neighbours >= self._size
        return np.repeat(np.arange(self._size, dtype=np.int32), np.diff(self._indptr))[away], self._neighbours[away]

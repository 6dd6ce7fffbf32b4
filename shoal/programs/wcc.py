"""Weakly connected components: merge inside the shard first, then across the cut.

Plain label propagation needs as many ticks as the graph's diameter. Here each shard finds the components of its own
piece once (own nodes and ghosts, by union-find in scipy), and from then on a whole local component takes the least
label seen anywhere on it; so the ticks needed follow the number of crossings, and one shard is done in its first.

What the labels are in between so depends on where the graph is cut; what they are in the end does not, even if the cut
changes on the way. Labels are ordinals of nodes of the same component and never rise, so the component's first node
keeps its own. And a tick changes nothing, under whatever cut it was done, only if no edge joins two labels: every edge
has an own end at some shard, which would have taken the lesser. A run that goes on elsewhere therefore only takes the
last tick's count of changes along: if it was zero, the labels were right already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from shoal.declarations import Aggregate, Column, Merge
from shoal.part import Direction, Part
from shoal.program import Program
from shoal.workspace import Workspace


class ConnectedComponents(Program):
    """Find weakly connected components: nodes are together if a path joins them, whatever its edges' directions.

    Column `component` is the ordinal (position in id order, from 0) of the component's first node. Ends by itself.
    """

    name = "wcc"
    columns = (Column("component", np.int64, ghosts=Direction.BOTH),)
    aggregates = (Aggregate("changed", Merge.SUM, np.int64),)

    def prepare(self, ws: Workspace) -> None:
        self._piece = _local_components(ws.part)
        self._order = np.argsort(self._piece, kind="stable")
        self._starts = np.searchsorted(self._piece[self._order], np.arange(self._piece.max(initial=-1) + 1))

    def start(self, ws: Workspace) -> None:
        ws.set("component", self._least(ws.part.all_ordinals())[: ws.part.size])

    def advance(self, ws: Workspace) -> None:
        component = self._least(ws.with_ghosts("component"))[: ws.part.size]
        ws.contribute("changed", (component != ws.column("component")).astype(np.int64))
        ws.set("component", component)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("changed")) == 0

    def _least(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """For every own node and ghost, the least label in its local component."""
        if not len(labels):
            return labels
        return np.minimum.reduceat(labels[self._order], self._starts)[self._piece]


def _local_components(part: Part) -> NDArray[np.int32]:
    """The local component of every own node and ghost. Every edge held has an own end, so two directions suffice."""
    width = part.size + part.ghost_count
    pieces = []
    for adjacency in (part.in_edges, part.out_edges):
        rows = np.full(width + 1, len(adjacency.neighbours), dtype=adjacency.indptr.dtype)
        rows[: part.size + 1] = adjacency.indptr
        ones = np.ones(len(adjacency.neighbours), dtype=np.int8)
        pieces.append(csr_array((ones, adjacency.neighbours, rows), shape=(width, width)))
    _, labels = connected_components(pieces[0] + pieces[1], directed=False)
    return labels.astype(np.int32, copy=False)

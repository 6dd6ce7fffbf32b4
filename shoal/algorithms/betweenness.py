"""Betweenness: the number of shortest paths through each node (Brandes, "A Faster Algorithm for Betweenness
Centrality", Journal of Mathematical Sociology 2001).

Sources are processed one after the other. On the way out, level by level, it counts the shortest paths to each node; on
the way back each node gets its share of the paths that continue through it. Each level is a tick; it reads what the
preceding level wrote, only along edges of the nodes that it touches, so all levels of a source together cost as much as
the edges. Sources are all nodes, or a sample of them (Brandes and Pich, "Centrality Estimation in Large Networks",
2007).

Sums follow a node's edges in canonical order, with zeros for nodes of other levels, so the bits are the same on any
cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Adjacency, Direction
from shoal.kernels.grouping import Grouping, distinct
from shoal.kernels.reductions import Kernel
from shoal.program.declarations import Aggregate, Column, Merge
from shoal.program.params import Param
from shoal.program.program import Program
from shoal.program.ragged import spread
from shoal.program.randomness import bits

Array = NDArray[Any]
OUTWARDS, BACK, DONE = 0, 1, 2
KEPT = ("betweenness", "depth", "paths", "dependency")


class Betweenness(Program):
    """Sums the shares of shortest paths between other nodes that lead through each node: column `betweenness`.

    Paths follow edges from source to target and count edges, not weights; parallel edges make distinct paths. With
    `samples`, only that many sources are used, and the sums are scaled by nodes / samples. `normalized` divides by (n -
    1) * (n - 2); otherwise each pair of an undirected graph counts once. Takes twice the depth of the graph in ticks
    for each source.
    """

    name = "betweenness"
    columns = (
        Column("betweenness", np.float64),
        Column("depth", np.int64, hidden=True),
        Column("paths", np.float64, hidden=True),
        Column("dependency", np.float64, hidden=True),
        Column("front", np.float64, ghosts=Direction.IN, hidden=True),
        Column("behind", np.float64, ghosts=Direction.OUT, hidden=True),
    )
    aggregates = (
        Aggregate("found", Merge.SUM, np.int64),
        Aggregate("way", Merge.MAX, np.int64),
        Aggregate("level", Merge.MAX, np.int64),
        Aggregate("source", Merge.MAX, np.int64, shown=True),
    )
    anytime = False

    samples = Param(0, "from how many sources; 0: from all nodes", least=0)
    seed = Param(0, "for which ones")
    normalized = Param(True, "whether to divide by the number of pairs")

    def prepare(self, ws: Workspace) -> None:
        part = ws.part
        self._into = _Rows(part.in_edges, part.size + part.ghost_count)
        self._out = _Rows(part.out_edges, part.size + part.ghost_count)
        self._sources = sources(part.node_count, self.samples, self.seed)

    def start(self, ws: Workspace) -> None:
        size = ws.part.size
        self._score, self._depth = np.zeros(size), np.full(size, -1)
        self._paths, self._dependency = np.zeros(size), np.zeros(size)
        ws.set("front", 0.0)
        ws.set("behind", 0.0)
        self._set_out(ws, 0)

    def resume(self, ws: Workspace) -> None:
        kept = (ws.pending(name).copy() for name in KEPT)
        self._score, self._depth, self._paths, self._dependency = kept

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        return dict(zip(KEPT, (self._score, self._depth, self._paths, self._dependency), strict=True))

    def advance(self, ws: Workspace) -> None:
        way, level, source = (int(ws.total(name)) for name in ("way", "level", "source"))
        if way == OUTWARDS and ws.total("found"):
            self._go_out(ws, level + 1, source)
        elif way == OUTWARDS:
            self._turn(ws, level - 1, source)
        elif level > 1:
            self._go_back(ws, level - 1, source)
        else:
            self._settle(ws, source)

    def halted(self, ws: Workspace) -> bool:
        return not ws.part.node_count or int(ws.total("way")) == DONE

    # -- one tick each ---------------------------------------------------------------------------------------------

    def _set_out(self, ws: Workspace, source: int) -> None:
        """Begins with a source: it is on level 0, and one path leads to it."""
        self._depth[:] = -1
        self._dependency[:] = 0.0
        if not self._sources:
            return self._say(ws, 0, DONE, 0, 0)
        (node,) = ws.part.local_of(np.array([self._sources[source]])).tolist()
        front = ws.fresh("front")
        front[:] = 0.0
        if node >= 0:
            self._depth[node], self._paths[node], front[node] = 0, 1.0, 1.0
        return self._say(ws, int(node >= 0), OUTWARDS, 0, source)

    def _go_out(self, ws: Workspace, level: int, source: int) -> None:
        """Returns the nodes that edges from the previous level reach for the first time."""
        before = ws.with_ghosts("front")
        nodes = self._into.touched(before)
        nodes = nodes[self._depth[nodes] < 0]
        paths = self._into.sums(nodes, before)
        front = ws.fresh("front")
        front[:] = 0.0
        self._depth[nodes], self._paths[nodes], front[nodes] = level, paths, paths
        self._say(ws, len(nodes), OUTWARDS, level, source)

    def _turn(self, ws: Workspace, level: int, source: int) -> None:
        """Turns back at the last level, after which there are no more nodes."""
        ws.set("front", 0.0)
        self._hand_back(ws, np.flatnonzero(self._depth == level), level, source)

    def _go_back(self, ws: Workspace, level: int, source: int) -> None:
        nodes = np.flatnonzero(self._depth == level)
        self._dependency[nodes] = self._paths[nodes] * self._out.sums(nodes, ws.with_ghosts("behind"))
        self._hand_back(ws, nodes, level, source)

    def _hand_back(self, ws: Workspace, nodes: Array, level: int, source: int) -> None:
        behind = ws.fresh("behind")
        behind[:] = 0.0
        behind[nodes] = (1.0 + self._dependency[nodes]) / self._paths[nodes]
        self._say(ws, 0, BACK, level, source)

    def _settle(self, ws: Workspace, source: int) -> None:
        """Adds the source's contribution, and begins with the next source, or scales the sums after the last."""
        reached = self._depth > 0
        self._score[reached] += self._dependency[reached]
        ws.set("behind", 0.0)
        if source + 1 < len(self._sources):
            self._set_out(ws, source + 1)
            return
        self._score *= self._scale(ws.part.node_count, ws.part.directed)
        self._say(ws, 0, DONE, 0, source)

    def _scale(self, nodes: int, directed: bool) -> float:
        scale = nodes / len(self._sources)
        if self.normalized:
            return scale / ((nodes - 1) * (nodes - 2)) if nodes > 2 else scale
        return scale if directed else scale / 2.0

    def _say(self, ws: Workspace, found: int, way: int, level: int, source: int) -> None:
        if not ws.part.size:
            return
        for name, number in (("found", found), ("way", way), ("level", level), ("source", source)):
            ws.contribute(name, np.array([number]), nodes=np.zeros(1, np.int64))


class _Rows:
    """The edges of one direction, read only for some rows."""

    def __init__(self, edges: Adjacency, width: int) -> None:
        self._indptr, self._neighbours, self._width = edges.indptr.astype(np.int64), edges.neighbours, width
        self._back: tuple[Array, Array] | None = None

    def sums(self, rows: Array, values: Array) -> Array:
        """Returns the sum of the values of each row's neighbours, in their order."""
        lengths = self._indptr[rows + 1] - self._indptr[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        neighbours = self._neighbours[spread(self._indptr[rows], lengths)]
        return Kernel(indptr, neighbours, self._width).sum(values)

    def touched(self, values: Array) -> NDArray[np.int64]:
        """Returns the rows, ascending, that have a neighbour with a nonzero value."""
        if self._back is None:
            self._back = self._turned()
        indptr, rows = self._back
        some = np.flatnonzero(values)
        found = rows[spread(indptr[some], indptr[some + 1] - indptr[some])]
        return distinct(found, below=len(self._indptr) - 1).astype(np.int64)

    def _turned(self) -> tuple[Array, Array]:
        """Returns, for every local index, the rows that contain it."""
        by_neighbour = Grouping(self._neighbours, self._width)
        owner: NDArray[np.int32] = np.repeat(np.arange(len(self._indptr) - 1, dtype=np.int32), np.diff(self._indptr))
        return by_neighbour.starts, by_neighbour.deal(owner)


def sources(nodes: int, samples: int, seed: int) -> list[int]:
    """Returns the ordinals of the sources: all nodes, or a sample drawn without replacement.

    >>> sources(5, 0, 0), sources(1000, 3, 7) == sources(1000, 3, 7), len(set(sources(50, 49, 1)))
    ([0, 1, 2, 3, 4], True, 49)
    """
    if not 0 < samples < nodes:
        return list(range(nodes))
    drawn: dict[int, None] = {}
    draw = 0
    while len(drawn) < samples:
        for number in (bits(seed, draw, np.arange(samples)) % np.uint64(nodes)).tolist():
            if len(drawn) < samples:
                drawn.setdefault(number)
        draw += 1
    return list(drawn)

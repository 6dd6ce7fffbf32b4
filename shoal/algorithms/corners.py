"""The common part of `lcc` and `triangles`: finds every triangle once, and credits its three corners.

Each neighbour counts once, whatever the direction and number of edges, and the node itself does not count. Of two
neighbours the one with fewer neighbours keeps the other (ties by ordinal), so hubs keep few (Latapy 2008;
`shoal.kernels.triangles`)::

    start    count own neighbours                              degrees go to the ghosts' holders
    tick 1   keep the upper half of the own neighbours         these sets go there, one per peer and node
    tick 2   find triangles from their lowest corner           credits of ghosts go to their owners
    tick 3   add the credits that arrived

All results are counts, so nothing depends on the order of the work or on the cut. Memory holds only the edges and a
copy of the ghosts' sets, never pairs of neighbours.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import ShoalError
from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.kernels.reductions import Kernel
from shoal.kernels.triangles import Sets, corner_arcs, neighbour_sets
from shoal.program.declarations import Channel, Column, Lists, Merge
from shoal.program.phase import Phase
from shoal.program.program import Program
from shoal.program.ragged import Ragged

Array = NDArray[Any]
NODES_MAX = 1 << 30
"""So that an ordinal and one additional bit fit 32 bits."""
LAST_TICK = 3

DEGREE = Column("degree", np.int64, ghosts=Direction.BOTH, hidden=True)


class Corners(Program):
    """The base of both. A subclass has the columns `DEGREE` and `credit`, and defines what happens to the credits."""

    lists = (Lists("upper", np.int32, ghosts=Direction.BOTH),)
    channels = (Channel("due", np.int64, combine=Merge.SUM, sent_in=Phase.ADVANCE),)
    anytime = False
    directions: ClassVar[bool]
    """Whether a pair of neighbours joined in both directions counts twice."""
    credit: ClassVar[str]
    """The column with the credits."""

    def prepare(self, ws: Workspace) -> None:
        if ws.part.node_count > NODES_MAX:
            raise ShoalError(f"'{self.name}' supports graphs of up to {NODES_MAX} nodes")
        self._sets: Sets | None = None
        self._upper: Sets | None = None

    def start(self, ws: Workspace) -> None:
        self._sets = _sets_of(ws.part)
        ws.set("degree", self._sets.lengths)

    def advance(self, ws: Workspace) -> None:
        if ws.tick == 1:
            self._upper = self._oriented(ws)
            ws.set_rows("upper", _as_ordinals(ws.part, self._upper))
        elif ws.tick == 2:
            self._count(ws)
        elif ws.tick == LAST_TICK:
            nodes, dues = ws.arrived("due")
            credits = ws.column(self.credit).copy()
            credits[nodes] += dues
            self.settle(ws, credits)

    @abstractmethod
    def settle(self, ws: Workspace, credits: NDArray[np.int64]) -> None:
        """Sets the columns of the last tick, given the arcs (or edges) between each own node's neighbours."""

    def found(self, ws: Workspace, credits: NDArray[np.int64]) -> None:
        """Handles what was found here, by local index, including ghosts: three credits or more per triangle."""

    def halted(self, ws: Workspace) -> bool:
        return ws.tick >= LAST_TICK

    def _count(self, ws: Workspace) -> None:
        part = ws.part
        own = self._upper or self._oriented(ws)
        self._sets = self._upper = None
        if not self.directions:
            own.arcs[:] = 1
        ghosts = _as_local(part, ws.rows("upper").stretch(part.size, part.size + part.ghost_count), self.directions)
        credits = corner_arcs(_joined(own, ghosts), part.size, ws.pool, ws.threads)
        if self.directions and not part.directed:
            credits *= 2  # an edge has an arc each way, of which only one was examined
        ws.set(self.credit, credits[: part.size])
        due = part.size + np.flatnonzero(credits[part.size :])
        ws.post("due", np.zeros(len(due), np.int64), due, credits[due])
        self.found(ws, credits)

    def _oriented(self, ws: Workspace) -> Sets:
        sets = self._sets or _sets_of(ws.part)
        self._sets = None
        return sets.oriented(np.ascontiguousarray(ws.with_ghosts("degree")), ws.part.all_ordinals())


def _sets_of(part: ShardGraph) -> Sets:
    """Returns the own nodes' neighbours. In an undirected graph the out-edges lead to all of them."""
    if part.directed:
        return neighbour_sets(part.out_kernel, part.in_kernel)
    none = Kernel(np.zeros(part.size + 1, np.int32), np.empty(0, np.int32), part.size + part.ghost_count)
    return neighbour_sets(part.out_kernel, none)


def _as_ordinals(part: ShardGraph, sets: Sets) -> Ragged:
    """Returns sets as they are sent: twice the ordinal of each member, plus one if edges lead both ways."""
    values = part.all_ordinals().astype(np.int32)[sets.members]
    values <<= 1
    values |= sets.arcs == 2
    return Ragged(sets.starts, values)


def _as_local(part: ShardGraph, rows: Ragged, directions: bool) -> Sets:
    """Returns the same by local index, without members that are not here: these are not neighbours of own nodes."""
    place = np.full(part.node_count, -1, np.int32)
    place[part.all_ordinals()] = np.arange(part.size + part.ghost_count, dtype=np.int32)
    members = place[rows.values >> 1]
    here = members >= 0
    ends = np.concatenate([[0], np.cumsum(here)])[rows.indptr]
    arcs = (rows.values & 1 if directions else np.zeros_like(rows.values)) + 1
    return Sets(ends.astype(np.int64), members[here], arcs[here].astype(np.uint8))


def _joined(own: Sets, ghosts: Sets) -> Sets:
    if not len(ghosts):
        return own
    starts = np.concatenate([own.starts, own.starts[-1] + ghosts.starts[1:]])
    return Sets(starts, np.concatenate([own.members, ghosts.members]), np.concatenate([own.arcs, ghosts.arcs]))

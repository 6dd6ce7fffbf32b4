"""What searches from one node have in common: `bfs` counts edges, `sssp` adds weights.

Within a shard a search goes on to its end at once, compiled; what reaches a ghost is sent to its owner, one number a
ghost that got nearer and tick. So a run takes as many ticks as the paths cross shards, one on a single shard, and
nothing is sent that has not changed. It ends after the tick in which nobody sent anything.

Why the bits do not depend on the cut: a node's value is the least over all paths from the source of what its edges add
up to, from the source on. Adding a weight that is not negative keeps the order of two numbers, rounding included (IEEE
754, round to nearest is monotone), so relaxing edges in any order, here or a tick later, comes down to that same least
number, and never below it. Between ticks, though, it depends on the cut how far a search has come; such a state means
something together with what is under way alone, and a run that goes on elsewhere takes both along.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shoal.declarations import Aggregate, Channel, Column, Merge
from shoal.naming import own_node
from shoal.params import Param
from shoal.phase import Phase
from shoal.program import Program
from shoal.workspace import Workspace

Array = NDArray[Any]


class LeastPaths(Program):
    """The base of both. A subclass has one column, whose `null` stands for no path, and a channel of the same type."""

    aggregates = (Aggregate("sent", Merge.SUM, np.int64), Aggregate("reached", Merge.SUM, np.int64, shown=True))
    anytime = False
    value: ClassVar[Column]

    source: Param[str | None] = Param(None, "id of the node from which paths are sought", kind=str)

    @abstractmethod
    def relax(self, ws: Workspace, values: Array, given: Array) -> NDArray[np.int32]:
        """Relax all edges from the own nodes `given` on, in place; the own nodes and ghosts that got nearer."""

    def start(self, ws: Workspace) -> None:
        source = own_node(ws.part, "source", self.source)
        self._begin(ws)
        given = np.empty(0, np.int64) if source is None else np.array([source])
        self._values[given] = 0
        self._go_on(ws, given)

    def resume(self, ws: Workspace) -> None:
        self._begin(ws)
        self._values[: ws.part.size] = ws.pending(self.value.name)

    def advance(self, ws: Workspace) -> None:
        nodes, values = ws.arrived("nearer")
        nearer = values < self._values[nodes]
        given = nodes[nearer]
        self._values[given] = values[nearer]
        self._go_on(ws, given)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("sent")) == 0

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        return {self.value.name: self._values[: ws.part.size]}

    def _begin(self, ws: Workspace) -> None:
        self._values = np.full(ws.part.size + ws.part.ghost_count, self.value.null, self.value.dtype)

    def _go_on(self, ws: Workspace, given: Array) -> None:
        part = ws.part
        changed = self.relax(ws, self._values, given) if len(given) else np.empty(0, np.int32)
        ghosts = changed[changed >= part.size]
        ws.post("nearer", np.zeros(len(ghosts), np.int64), ghosts, self._values[ghosts])
        if part.size:
            reached = np.count_nonzero(self._values[: part.size] != self.value.null)
            for name, number in (("sent", len(ghosts)), ("reached", reached)):
                ws.contribute(name, np.array([number]), nodes=np.zeros(1, np.int64))


def nearer(dtype: type[np.int64] | type[np.float64]) -> tuple[Channel, ...]:
    """The channel on which values go to the owners of ghosts."""
    return (Channel("nearer", dtype, combine=Merge.MIN, sent_in=Phase.ADVANCE),)

"""The common part of searches from one node: `bfs` counts edges, `sssp` adds weights.

Within a shard a search runs to its end, compiled; values that reach a ghost are sent to its owner, one number per ghost
and tick. So a run takes as many ticks as paths cross shards, one on a single shard, and sends only changes. It ends
after the tick in which no shard has work left.

On several shards a search may reach nodes by a long path first, and continuing from them would be wasted. So in one
tick no shard goes further than a *stride* beyond the nearest node left over after the last tick on any shard; nodes
beyond wait (Meyer and Sanders, "Delta-stepping: A Parallelizable Shortest Path Algorithm", J. Algorithms 2003).

The bits do not depend on the cut, because a node's value is the minimum, over all paths from the source, of the weights
added from the source on. Adding a weight that is not negative preserves the order of two numbers, rounding included
(IEEE 754, round to nearest is monotone). So relaxing edges in any order, here or a tick later, reaches that same
minimum, and never less. Between ticks, however, the progress of a search depends on the cut; a state is meaningful only
together with the data in transit, and a run that resumes elsewhere takes both along.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.program.declarations import Aggregate, Channel, Column, Merge
from shoal.program.naming import own_node
from shoal.program.params import Param
from shoal.program.phase import Phase
from shoal.program.program import Program

Array = NDArray[Any]
Flags = NDArray[np.bool_]


class LeastPaths(Program):
    """The base of both. A subclass has one column, whose `null` means no path, and a channel of the same type."""

    anytime = False
    value: ClassVar[Column]

    source: Param[str | None] = Param(None, "id of the node from which paths are sought", kind=str)

    @abstractmethod
    def stride(self, ws: Workspace) -> float:
        """Returns how far to go in one tick."""

    @abstractmethod
    def relax(self, ws: Workspace, values: Array, given: Array, horizon: float, waiting: Flags) -> NDArray[np.int32]:
        """Relaxes all edges from the own nodes `given` on, in place; returns the own nodes and ghosts that got nearer.

        Does not continue from nodes beyond the horizon, but marks them as waiting; the others no longer wait.
        """

    def start(self, ws: Workspace) -> None:
        source = own_node(ws.part, "source", self.source)
        self._begin(ws)
        if source is not None:
            self._values[source], self._waiting[source] = 0, True
        self._go_on(ws, 0)

    def resume(self, ws: Workspace) -> None:
        """Makes every node wait again, because waiting nodes are not saved."""
        self._begin(ws)
        size = ws.part.size
        self._values[:size] = ws.pending(self.value.name)
        self._waiting[:size] = self._values[:size] != self.value.null

    def advance(self, ws: Workspace) -> None:
        nodes, values = ws.arrived("nearer")
        nearer = values < self._values[nodes]
        nodes = nodes[nearer]
        self._values[nodes], self._waiting[nodes] = values[nearer], True
        self._go_on(ws, ws.total("nearest").item())

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("open")) == 0

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        return {self.value.name: self._values[: ws.part.size]}

    def _begin(self, ws: Workspace) -> None:
        width = ws.part.size + ws.part.ghost_count
        self._values = np.full(width, self.value.null, self.value.dtype)
        self._waiting = np.zeros(width, np.bool_)  # a ghost whose owner has not been told
        self._stride = self.stride(ws) if ws.part.peers else math.inf

    def _go_on(self, ws: Workspace, nearest: float) -> None:
        part, values, waiting = ws.part, self._values, self._waiting
        horizon = nearest + self._stride
        given = np.flatnonzero(waiting[: part.size])
        given = given[values[given] <= horizon]
        changed = self.relax(ws, values, given, horizon, waiting[: part.size])
        waiting[changed[changed >= part.size]] = True
        ghosts = part.size + np.flatnonzero(waiting[part.size :])
        ghosts = ghosts[values[ghosts] <= horizon + self._stride]  # an estimate of the next tick's horizon
        waiting[ghosts] = False
        ws.post("nearer", np.zeros(len(ghosts), np.int64), ghosts, values[ghosts])
        if part.size:
            self._report(ws, ghosts)

    def _report(self, ws: Workspace, sent: Array) -> None:
        left = np.concatenate([np.flatnonzero(self._waiting), sent])
        nearest = self._values[left].min(initial=self.value.null)
        reached = np.count_nonzero(self._values[: ws.part.size] != self.value.null)
        for name, number in (("open", len(left)), ("nearest", nearest), ("reached", reached)):
            ws.contribute(name, np.array([number]), nodes=np.zeros(1, np.int64))


def aggregates(dtype: type[np.int64] | type[np.float64]) -> tuple[Aggregate, ...]:
    """Returns how many nodes wait or are in transit, how near the nearest is, and how many have been reached."""
    return (
        Aggregate("open", Merge.SUM, np.int64),
        Aggregate("nearest", Merge.MIN, dtype),
        Aggregate("reached", Merge.SUM, np.int64, shown=True),
    )


def nearer(dtype: type[np.int64] | type[np.float64]) -> tuple[Channel, ...]:
    """Returns the channel that sends values to the owners of ghosts."""
    return (Channel("nearer", dtype, combine=Merge.MIN, sent_in=Phase.ADVANCE),)

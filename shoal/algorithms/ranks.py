"""The common part of `pagerank` and `ppr`: power iteration of walks along edges that sometimes restart.

They differ in where walks restart: anywhere, or at chosen nodes. A tick is one compiled pass over the in-edges, which
gathers ranks, damps them, and divides them among the out-edges. The rank of nodes without out-edges is an aggregate,
which goes to the restart nodes in the next tick.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Direction
from shoal.program.declarations import Aggregate, Column, Merge
from shoal.program.params import Param
from shoal.program.program import Program

Starts: TypeAlias = NDArray[np.intp] | None
"""Own nodes (local indices) where walks restart; None means all."""


class Ranks(Program):
    """The base of both. A subclass declares `damping`, and defines where walks restart and what that gives a node."""

    columns = (
        Column("rank", np.float64),
        Column("share", np.float64, ghosts=Direction.IN, hidden=True),
    )
    aggregates = (Aggregate("dangling", Merge.SUM), Aggregate("change", Merge.SUM))
    ticks_default = 100

    damping: Param[float]
    tol: Param[float | None] = Param(None, "end once the ranks change by less than this in sum", kind=float, least=0.0)

    @abstractmethod
    def where(self, ws: Workspace) -> tuple[Starts, int]:
        """Returns the rows where walks restart, and their number in the whole graph. Raises `BadParameter`."""

    @abstractmethod
    def each(self, dangling: float, count: int) -> float:
        """Returns each restart node's share of the walks that restart, including those that have ended."""

    def prepare(self, ws: Workspace) -> None:
        degree = ws.part.out_degree
        self._dangling = np.flatnonzero(degree == 0)
        self._per_edge = np.divide(1.0, degree, out=np.zeros(len(degree)), where=degree > 0)
        self._starts, self._count = self.where(ws)

    def start(self, ws: Workspace) -> None:
        rank = ws.fresh("rank")
        rank[:] = 0.0
        rank[slice(None) if self._starts is None else self._starts] = 1.0 / self._count
        np.multiply(rank, self._per_edge, out=ws.fresh("share"))
        self._tell(ws)

    def advance(self, ws: Workspace) -> None:
        each = self.each(float(ws.total("dangling")), self._count)
        rank, share = ws.fresh("rank"), ws.fresh("share")
        base = each if self._starts is None else 0.0
        ws.part.in_kernel.rank_step(
            ws.with_ghosts("share"), self._per_edge, rank, share, self.damping, base, ws.pool, ws.threads
        )
        if self._starts is not None:
            rank[self._starts] += each
            share[self._starts] = rank[self._starts] * self._per_edge[self._starts]
        self._tell(ws)
        if self.tol is not None:
            ws.contribute("change", np.abs(rank - ws.column("rank")))

    def halted(self, ws: Workspace) -> bool:
        return self.tol is not None and ws.tick > 0 and float(ws.total("change")) < self.tol

    def _tell(self, ws: Workspace) -> None:
        ws.contribute("dangling", ws.pending("rank")[self._dangling], nodes=self._dangling)

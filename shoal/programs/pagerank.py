"""PageRank by power iteration (Brin and Page 1998, section 2.1.1), dangling mass spread evenly over all nodes."""

from __future__ import annotations

import numpy as np

from shoal.execution.declarations import Aggregate, Column, Merge
from shoal.execution.params import Param
from shoal.execution.program import Program
from shoal.execution.workspace import Workspace
from shoal.graph.part import Direction


class PageRank(Program):
    """Rank nodes by the chance that a random walk, which now and then jumps anywhere, is found there.

    After k ticks, column `rank` holds the k-th power iterate from 1/n; parallel edges count each. All ticks asked for
    are run, unless `tol` is given: then the run ends after the first tick that changes the ranks by less in sum.
    """

    name = "pagerank"
    columns = (
        Column("rank", np.float64),
        Column("share", np.float64, ghosts=Direction.IN, hidden=True),
    )
    aggregates = (Aggregate("dangling", Merge.SUM), Aggregate("change", Merge.SUM))

    ticks_default = 100

    damping = Param(0.85, "chance to follow an edge rather than jump anywhere", least=0.0, most=1.0)
    tol: Param[float | None] = Param(None, "end once the ranks change by less than this in sum", kind=float, least=0.0)

    def prepare(self, ws: Workspace) -> None:
        degree = ws.part.out_degree
        self._dangling = np.flatnonzero(degree == 0)
        self._per_edge = np.divide(1.0, degree, out=np.zeros(len(degree)), where=degree > 0)
        self._nodes = max(ws.part.node_count, 1)  # of an empty graph nothing is divided

    def start(self, ws: Workspace) -> None:
        ws.set("rank", 1.0 / self._nodes)
        np.multiply(ws.pending("rank"), self._per_edge, out=ws.fresh("share"))
        self._tell(ws)

    def advance(self, ws: Workspace) -> None:
        nodes = self._nodes
        base = (1.0 - self.damping) / nodes + self.damping * float(ws.total("dangling")) / nodes
        rank, share = ws.fresh("rank"), ws.fresh("share")
        ws.part.in_kernel.rank_step(
            ws.with_ghosts("share"), self._per_edge, rank, share, self.damping, base, ws.pool, ws.threads
        )
        self._tell(ws)
        if self.tol is not None:
            ws.contribute("change", np.abs(rank - ws.column("rank")))

    def halted(self, ws: Workspace) -> bool:
        return self.tol is not None and ws.tick > 0 and float(ws.total("change")) < self.tol

    def _tell(self, ws: Workspace) -> None:
        ws.contribute("dangling", ws.pending("rank")[self._dangling], nodes=self._dangling)

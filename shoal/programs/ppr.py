"""Personalised PageRank: a walk that starts over at chosen nodes (Page, Brin, Motwani and Winograd 1999, section 6)."""

from __future__ import annotations

import numpy as np

from shoal.errors import BadParameter
from shoal.execution.declarations import Aggregate, Column, Merge
from shoal.execution.naming import own_node, own_nodes
from shoal.execution.params import Param
from shoal.execution.program import Program
from shoal.execution.workspace import Workspace
from shoal.graph.part import Direction


class PersonalisedPageRank(Program):
    """Rank nodes by the chance that a walk, which now and then starts over at a source, is found there.

    Column `rank` after k ticks is the k-th power iterate from an even spread over the sources; what a node without
    out-edges has goes back to the sources; parallel edges count each. Give `source`, one id as it is, or `sources`, ids
    with commas between. All ticks asked for are run, unless `tol` is given: then the run ends after the first tick
    that changes the ranks by less in sum.
    """

    name = "ppr"
    columns = (
        Column("rank", np.float64),
        Column("share", np.float64, ghosts=Direction.IN, hidden=True),
    )
    aggregates = (Aggregate("dangling", Merge.SUM), Aggregate("change", Merge.SUM))
    ticks_default = 100

    source: Param[str | None] = Param(None, "id of the node where walks start over", kind=str)
    sources: Param[str | None] = Param(None, "ids of several, with commas between", kind=str)
    damping = Param(0.85, "chance to follow an edge rather than start over", least=0.0, most=1.0)
    tol: Param[float | None] = Param(None, "end once the ranks change by less than this in sum", kind=float, least=0.0)

    def prepare(self, ws: Workspace) -> None:
        degree = ws.part.out_degree
        self._dangling = np.flatnonzero(degree == 0)
        self._per_edge = np.divide(1.0, degree, out=np.zeros(len(degree)), where=degree > 0)
        self._sources, self._count = self._chosen(ws)

    def start(self, ws: Workspace) -> None:
        ws.set("rank", 0.0)
        ws.fresh("rank")[self._sources] = 1.0 / self._count
        self._hand_out(ws)

    def advance(self, ws: Workspace) -> None:
        start_over = (1.0 - self.damping) + self.damping * float(ws.total("dangling"))
        rank = np.multiply(ws.gather("share"), self.damping, out=ws.fresh("rank"))
        rank[self._sources] += start_over / self._count
        self._hand_out(ws)
        if self.tol is not None:
            ws.contribute("change", np.abs(rank - ws.column("rank")))

    def halted(self, ws: Workspace) -> bool:
        return self.tol is not None and ws.tick > 0 and float(ws.total("change")) < self.tol

    def _hand_out(self, ws: Workspace) -> None:
        rank = ws.pending("rank")
        np.multiply(rank, self._per_edge, out=ws.fresh("share"))
        ws.contribute("dangling", rank[self._dangling], nodes=self._dangling)

    def _chosen(self, ws: Workspace) -> tuple[list[int], int]:
        if (self.source is None) == (self.sources is None):
            raise BadParameter("give either 'source', the id of one node, or 'sources', ids with commas between")
        if self.sources is not None:
            return own_nodes(ws.part, "sources", self.sources)
        node = own_node(ws.part, "source", self.source)
        return [] if node is None else [node], 1

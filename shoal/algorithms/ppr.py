"""Personalised PageRank: a walk that starts over at chosen nodes (Page, Brin, Motwani and Winograd 1999, section 6)."""

from __future__ import annotations

import numpy as np

from shoal.algorithms.ranks import Ranks, Starts
from shoal.api.errors import BadParameter
from shoal.engine.workspace import Workspace
from shoal.program.naming import own_node, own_nodes
from shoal.program.params import Param


class PersonalisedPageRank(Ranks):
    """Ranks nodes by the probability that a walk, which sometimes restarts at a source, is there.

    Column `rank` after k ticks is the k-th power iterate from an even spread over the sources; the rank of a node
    without out-edges goes back to the sources; parallel edges each count. Give `source`, one id, or `sources`, ids
    separated by commas. Runs all requested ticks, unless `tol` is given: then it ends after the first tick whose
    changes of ranks sum to less.
    """

    name = "ppr"

    source: Param[str | None] = Param(None, "id of the node where walks start over", kind=str)
    sources: Param[str | None] = Param(None, "ids of several, with commas between", kind=str)
    damping = Param(0.85, "chance to follow an edge rather than start over", least=0.0, most=1.0)

    def where(self, ws: Workspace) -> tuple[Starts, int]:
        if (self.source is None) == (self.sources is None):
            raise BadParameter("give either 'source', the id of one node, or 'sources', ids separated by commas")
        if self.sources is not None:
            nodes, count = own_nodes(ws.part, "sources", self.sources)
            return np.array(nodes, np.intp), count
        node = own_node(ws.part, "source", self.source)
        return np.array([] if node is None else [node], np.intp), 1

    def each(self, dangling: float, count: int) -> float:
        return ((1.0 - self.damping) + self.damping * dangling) / count

"""PageRank by power iteration (Brin and Page 1998, section 2.1.1), dangling mass spread evenly over all nodes."""

from __future__ import annotations

from shoal.algorithms.ranks import Ranks, Starts
from shoal.engine.workspace import Workspace
from shoal.program.params import Param


class PageRank(Ranks):
    """Ranks nodes by the probability that a random walk, which sometimes jumps to any node, is there.

    After k ticks, column `rank` holds the k-th power iterate from 1/n; parallel edges each count. Runs all requested
    ticks, unless `tol` is given: then it ends after the first tick whose changes of ranks sum to less.
    """

    name = "pagerank"

    damping = Param(0.85, "chance to follow an edge rather than jump anywhere", least=0.0, most=1.0)

    def where(self, ws: Workspace) -> tuple[Starts, int]:
        return None, max(ws.part.node_count, 1)  # avoids a division by zero for an empty graph

    def each(self, dangling: float, count: int) -> float:
        return (1.0 - self.damping) / count + self.damping * dangling / count

"""PageRank by power iteration (Brin and Page 1998, section 2.1.1), dangling mass spread evenly over all nodes."""

from __future__ import annotations

from shoal.algorithms.ranks import Ranks, Starts
from shoal.engine.workspace import Workspace
from shoal.program.params import Param


class PageRank(Ranks):
    """Rank nodes by the chance that a random walk, which now and then jumps anywhere, is found there.

    After k ticks, column `rank` holds the k-th power iterate from 1/n; parallel edges count each. All ticks asked for
    are run, unless `tol` is given: then the run ends after the first tick that changes the ranks by less in sum.
    """

    name = "pagerank"

    damping = Param(0.85, "chance to follow an edge rather than jump anywhere", least=0.0, most=1.0)

    def where(self, ws: Workspace) -> tuple[Starts, int]:
        return None, max(ws.part.node_count, 1)  # of an empty graph nothing is divided

    def each(self, dangling: float, count: int) -> float:
        return (1.0 - self.damping) / count + self.damping * dangling / count

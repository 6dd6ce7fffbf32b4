"""Breadth-first search from one node (LDBC Graphalytics specification 1.0, section 2.3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.paths import LeastPaths, aggregates, nearer
from shoal.engine.workspace import Workspace
from shoal.kernels.traversals import UNREACHED, breadth_first
from shoal.program.declarations import Column

LEVELS = 16
"""How many levels to go in a tick. Of 4, 8, 16 and 32 among the best on a thinned grid on four shards: less than half
of the work, and a tenth of the bytes, that it takes without a stride. Graphs that are less deep never notice.
"""


class BreadthFirst(LeastPaths):
    """Count the edges on the shortest way from a node to each: column `depth`, none where no way leads.

    Edges are followed from source to target, in an undirected graph both ways. Ends by itself.
    """

    name = "bfs"
    value = Column("depth", np.int64, null=UNREACHED)
    columns = (value,)
    aggregates = aggregates(np.int64)
    channels = nearer(np.int64)

    def stride(self, ws: Workspace) -> float:
        return LEVELS

    def relax(
        self, ws: Workspace, values: NDArray[Any], given: NDArray[Any], horizon: float, waiting: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        limit = int(min(horizon, UNREACHED - 1))
        return breadth_first(ws.part.out_kernel, ws.part.in_kernel, values, given, limit, waiting)

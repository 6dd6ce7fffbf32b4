"""Breadth-first search from one node (LDBC Graphalytics specification 1.0, section 2.3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.declarations import Column
from shoal.programs.paths import LeastPaths, nearer
from shoal.traversals import UNREACHED, breadth_first
from shoal.workspace import Workspace


class BreadthFirst(LeastPaths):
    """Count the edges on the shortest way from a node to each: column `depth`, none where no way leads.

    Edges are followed from source to target, in an undirected graph both ways. Ends by itself.
    """

    name = "bfs"
    value = Column("depth", np.int64, null=UNREACHED)
    columns = (value,)
    channels = nearer(np.int64)

    def relax(self, ws: Workspace, values: NDArray[Any], given: NDArray[Any]) -> NDArray[np.int32]:
        return breadth_first(ws.part.out_kernel, ws.part.in_kernel, values, given)

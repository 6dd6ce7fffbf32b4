"""The number of triangles at each node, and in total."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.corners import DEGREE, Corners
from shoal.engine.workspace import Workspace
from shoal.program.declarations import Aggregate, Column, Merge


class Triangles(Corners):
    """Counts the triangles at every node: column `triangles`; their total is a figure of the run.

    A triangle is three nodes joined to each other, whatever the direction and number of edges. Three ticks.
    """

    name = "triangles"
    columns = (Column("triangles", np.int64), DEGREE)
    aggregates = (Aggregate("triangles", Merge.SUM, np.int64, shown=True),)
    directions = False
    credit = "triangles"

    def found(self, ws: Workspace, credits: NDArray[np.int64]) -> None:
        self._say(ws, int(credits.sum()) // 3, here=ws.part.size > 0, node=0)

    def settle(self, ws: Workspace, credits: NDArray[np.int64]) -> None:
        ws.set("triangles", credits)
        (first,) = ws.part.local_of(np.zeros(1, np.int64)).tolist()  # its owner contributes the sum known to all
        self._say(ws, int(ws.total("triangles")), here=first >= 0, node=first)

    def _say(self, ws: Workspace, count: int, *, here: bool, node: int) -> None:
        if here:
            ws.contribute("triangles", np.array([count]), nodes=np.array([node]))

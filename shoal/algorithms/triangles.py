"""How many triangles each node is a corner of, and how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.corners import DEGREE, Corners
from shoal.engine.workspace import Workspace
from shoal.program.declarations import Aggregate, Column, Merge


class Triangles(Corners):
    """Count the triangles at every node: column `triangles`, and how many there are as a figure of the run.

    A triangle is three nodes that are joined to each other, whichever way edges lead and however many. Three ticks.
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
        (first,) = ws.part.local_of(np.zeros(1, np.int64)).tolist()  # its owner repeats the sum that all know
        self._say(ws, int(ws.total("triangles")), here=first >= 0, node=first)

    def _say(self, ws: Workspace, count: int, *, here: bool, node: int) -> None:
        if here:
            ws.contribute("triangles", np.array([count]), nodes=np.array([node]))

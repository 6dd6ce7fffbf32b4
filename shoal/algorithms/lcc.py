"""Local clustering coefficients (LDBC Graphalytics specification 1.0, section 2.3.5; Watts and Strogatz 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.corners import DEGREE, Corners
from shoal.engine.workspace import Workspace
from shoal.program.declarations import Column


class ClusteringCoefficient(Corners):
    """Computes the share of the possible arcs between a node's neighbours that exist.

    Column `coefficient`: arcs between neighbours / (d * (d - 1)), where each of the d neighbours counts once, whatever
    the edges, without the node itself; 0 if d is less than 2. Parallel edges count once. Three ticks.
    """

    name = "lcc"
    columns = (Column("coefficient", np.float64), DEGREE, Column("arcs", np.int64, hidden=True))
    directions = True
    credit = "arcs"

    def settle(self, ws: Workspace, credits: NDArray[np.int64]) -> None:
        degree = ws.column("degree").astype(np.float64)
        pairs = degree * (degree - 1.0)
        ws.set("coefficient", np.divide(credits, pairs, out=np.zeros(len(credits)), where=pairs > 0.0))

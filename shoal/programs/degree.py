"""Degrees: how many edges come into and leave each node."""

from __future__ import annotations

import numpy as np

from shoal.declarations import Column
from shoal.program import Program
from shoal.workspace import Workspace


class Degree(Program):
    """Count the edges at every node, parallel ones each: columns `degree`, `in_degree`, `out_degree`, in one tick."""

    name = "degree"
    columns = (Column("degree", np.int64), Column("in_degree", np.int64), Column("out_degree", np.int64))

    def start(self, ws: Workspace) -> None:
        for column in self.columns:
            ws.set(column.name, 0)

    def advance(self, ws: Workspace) -> None:
        ws.set("in_degree", ws.part.in_degree)
        ws.set("out_degree", ws.part.out_degree)
        ws.set("degree", ws.part.in_degree + ws.part.out_degree)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick >= 1

"""Degrees: how many edges enter and leave each node.

`degree` counts the ends of edges at a node, as networkx does: a loop counts twice, in directed and undirected graphs,
so the degrees sum to twice the edges. In an undirected graph `in_degree` and `out_degree` count arcs, two for an edge
and one for a loop (`shoal.graph.graph_data`), and are equal. LDBC's graphs have no loops.
"""

from __future__ import annotations

import numpy as np

from shoal.engine.workspace import Workspace
from shoal.program.declarations import Column
from shoal.program.program import Program


class Degree(Program):
    """Counts the edges at every node, parallel ones too: columns `degree`, `in_degree`, `out_degree`, in one tick."""

    name = "degree"
    columns = (Column("degree", np.int64), Column("in_degree", np.int64), Column("out_degree", np.int64))

    def start(self, ws: Workspace) -> None:
        for column in self.columns:
            ws.set(column.name, 0)

    def advance(self, ws: Workspace) -> None:
        ws.set("in_degree", ws.part.in_degree)
        ws.set("out_degree", ws.part.out_degree)
        ws.set("degree", ws.part.out_degree + (ws.part.in_degree if ws.part.directed else ws.part.loops))

    def halted(self, ws: Workspace) -> bool:
        return ws.tick >= 1

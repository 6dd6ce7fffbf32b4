"""Core numbers: how deep in the dense part of the graph each node lies.

A core number is the greatest k such that k neighbours have numbers of at least k themselves (Montresor, De Pellegrini
and Miorandi, "Distributed k-Core Decomposition", TPDS 2013, theorem 1). Each shard uses the latest numbers of its
ghosts, at first their degrees, and peels all its own nodes (Batagelj and Zaversnik 2003). Then, tick by tick, it
re-examines nodes that depend on ghosts whose numbers have fallen (`shoal.kernels.cores`). A number is never too low and
never rises, and after a tick without changes the numbers satisfy the rule. They are the greatest that do, so they do
not depend on the cut.
"""

from __future__ import annotations

import numpy as np

from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Direction
from shoal.kernels.cores import Cores
from shoal.kernels.triangles import neighbour_sets
from shoal.program.declarations import Aggregate, Column, Merge
from shoal.program.program import Program


class KCore(Program):
    """Finds the greatest k such that a node is in a subgraph whose nodes all have k neighbours: column `core`.

    Each neighbour counts once, whatever the direction of edges, and the node itself does not count. The greatest number
    is a figure of the run. Ends by itself.
    """

    name = "kcore"
    columns = (Column("core", np.int64, ghosts=Direction.BOTH),)
    aggregates = (Aggregate("changed", Merge.SUM, np.int64), Aggregate("core", Merge.MAX, np.int64, shown=True))
    anytime = False

    def prepare(self, ws: Workspace) -> None:
        sets = neighbour_sets(ws.part.out_kernel, ws.part.in_kernel)
        self._degree = sets.lengths
        self._cores = Cores(sets, ws.part.ghost_count)  # its state between ticks follows from the column

    def start(self, ws: Workspace) -> None:
        ws.set("core", self._degree)

    def advance(self, ws: Workspace) -> None:
        before = ws.column("core")
        ws.set("core", self._cores.given(ws.with_ghosts("core")[ws.part.size :]))
        core = ws.pending("core")
        ws.contribute("changed", core != before)
        ws.contribute("core", core)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("changed")) == 0

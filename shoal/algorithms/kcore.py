"""Core numbers: how deep in the dense part of the graph each node lies.

A core number is the greatest k such that k neighbours have numbers of at least k themselves (Montresor, De Pellegrini
and Miorandi, "Distributed k-Core Decomposition", TPDS 2013, theorem 1). Each shard takes its ghosts' numbers for what
they are said to be, at first their degrees, and peels its own nodes at once (Batagelj and Zaversnik 2003). Then it
looks again at what leans on ghosts whose numbers have fallen, tick by tick (`shoal.kernels.cores`). No number said is
ever too low, none rises, and those that are left when a tick has changed none satisfy the rule: they are the greatest
that do, so it is all one where the graph was cut, and how often.
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
    """Find the greatest k for which a node is in a part of the graph where all have k neighbours: column `core`.

    Neighbours are taken once, whichever way edges lead, without the node itself. The greatest number is a figure of the
    run. Ends by itself.
    """

    name = "kcore"
    columns = (Column("core", np.int64, ghosts=Direction.BOTH),)
    aggregates = (Aggregate("changed", Merge.SUM, np.int64), Aggregate("core", Merge.MAX, np.int64, shown=True))
    anytime = False

    def prepare(self, ws: Workspace) -> None:
        sets = neighbour_sets(ws.part.out_kernel, ws.part.in_kernel)
        self._degree = sets.lengths
        self._cores = Cores(sets, ws.part.ghost_count)  # what it keeps between ticks follows from the column

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

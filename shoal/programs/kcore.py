"""Core numbers: how deep in the dense part of the graph each node lies.

A core number is the greatest k such that k neighbours have numbers of at least k themselves (Montresor, De Pellegrini
and Miorandi, "Distributed k-Core Decomposition", TPDS 2013, theorem 1). Each shard takes its ghosts' numbers for what
they are said to be, at first their degrees, and peels its own nodes at once (Batagelj and Zaversnik 2003), compiled. No
number said is ever too low, none rises, and those that are left when a tick has changed none satisfy the rule: they are
the greatest that do, so it is all one where the graph was cut, and how often.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoal import _native
from shoal.execution.declarations import Aggregate, Column, Merge
from shoal.execution.program import Program
from shoal.execution.workspace import Workspace
from shoal.graph.part import Direction, Part
from shoal.kernels.triangles import Sets, neighbour_sets


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
        self._rows = with_ghosts(ws.part, sets)

    def start(self, ws: Workspace) -> None:
        ws.set("core", self._degree)

    def advance(self, ws: Workspace) -> None:
        size, before = ws.part.size, ws.with_ghosts("core")
        keys = np.concatenate([self._degree, before[size:]]).astype(np.int32)
        _native.cores(self._rows.starts, self._rows.members, keys, size)
        core = ws.fresh("core")
        core[:] = keys[:size]
        ws.contribute("changed", (core != before[:size]).astype(np.int64))
        ws.contribute("core", core)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("changed")) == 0


def with_ghosts(part: Part, sets: Sets) -> Sets:
    """The sets of own nodes, and behind them, for each ghost, the own nodes that hold it."""
    width = part.size + part.ghost_count
    _native.check_rows(sets.starts, sets.members, width)
    rows: NDArray[np.int32] = np.repeat(np.arange(part.size, dtype=np.int32), sets.lengths)
    away = np.flatnonzero(sets.members >= part.size)
    order = away[np.argsort(sets.members[away], kind="stable")]
    counts = np.bincount(sets.members[away] - part.size, minlength=part.ghost_count)
    starts = np.concatenate([sets.starts, sets.starts[-1] + np.cumsum(counts)])
    members = np.concatenate([sets.members, rows[order]])
    return Sets(starts, members, np.empty(0, np.uint8))

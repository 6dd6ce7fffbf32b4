"""Communities by label propagation, all nodes at once (LDBC Graphalytics specification 1.0, section 2.3.4).

The rule is that of Raghavan, Albert and Kumara ("Near linear time algorithm to detect community structures in
large-scale networks", Phys. Rev. E 76, 2007), made deterministic: every node reads the labels of the preceding tick,
and the least of several most frequent labels wins. So it may not converge, and runs for the requested number of ticks;
`label-propagation` is the variant that converges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.graph.columns import is_string
from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.program.declarations import Column, Merge
from shoal.program.program import Program


class CommunityDetection(Program):
    """Gives every node the most frequent label among its neighbours, the least on a tie: column `label`.

    A label is a node's id, or its ordinal (position in id order, from 0) if ids are strings. In a directed graph a
    neighbour by both an in-edge and an out-edge counts twice, as do parallel edges in any graph. A node without
    neighbours keeps its own. Runs all requested ticks, 10 by default.
    """

    name = "cdlp"
    columns = (Column("label", np.int64, ghosts=Direction.BOTH),)
    ticks_default = 10

    def start(self, ws: Workspace) -> None:
        ws.set("label", first_labels(ws.part))

    def advance(self, ws: Workspace) -> None:
        poll(ws, "label", ws.fresh("label"))


def first_labels(part: ShardGraph) -> NDArray[np.int64]:
    """Returns every own node's initial label."""
    return part.ordinals if is_string(part.ids) else np.asarray(part.ids, np.int64)


def poll(ws: Workspace, column: str, out: NDArray[np.int64]) -> None:
    """Returns the most frequent label among each own node's neighbours, the least on a tie; its own if it has none.

    In an undirected graph, whose arcs lead both ways, one direction covers all neighbours once.
    """
    part = ws.part
    out[:] = ws.gather(column, Merge.MODE, Direction.BOTH if part.directed else Direction.OUT)
    alone = part.out_edges.indptr[1:] == part.out_edges.indptr[:-1]
    if part.directed:
        alone &= part.in_edges.indptr[1:] == part.in_edges.indptr[:-1]
    out[alone] = ws.column(column)[alone]

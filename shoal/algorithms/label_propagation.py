"""Label propagation until every node has a label that most of its neighbours have (Raghavan, Albert and Kumara 2007).

If all nodes choose at once, as in `cdlp`, two sides of a graph can swap their labels for ever. This can't happen if
only nodes that are not neighbours choose: each choice either increases the number of edges that join equal labels, or
keeps it and lowers a label. Here half of the nodes may choose in each tick, drawn by a random number that follows from
seed, tick and node. So neighbours eventually choose one at a time, and the run ends with probability one, in practice
after some dozen ticks. Every tick checks all nodes, so the run ends only when every node has such a label.
"""

from __future__ import annotations

import numpy as np

from shoal.algorithms.cdlp import first_labels, poll
from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Direction
from shoal.program.declarations import Aggregate, Column, Merge
from shoal.program.params import Param
from shoal.program.program import Program
from shoal.program.randomness import bits


class LabelPropagation(Program):
    """Gives nodes in turn the most frequent label among their neighbours, until no node changes.

    Column `label` is a node's id, or its ordinal if ids are strings; neighbours count as in `cdlp`, and the least of
    several most frequent labels wins. In each tick a random half of the nodes may change. Ends by itself, or after
    `ticks` ticks (1,000 by default) with the labels so far.
    """

    name = "label-propagation"
    columns = (Column("label", np.int64, ghosts=Direction.BOTH),)
    aggregates = (Aggregate("discontent", Merge.SUM, np.int64, shown=True),)
    ticks_default = 1000

    seed = Param(0, "for who may change when")

    def start(self, ws: Workspace) -> None:
        ws.set("label", first_labels(ws.part))

    def advance(self, ws: Workspace) -> None:
        label = ws.fresh("label")
        poll(ws, "label", label)
        before = ws.column("label")
        discontent = label != before
        ws.contribute("discontent", discontent.astype(np.int64))
        waits = discontent & (bits(self.seed, ws.tick, ws.part.ordinals) >> np.uint64(63) == 0)
        label[waits] = before[waits]

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("discontent")) == 0

"""A program of messages: it defines what one node does when a message arrives. See docs/messages.md.

This example finds the distance of every node from one of them, by the weights of the edges if they have any. Run it:

    python FILE
"""

from __future__ import annotations

import math

import numpy as np

import shoal
from shoal import Aggregate, Attribute, Combine, Merge, Node, NodeProgram, Param


class Template(NodeProgram):
    """How far every node is from one of them, along the edges."""  # the first line is what `program list` shows

    name = "template"

    # An attribute of every node, and a column of the result. None is shown as no value and stored as the number `null`.
    distance = Attribute(None, null=math.inf)

    # One number a tick for the whole graph: nodes `contribute`; `self.total("nearer")` has the sum in the next tick.
    aggregates = (Aggregate("nearer", Merge.SUM, np.int64, shown=True),)

    # Reduces the messages of one tick to one node to the least. Without it, a node receives each message.
    combine = Combine(Merge.MIN, float)

    # Pass it as `--param source=5` or `graph.run(..., source=5)`. It has the type of its default, here a string.
    # A parameter with `node=True` is required, and the graph must have a node with that id.
    source = Param("", "id of the node that all distances are from", node=True)
    weight = Param("", "edge column to add up; without, every edge counts one")

    def on_start(self, node: Node) -> None:
        """Called before the first tick, for every node."""
        if node.id == self.source:
            self.reach(node, 0.0)

    def on_message(self, node: Node, msg: float) -> None:
        """Called for every message; with `combine`, that is one a node and tick."""
        if node.distance is None or msg < node.distance:
            self.reach(node, msg)

    def reach(self, node: Node, distance: float) -> None:
        """Stores the distance and sends it to the neighbours, where it arrives in the next tick."""
        node.contribute("nearer", 1)
        node.distance = distance
        if not self.weight:
            node.send(distance + 1.0, via="*")  # along all out-edges; or via="a type", or to="an id"
            return
        for edge in node.out_edges:
            edge.send(distance + edge[self.weight])

    # Other callbacks: on_messages(node, msgs) instead of on_message, on_tick(node) for every node that has not called
    # node.halt(), begin_tick() before all turns, and on_request and on_replies for node.request(...). node.memory holds
    # values that are not numbers. The run is over when no message is under way and no node is awake.


if __name__ == "__main__":
    data = shoal.from_arrays(["a", "a", "b", "c"], ["b", "c", "d", "d"], edge_columns={"km": [1.0, 5.0, 9.0, 2.0]})
    for shards in (1, 3):  # the result does not depend on their number
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, source="a", weight="km")
            print(shards, run.result("distance").to_dict())

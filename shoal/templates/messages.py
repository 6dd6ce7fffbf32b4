"""A program of messages: what one node does when something arrives. See docs/messages.md.

As it stands, it finds how far every node is from one of them, by the weights of the edges if they have some. Try it:

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

    # What every node has: columns of the result. None is shown as no value, and kept as the number `null`.
    distance = Attribute(None, null=math.inf)

    # One number for the whole graph a tick: nodes `contribute`, `self.total("nearer")` has the sum in the next one.
    aggregates = (Aggregate("nearer", Merge.SUM, np.int64, shown=True),)

    # Several messages of one tick to one node become their least. Leave it out, and a node gets each by itself.
    combine = Combine(Merge.MIN, float)

    # Given as `--param source=5`, or `graph.run(..., source=5)`; of the type that the default has, here text.
    # One that is a `node` has to be given, and there has to be a node that is called so.
    source = Param("", "id of the node that all distances are from", node=True)
    weight = Param("", "edge column to add up; without, every edge counts one")

    def on_start(self, node: Node) -> None:
        """Before the first tick, for every node."""
        if node.id == self.source:
            self.reach(node, 0.0)

    def on_message(self, node: Node, msg: float) -> None:
        """For every message; in this program, that is one a node and tick."""
        if node.distance is None or msg < node.distance:
            self.reach(node, msg)

    def reach(self, node: Node, distance: float) -> None:
        """Keep what was found, and tell the neighbours: it arrives in the next tick."""
        node.contribute("nearer", 1)
        node.distance = distance
        if not self.weight:
            node.send(distance + 1.0, via="*")  # the same along all out-edges; or via="a type", or to="an id"
            return
        for edge in node.out_edges:
            edge.send(distance + edge[self.weight])

    # There is also on_messages(node, msgs) in the place of on_message, on_tick(node) for every node that has not called
    # node.halt(), begin_tick() before them all, on_request and on_replies for node.request(...), and node.memory for
    # what is no number. The run is over when nothing is under way and nobody is awake.


if __name__ == "__main__":
    data = shoal.from_arrays(["a", "a", "b", "c"], ["b", "c", "d", "d"], edge_columns={"km": [1.0, 5.0, 9.0, 2.0]})
    for shards in (1, 3):  # the answer does not depend on them
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, source="a", weight="km")
            print(shards, run.result("distance").to_dict())

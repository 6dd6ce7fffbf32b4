"""PageRank with messages between nodes: the same ranks as `pagerank`."""

from __future__ import annotations

from shoal.messages import Attribute, Combine, Node, NodeProgram
from shoal.program.declarations import Aggregate, Merge
from shoal.program.params import Param


class MessagePageRank(NodeProgram):
    """Ranks nodes as `pagerank` does, by messages: each sends the nodes to which it points their share of its rank."""

    name = "message-pagerank"
    ticks_default = 100

    rank = Attribute(0.0)
    incoming = Attribute(0.0, hidden=True)
    aggregates = (Aggregate("dangling", Merge.SUM),)
    combine = Combine(Merge.SUM, float)

    damping = Param(0.85, "chance to follow an edge rather than jump anywhere", least=0.0, most=1.0)

    def begin_tick(self) -> None:
        self.base = (1.0 - self.damping + self.damping * self.total("dangling")) / self.node_count

    def on_start(self, node: Node) -> None:
        self.pass_on(node, 1.0 / self.node_count)

    def on_message(self, node: Node, msg: float) -> None:
        node.incoming += msg

    def on_tick(self, node: Node) -> None:
        self.pass_on(node, self.base + self.damping * node.incoming)
        node.incoming = 0.0

    def pass_on(self, node: Node, rank: float) -> None:
        """Takes a rank and distributes it."""
        node.rank = rank
        if node.out_degree:
            node.send(rank / node.out_degree, via="*")
        else:
            node.contribute("dangling", rank)

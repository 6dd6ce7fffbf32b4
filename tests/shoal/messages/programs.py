"""Programs of messages for the tests: they use everything that there is, and record what they see."""

from __future__ import annotations

from typing import Any

import numpy as np

from shoal import Aggregate, Attribute, Combine, Direction, Merge, Node, NodeProgram, Replies


class Chatter(NodeProgram):
    """Says all kinds of things in all ways, remembers what it hears in order, and sleeps now and then."""

    name = "trial-chatter"
    heard = Attribute(0)
    weight = Attribute(1.0)
    least = Attribute(None, null=-1)
    loud = Attribute(False, hidden=True)
    aggregates = (Aggregate("words", Merge.SUM), Aggregate("most", Merge.MAX, np.int64))

    def begin_tick(self) -> None:
        self.words = self.total("words")

    def on_start(self, node: Node) -> None:
        node.loud = node.out_degree > 1
        self.speak(node)

    def on_message(self, node: Node, msg: Any) -> None:
        node.memory.setdefault("heard", []).append(msg)
        del node.memory["heard"][:-20]
        node.heard = hash_of((node.heard, msg))
        if isinstance(msg, float):
            node.weight = node.weight / 3 + msg

    def on_tick(self, node: Node) -> None:
        node.weight += self.words / 7
        node.least = None if node.heard % 3 == 0 else node.heard % 50
        node.memory["last"] = (self.tick, [node.weight])
        self.speak(node)
        if node.heard % 4 == 0:
            node.halt()

    def on_request(self, node: Node, msg: Any) -> Any:
        node.heard = hash_of((node.heard, msg))
        return (msg, node.heard % 100, node.weight)

    def on_replies(self, node: Node, replies: Replies) -> None:
        seen = [(reply.node, reply.value, reply.missing) for reply in replies]
        node.heard = hash_of((node.heard, replies.request, tuple(seen), tuple(replies.missing)))
        node.memory["replies"] = seen

    def on_undeliverable(self, node: Node, to: int | str, msg: Any) -> None:
        node.memory.setdefault("lost", []).append((to, msg))
        node.heard = hash_of((node.heard, to, msg))

    def speak(self, node: Node) -> None:
        number = int(node.id) + self.tick + node.heard % 7
        node.contribute("words", node.weight / 9)
        node.contribute("most", node.heard % 11)
        node.send(node.weight, via="*")
        if number % 2:
            node.send(number, via="*", direction=Direction.IN)
            node.send(number, via="*")
        if number % 3 == 0:
            node.send(("pair", [number, None, {"k": b"v"}]), via="*", direction=Direction.BOTH)
            for edge in node.out_edges[:2]:
                edge.send(node.weight * 2)
        if number % 5 == 0:
            node.send("far", to=number % 13 - 3)
            node.request(number, to=[number % 7, 1000 + number % 7])
        if number % 7 == 0:
            node.broadcast(number)
            node.request("all", via="*", direction=Direction.IN)


class _Combining(NodeProgram):
    total_heard = Attribute(0.0)
    aggregates = (Aggregate("spoken", Merge.SUM),)

    def on_start(self, node: Node) -> None:
        self.on_tick(node)

    def on_message(self, node: Node, msg: Any) -> None:
        node.memory["times"] = node.memory.get("times", 0) + 1
        node.total_heard += msg

    def on_tick(self, node: Node) -> None:
        place = int(node.id) % 5 + self.tick
        kind = self.combine.kind if self.combine is not None else float
        value = kind(place + node.total_heard % 3)
        node.contribute("spoken", float(value))
        if place % 3:
            node.send(value / 7 if kind is float else value, via="*")
        if place % 4 == 1:
            for edge in node.out_edges:
                edge.send(value / 3 if kind is float else value)
        if place % 5 == 2:
            node.send(value, to=place)
            node.broadcast(value)


class Summed(_Combining):
    """Sums of floats."""

    name = "trial-summed"
    combine = Combine(Merge.SUM, float)


class Least(_Combining):
    """The least of floats."""

    name = "trial-least"
    combine = Combine(Merge.MIN, float)


class Counted(_Combining):
    """Sums of integers."""

    name = "trial-counted"
    combine = Combine(Merge.SUM, int)


def hash_of(value: Any) -> int:
    """A number that depends on all of a value, types too, and on no salt."""
    number = 7
    for byte in _told(value).encode():
        number = (number * 31 + byte) % (1 << 31)
    return number


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(_told, value))})"
    return repr(dict(value)) if hasattr(value, "items") else repr(value)

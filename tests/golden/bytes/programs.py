"""A small program of each style: together they send and keep everything that a program can.

They pin the form of states and shares, so they compute as little as possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shoal import (
    Aggregate,
    Attribute,
    Channel,
    Column,
    Combine,
    Direction,
    Lists,
    Mail,
    Merge,
    Node,
    NodeProgram,
    Phase,
    Program,
    Ragged,
    Replies,
    Workspace,
)
from shoal.colony import Agent, AgentContext, Colony, PartitionContext, Signal, Trace


class Columns(Program):
    """Has ghosts in each direction, lists, channels of each kind, mail, and its own saved state."""

    name = "columns"
    columns = (
        Column("into", np.float64, ghosts=Direction.IN),
        Column("out", np.int64, ghosts=Direction.OUT),
        Column("both", np.float64, ghosts=Direction.BOTH),
        Column("own", np.int64, hidden=True),
    )
    aggregates = (Aggregate("total", Merge.SUM), Aggregate("most", Merge.MAX, np.int64))
    lists = (Lists("past", np.int32, ghosts=Direction.BOTH), Lists("halves", np.float64))
    channels = (
        Channel("now", np.float64),
        Channel("late", np.int64, sent_in=Phase.ADVANCE),
        Channel("sum", np.float64, Merge.SUM, Phase.ADVANCE),
        Channel("least", np.int64, Merge.MIN, Phase.ADVANCE),
    )
    mail = (Mail("notes", (("number", np.int64), ("text", bytes)), Phase.ADVANCE), Mail("calls", (("x", np.float64),)))
    saves = True

    def save(self, ws: Workspace, partition: int) -> bytes:
        return f"kept of {partition}".encode()

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        assert bytes(state) == f"kept of {partition}".encode()

    def start(self, ws: Workspace) -> None:
        ws.set_rows(
            "halves", Ragged.of_lengths(ws.part.ordinals % 2, np.repeat(0.5, int((ws.part.ordinals % 2).sum())))
        )
        self.spread(ws)

    def act(self, ws: Workspace) -> None:
        ws.scatter("now", ws.part.ordinals + 0.25, direction=Direction.BOTH)
        for partition in ws.part.partitions:
            ws.send("calls", [partition], [(partition + 1) % ws.part.partition_count], x=[partition + 0.5])

    def advance(self, ws: Workspace) -> None:
        self.spread(ws)

    def spread(self, ws: Workspace) -> None:
        ordinals, own = ws.part.ordinals, np.arange(ws.part.size)
        ws.set("into", ordinals + ws.tick / 4)
        ws.set("out", ordinals * 10 + ws.tick)
        ws.set("both", -ordinals / 8 - ws.tick)
        ws.set("own", ordinals * 1000 + ws.tick)
        ws.contribute("total", ordinals + 0.5)
        ws.contribute("most", ordinals * 7)
        lengths = (ordinals + ws.tick) % 3
        ws.set_rows("past", Ragged.of_lengths(lengths, np.repeat(ordinals, lengths).astype(np.int32)))
        ws.scatter("late", ordinals + 100)
        ws.scatter("sum", ordinals / 2)
        ws.post_to("least", own, (ordinals + 1) % ws.part.node_count, ordinals)
        places = np.repeat(np.array(ws.part.partitions, np.int64), np.diff(ws.part.starts))
        texts = [f"note {ordinal}".encode() for ordinal in ordinals.tolist()]
        ws.send("notes", places, ordinals % ws.part.partition_count, number=ordinals * 3, text=texts)


class Messages(NodeProgram):
    """Sends numbers and texts of all kinds, requests, replies and undeliverable messages, and remembers everything."""

    name = "messages"
    heard = Attribute(0)
    weight = Attribute(1.0)
    least = Attribute(None, null=-1)
    loud = Attribute(False, hidden=True)
    aggregates = (Aggregate("words", Merge.SUM),)

    def on_start(self, node: Node) -> None:
        node.loud = node.out_degree > 1
        node.memory["kept"] = {"list": [1, -2.5, "three", b"4"], "tuple": (None, True, {7: []})}
        self.on_tick(node)

    def on_message(self, node: Node, msg: Any) -> None:
        node.heard += 1
        node.memory["last"] = msg

    def on_tick(self, node: Node) -> None:
        node.weight += 0.5
        node.least = node.heard if node.heard else None
        node.contribute("words", node.weight)
        node.send(node.weight, via="*")
        node.send(self.tick + 40, via="*", direction=Direction.IN)
        node.send(("pair", [node.heard, None, {"k": b"v"}]), via="*", direction=Direction.BOTH)
        node.send(self.tick + 50, to="delta")
        node.send("lost", to="nobody")
        node.request("how much?", to=["alpha", "nowhere"])
        node.broadcast(b"to all")
        if node.id == "beta":
            node.halt()

    def on_request(self, node: Node, msg: Any) -> Any:
        return (msg, node.weight)

    def on_replies(self, node: Node, replies: Replies) -> None:
        node.memory["replies"] = [(reply.node, reply.value) for reply in replies]

    def on_undeliverable(self, node: Node, to: int | str, msg: Any) -> None:
        node.memory["lost"] = (to, msg)


class Combined(NodeProgram):
    """Sends messages that are combined on their way."""

    name = "combined"
    combine = Combine(Merge.SUM, int)
    heard = Attribute(0)

    def on_start(self, node: Node) -> None:
        self.on_tick(node)

    def on_message(self, node: Node, msg: Any) -> None:
        node.heard += msg

    def on_tick(self, node: Node) -> None:
        node.send(node.heard + 3, via="*")
        node.send(7, to="delta")
        node.broadcast(1)


class Walker(Agent):
    """Leaves everything behind that an agent can: concepts, their edges, signals, traces, and more agents."""

    steps = 0
    seen: Any = None

    def act(self, here: AgentContext) -> None:
        if here.place.is_node:
            word = f"word-{here.place.ordinal}"
            here.present(word, label=f"label {here.place.ordinal}")
            here.present("shared", kind="common")
            here.wire(word, "shared", times=2)
            here.leave("step")
        here.emit("scent", 1.5)
        here.count("steps", 3)
        if not self.steps:
            here.spawn(Walker, steps=10, seen=[1.5, {"k": b"v"}])
        paths = here.neighbours()
        if paths:
            here.move(paths[0].place)
        self.steps += 1


class Walkers(Colony):
    """Everything that a colony keeps."""

    name = "colony"
    agents = (Walker,)
    concept_kinds = ("concept", "common")
    signals = (Signal("scent", decay=0.5, threshold=0.125), Signal("other"))
    traces = (Trace("step", decay=0.5, threshold=0.125),)
    counters_shown = ("steps",)

    def populate(self, ground: PartitionContext) -> None:
        for place in ground.nodes:
            ground.spawn(Walker, place)

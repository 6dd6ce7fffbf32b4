"""Programs for the tests: one that uses everything a program may, and some that misbehave in a chosen place.

In one process they are run as they are; for real daemons `tests.cluster.trial` installs a copy of this very file, so
it imports nothing but shoal.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from itertools import pairwise

import numpy as np

from shoal import (
    Aggregate,
    Channel,
    Column,
    Direction,
    Lists,
    Mail,
    Merge,
    Param,
    Phase,
    Program,
    Ragged,
    Workspace,
)

EVERY = [(merge, kind) for kind in (np.float64, np.int64) for merge in (Merge.SUM, Merge.MIN, Merge.MAX)]


def aggregate_name(merge: Merge, kind: type) -> str:
    return f"{merge}_{np.dtype(kind).kind}"


class Everything(Program):
    """All four phases, ghosts in each direction, both kinds of channel and every merge.

    `tests.twin` does the same with loops and lists.
    """

    name = "trial-everything"
    columns = (
        Column("a", np.float64, ghosts=Direction.IN),
        Column("b", np.float64, ghosts=Direction.OUT),
        Column("c", np.int64, ghosts=Direction.BOTH),
        Column("heard", np.float64),
        Column("marks", np.int64),
        Column("secret", np.int64, hidden=True),
    )
    aggregates = tuple(Aggregate(aggregate_name(merge, kind), merge, kind) for merge, kind in EVERY)
    channels = (Channel("word", np.float64), Channel("mark", np.int64))
    ticks_default = 4

    weight = Param(0.5, "how much of what is gathered stays", least=0.0, most=1.0)

    def start(self, ws: Workspace) -> None:
        ordinals = ws.part.ordinals
        ws.set("a", 1.0 / (ordinals + 1))
        ws.set("b", np.sqrt(ordinals))
        ws.set("c", ordinals * 7 % 5 - 2)
        ws.set("heard", 0.0)
        ws.set("marks", 0)
        ws.set("secret", ordinals)

    def sense(self, ws: Workspace) -> None:
        into, out = ws.gather("a"), ws.gather("b", Merge.SUM, Direction.OUT)
        least, most = ws.gather("a", Merge.MIN), ws.gather("b", Merge.MAX, Direction.OUT)
        self._floats = into + out + np.where(least < most, least, 0.0)
        self._ints = (
            ws.gather("c", Merge.SUM, Direction.BOTH)
            + np.maximum(ws.gather("c", Merge.MAX, Direction.IN), -9)
            + np.minimum(ws.gather("c", Merge.MIN, Direction.OUT), 9)
        )

    def act(self, ws: Workspace) -> None:
        part, rows = ws.part, np.arange(ws.part.size)
        senders = np.repeat(rows, part.out_degree)
        ws.post("word", senders, part.out_edges.neighbours, ws.column("a")[senders] / 3.0)
        senders = np.repeat(rows, part.in_degree)
        ws.post("mark", senders, part.in_edges.neighbours, ws.column("c")[senders])

    def decay(self, ws: Workspace) -> None:
        nodes, values = ws.arrived("word")
        self._word = np.bincount(nodes, values, minlength=ws.part.size) * 0.9
        nodes, values = ws.arrived("mark")
        place = np.arange(len(nodes)) - np.searchsorted(nodes, nodes)
        self._mark = np.zeros(ws.part.size, dtype=np.int64)
        np.add.at(self._mark, nodes, values * (place + 1))

    def advance(self, ws: Workspace) -> None:
        top = float(ws.total("max_f"))
        a = self.weight * self._floats + self._word + (top if math.isfinite(top) else 0.0)
        a = a / (1.0 + np.abs(a))
        c = (self._ints + self._mark + int(ws.total("sum_i"))) % 11 - 5
        ws.set("a", a)
        if ws.tick % 2:  # what is not written stays, its ghosts too
            ws.set("b", a * 0.25 + ws.column("b"))
        ws.set("c", c)
        ws.set("heard", self._word)
        ws.set("marks", self._mark)
        for merge, kind in EVERY:
            ws.contribute(aggregate_name(merge, kind), a if kind is np.float64 else c)
        odd = np.flatnonzero(c % 2)
        ws.contribute("sum_i", c[odd], nodes=odd)

    def halted(self, ws: Workspace) -> bool:
        return int(ws.total("max_i")) == 5 and int(ws.total("min_i")) == 5


class Count(Program):
    """Column `tick` is the number of the tick: shards that stopped at different ones would show."""

    name = "trial-count"
    columns = (Column("tick", np.int64),)

    def start(self, ws: Workspace) -> None:
        ws.set("tick", 0)

    def advance(self, ws: Workspace) -> None:
        ws.set("tick", ws.tick)


class _Chosen(Program):
    """Something happens on one shard, in one phase of one tick."""

    columns = (Column("tick", np.int64),)
    ticks_default = 3

    shard = Param("", "on which; without, on all")
    phase = Param("advance", "in which phase")
    tick = Param(1, "in which tick")

    def start(self, ws: Workspace) -> None:
        ws.set("tick", 0)
        self._perhaps(ws, Phase.ADVANCE)

    def sense(self, ws: Workspace) -> None:
        self._perhaps(ws, Phase.SENSE)

    def act(self, ws: Workspace) -> None:
        self._perhaps(ws, Phase.ACT)

    def decay(self, ws: Workspace) -> None:
        self._perhaps(ws, Phase.DECAY)

    def advance(self, ws: Workspace) -> None:
        ws.set("tick", ws.tick)
        self._perhaps(ws, Phase.ADVANCE)

    def _perhaps(self, ws: Workspace, phase: Phase) -> None:
        if ws.tick == self.tick and phase.word == self.phase and self.shard in ("", ws.part.shard):
            self.happen(ws)

    @abstractmethod
    def happen(self, ws: Workspace) -> None:
        """What happens there."""


class Sleep(_Chosen):
    """Sleep in a phase, holding the tick thread as a long kernel would."""

    name = "trial-sleep"

    seconds = Param(1.0, "for how long")

    def happen(self, ws: Workspace) -> None:
        time.sleep(self.seconds)


class Raise(_Chosen):
    """Fail in a phase."""

    name = "trial-raise"

    def happen(self, ws: Workspace) -> None:
        raise ZeroDivisionError(f"the trial's own failure in tick {ws.tick}")


class Unbuildable(Count):
    """Can be described, and cannot be made."""

    name = "trial-unbuildable"

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        raise RuntimeError("this program cannot be made")


class HaltsWrong(Count):
    """Fails when asked whether it is done: after its share is out."""

    name = "trial-halts-wrong"

    def halted(self, ws: Workspace) -> bool:
        if ws.tick == 2:
            raise KeyError("no such thing as an end")
        return False


class Halves(Program):
    """Half of each even ordinal; odd ones have none, neither whole nor broken."""

    name = "trial-halves"
    columns = (Column("half", np.int64, null=-1), Column("ratio", np.float64, null=np.inf))

    def start(self, ws: Workspace) -> None:
        ordinals = ws.part.ordinals
        ws.set("half", np.where(ordinals % 2, -1, ordinals // 2))
        ws.set("ratio", np.where(ordinals % 2, np.inf, ordinals / 2))


PROGRAMS = (Everything, Count, Sleep, Raise, Unbuildable, HaltsWrong, Halves)


class Carried(Program):
    """Lists, channels that are sent in Advance, mail of both phases, and something of its own that it saves."""

    name = "trial-carried"
    columns = (Column("heard", np.float64), Column("least", np.int64), Column("read", np.int64))
    aggregates = (Aggregate("mailed", Merge.SUM, np.int64, shown=True),)
    lists = (Lists("past", np.int32, ghosts=Direction.BOTH), Lists("own", np.float64))
    channels = (
        Channel("late", np.float64, sent_in=Phase.ADVANCE),
        Channel("sum", np.float64, Merge.SUM, Phase.ADVANCE),
        Channel("min", np.int64, Merge.MIN, Phase.ADVANCE),
        Channel("soon", np.int64, Merge.SUM),
    )
    mail = (
        Mail("notes", (("number", np.int64), ("text", bytes)), Phase.ADVANCE),
        Mail("calls", (("number", np.float64),)),
    )
    saves = True

    def prepare(self, ws: Workspace) -> None:
        self.counts = dict.fromkeys(ws.part.partitions, 0)
        self.places = np.repeat(np.array(ws.part.partitions, np.int64), np.diff(ws.part.starts))

    def save(self, ws: Workspace, partition: int) -> bytes:
        return str(self.counts[partition]).encode()

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        self.counts[partition] = int(bytes(state))

    def start(self, ws: Workspace) -> None:
        for column in self.columns:
            ws.set(column.name, ws.part.ordinals)
        ws.set_rows("own", Ragged.of_lengths(ws.part.ordinals % 3, np.repeat(0.5, int((ws.part.ordinals % 3).sum()))))
        self.spread(ws)

    def act(self, ws: Workspace) -> None:
        ws.scatter("soon", ws.part.ordinals, direction=Direction.BOTH)
        for partition in ws.part.partitions:
            ws.send("calls", [partition], [(partition * 3 + ws.tick) % ws.part.partition_count], number=[partition / 3])

    def decay(self, ws: Workspace) -> None:
        for partition, number in zip(
            ws.received("calls").partitions.tolist(), ws.received("calls").fields["number"].tolist(), strict=True
        ):
            self.counts[partition] = self.counts[partition] * 7 % 1000 + int(number * 3)

    def advance(self, ws: Workspace) -> None:
        heard = np.zeros(ws.part.size)
        for name in ("late", "sum", "soon"):
            nodes, values = ws.arrived(name)
            np.add.at(heard, nodes, values / 3)
        nodes, values = ws.arrived("min")
        least = np.full(ws.part.size, -1)
        least[nodes] = values
        ws.set("heard", heard)
        ws.set("least", least)
        rows, edges = ws.rows("past"), ws.part.in_edges
        seen = np.array([rows.lengths[edges.neighbours[a:b]].sum() for a, b in pairwise(edges.indptr.tolist())])
        ws.set("read", seen.astype(np.int64))
        notes = ws.received("notes")
        texts = notes.fields["text"].to_bytes()
        mailed = np.zeros(ws.part.size, np.int64)
        for partition, number, text in zip(notes.partitions.tolist(), notes.fields["number"], texts, strict=True):
            assert text == f"note {number}".encode()
            self.counts[partition] = self.counts[partition] * 11 % 1000 + int(number)
        mailed[:] = self.places
        ws.contribute("mailed", mailed)
        self.spread(ws)

    def spread(self, ws: Workspace) -> None:
        own = np.arange(ws.part.size)
        if ws.tick % 3 != 1:
            lengths = (ws.part.ordinals + ws.tick) % 4
            values = np.repeat(ws.part.ordinals, lengths).astype(np.int32)
            ws.set_rows("past", Ragged.of_lengths(lengths, values))
        ws.scatter("late", 1 / (ws.part.ordinals + 2))
        even = np.flatnonzero(ws.part.ordinals % 2 == 0)
        ws.scatter("sum", 1 / (ws.part.ordinals[even] + 3), even)
        far = (ws.part.ordinals * 5 + ws.tick) % max(ws.part.node_count, 1)
        ws.post_to("min", own, far, ws.part.ordinals)
        texts = [f"note {ordinal}".encode() for ordinal in ws.part.ordinals.tolist()]
        partitions = ws.part.ordinals % ws.part.partition_count
        ws.send("notes", self.places, partitions, number=ws.part.ordinals, text=texts)

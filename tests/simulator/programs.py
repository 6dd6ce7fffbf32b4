"""The programs that simulated clusters run, their graph, and the results of a single engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.state.records import RunRecord
from shoal.algorithms.degree import Degree
from shoal.algorithms.pagerank import PageRank
from shoal.algorithms.wcc import ConnectedComponents
from shoal.engine.engine import Engine
from shoal.engine.workspace import Workspace
from shoal.graph.assembly import assemble
from shoal.graph.graph_data import GraphData, Table
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Direction, Placement, ShardGraph
from shoal.program.declarations import Aggregate, Channel, Column, Merge
from shoal.program.params import Param
from shoal.program.program import Program

PARTITIONS = 8


class Rumour(Program):
    """Uses all four phases: nodes decide, send along their edges, process what arrived, in order, and let it fade."""

    name = "rumour"
    columns = (
        Column("heard", np.float64),
        Column("mood", np.int64, ghosts=Direction.BOTH),
    )
    aggregates = (Aggregate("sum", Merge.SUM), Aggregate("greatest", Merge.MAX, np.int64))
    channels = (Channel("word", np.float64),)

    def start(self, ws: Workspace) -> None:
        ws.set("heard", 1.0 / (1.0 + ws.part.ordinals))
        ws.set("mood", ws.part.ordinals % 7)

    def sense(self, ws: Workspace) -> None:
        self._speaks = (ws.column("mood") + ws.tick) % 3 != 0

    def act(self, ws: Workspace) -> None:
        edges = ws.part.out_edges
        senders = np.repeat(np.arange(ws.part.size), np.diff(edges.indptr))
        spoken = self._speaks[senders]
        senders, targets = senders[spoken], edges.neighbours[spoken]
        ws.post("word", senders, targets, ws.column("heard")[senders] / 3.0)

    def decay(self, ws: Workspace) -> None:
        nodes, words = ws.arrived("word")
        self._gain = np.zeros(ws.part.size)
        np.add.at(self._gain, nodes, words)

    def advance(self, ws: Workspace) -> None:
        heard = ws.column("heard") * 0.9 + self._gain
        ws.set("heard", heard)
        ws.set("mood", (ws.gather("mood", Merge.SUM, Direction.IN) + ws.part.ordinals) % 11)
        ws.contribute("sum", heard)
        ws.contribute("greatest", ws.column("mood"))


class Breaks(Program):
    """Fails on the shard that holds node 0: in a phase of a tick, or when the tick is settled."""

    name = "breaks"
    columns = (Column("count", np.int64, ghosts=Direction.IN),)
    tick = Param(5, "when", least=0)
    phase = Param("advance", "sense, act, advance or halted")

    def prepare(self, ws: Workspace) -> None:
        self._breaks = bool((ws.part.ordinals == 0).any())

    def start(self, ws: Workspace) -> None:
        ws.set("count", 0)
        self._fail(ws, "start")

    def sense(self, ws: Workspace) -> None:
        self._fail(ws, "sense")

    def act(self, ws: Workspace) -> None:
        self._fail(ws, "act")

    def advance(self, ws: Workspace) -> None:
        ws.set("count", ws.column("count") + 1)
        self._fail(ws, "advance")

    def halted(self, ws: Workspace) -> bool:
        self._fail(ws, "halted")
        return False

    def _fail(self, ws: Workspace, phase: str) -> None:
        if self._breaks and ws.tick == self.tick and phase == self.phase:
            raise RuntimeError("a program of the simulator fails as it was told to")


PROGRAMS: dict[str, type[Program]] = {
    program.name: program for program in (PageRank, ConnectedComponents, Degree, Rumour, Breaks)
}


CUT_ANYWHERE = (PageRank.name, Degree.name, Rumour.name)
"""Programs whose every tick is the same however the graph is cut; for the others, only the end is."""


def make(name: str, params: tuple[tuple[str, str], ...]) -> Program:
    """Creates the program of a run's record."""
    return PROGRAMS[name](**{key: json.loads(value) for key, value in params})


class SmallGraph:
    """Nodes 0 to n-1 and random edges, including parallel ones and loops."""

    def __init__(self, data: GraphData) -> None:
        self.data = data

    @classmethod
    def draw(cls, random: Random) -> SmallGraph:
        nodes, edges = random.randint(12, 60), random.randint(20, 160)
        source, target = (np.array([random.randrange(nodes) for _ in range(edges)], np.int64) for _ in range(2))
        ids = Table("nodes", {"id": np.arange(nodes, dtype=np.int64)})
        return cls(assemble(ids, Table("edges", {"source": source, "target": target}), PARTITIONS))

    def whole(self) -> ShardGraph:
        """Returns all of it as one shard's part."""
        return self.part("one", ("one",), (("one",),) * PARTITIONS)

    def part(self, shard: str, shards: tuple[str, ...], owners: tuple[tuple[str, ...], ...]) -> ShardGraph:
        """Returns one shard's part."""
        placement = Placement.of([holders[0] for holders in owners], shards)
        return part_of("small", self.data, placement, shards.index(shard))


def result(engine: Engine) -> dict[int, tuple[Any, ...]]:
    """Returns, by node, the bits of its committed columns."""
    return _rows(engine, [engine.result(column.name) for column in engine.program.columns])


def restored(graph: SmallGraph, program: Program, tick: int, states: Mapping[int, bytes]) -> dict[int, tuple[Any, ...]]:
    """Returns the same for a finished run, from the states on disks."""
    engine = Engine(graph.whole(), program)
    engine.restore(tick, states)
    return _rows(engine, [engine.ws.pending(column.name)[: engine.part.size] for column in program.columns])


def _rows(engine: Engine, values: Sequence[NDArray[Any]]) -> dict[int, tuple[Any, ...]]:
    columns = [column.view(np.int64) for column in values]
    table = np.stack(columns, axis=1) if columns else np.empty((engine.part.size, 0), np.int64)
    return {int(node): tuple(row.tolist()) for node, row in zip(engine.part.ordinals, table, strict=True)}


class Twin:
    """The reference: one engine, without messages or faults."""

    def __init__(self, graph: SmallGraph) -> None:
        self._graph = graph
        self._engines: dict[tuple[str, object], tuple[Engine, list[dict[int, bytes]]]] = {}

    def states(self, run: RunRecord, tick: int) -> dict[int, bytes] | None:
        """Returns, by partition, the state after a tick of a run; None if that depends on the cut."""
        if run.program not in CUT_ANYWHERE:
            return None
        key = (run.program, run.params)
        if key not in self._engines:
            self._engines[key] = (Engine(self._graph.whole(), make(run.program, run.params)), [])
        engine, known = self._engines[key]
        while len(known) <= tick:
            _tick(engine, len(known))
            known.append(engine.capture())
        return known[tick]

    def end(self, program: Program, ticks: int) -> tuple[int, dict[int, tuple[Any, ...]]]:
        """Returns the ticks that a run takes until it halts, at most `ticks`, and its result."""
        engine = Engine(self._graph.whole(), program)
        for tick in range(ticks + 1):
            _tick(engine, tick)
            if engine.halted() or tick == ticks:
                return tick, result(engine)
        raise AssertionError("unreachable")


def _tick(engine: Engine, tick: int) -> None:
    for phase in [phase for phase in engine.program.phases() if tick > 0 or phase is phase.ADVANCE]:
        engine.run(tick, phase)
        engine.settle(phase, {})

"""Tables of runs: the present primary of each partition reads its rows from the run's states.

A table is read from an engine that is restored from the states of one tick, in the present placement, and never run.
The last engine is kept, because clients read a table a partition at a time, and so are the last rows, because a large
partition is read in pieces.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.runtime.context import HostContext
from daemon.runtime.service import Service
from daemon.services.graphs.present import PresentParts
from daemon.services.programs.programs import Programs
from daemon.services.results.messages import TableReply, TableRequest
from daemon.services.results.results import Results
from daemon.state import GraphRemoved
from daemon.state.commands import Identity
from daemon.state.placement import sources
from daemon.state.records import RunRecord
from daemon.store import NotHeld
from shoal.api.errors import Failed, ProgramFailed, Refused, ShoalError, UnknownColumn
from shoal.engine.engine import Engine
from shoal.graph import columns as col
from shoal.graph.graph_data import BadGraph
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.frames import size_of
from shoal.program.failures import unreadable, words_of
from shoal.program.program import Program
from shoal.query.tables import TablePart, known_table, part_of_table

ROWS_MAX: Final = 1 << 16
"""The most rows at once."""
ANSWER_BYTES_MAX: Final = 1 << 18
"""The size of the rows in one message: heartbeats wait behind it (see `portions`). The client continues after them."""
ITS_OWN: Final = b"program"
"""Sent instead of an answer's specs if the program itself has failed."""


@dataclass(frozen=True)
class Piece:
    """Some rows of one partition, of `total` in it."""

    count: int
    total: int
    columns: Mapping[str, Any]

    def cut(self, count: int) -> Piece:
        """Returns the first rows, at least one."""
        count = max(1, count)
        return Piece(count, self.total, {name: values[:count] for name, values in self.columns.items()})


class Tables(Service[TableRequest, GraphRemoved]):
    """Both sides of reading tables, on one shard."""

    messages = (TableRequest,)
    replies = (TableReply,)
    events = (GraphRemoved,)

    def __init__(self, context: HostContext, parts: PresentParts, programs: Programs, results: Results) -> None:
        self._context, self._state = context, context.state
        self._parts, self._programs, self._results = parts, programs, results
        self._engine: tuple[tuple[str, int], Engine] | None = None
        self._rows: tuple[tuple[str, int, str, ShardGraph], TablePart] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def piece(self, asked: TableRequest) -> Piece:
        """Returns rows of a partition, wherever it is. Raises `Refused` or `Failed`."""
        registry, run = self._state.registry, self._run(asked.run)
        placed = registry.placements[run.graph]
        if not 0 <= asked.partition < len(placed):
            raise Refused(f"graph '{run.graph}' has partitions 0 to {len(placed) - 1}")
        holders = placed[asked.partition]
        if not holders:
            raise Refused(f"partition {asked.partition} of graph '{run.graph}' has no live holder")
        if holders[0] == self._context.me:
            return await self._here(asked)
        return _piece(holders[0], await self._context.rpc.call(holders[0], asked, TableReply))

    async def on_message(self, sender: Identity, message: TableRequest) -> TableReply:
        """Returns the requested rows to a peer."""
        asked = message
        try:
            piece = await self._here(asked)
            specs, frames = _on_the_wire(piece)
            if (size := size_of(frames)) > ANSWER_BYTES_MAX:
                piece = piece.cut(piece.count * ANSWER_BYTES_MAX // size)
                specs, frames = _on_the_wire(piece)
            return TableReply(asked.request, "", piece.count, piece.total, json.dumps(specs).encode(), tuple(frames))
        except (ShoalError, NotHeld) as problem:
            why = ITS_OWN if isinstance(problem, ProgramFailed) else b""
            return TableReply(asked.request, str(problem) or type(problem).__name__, 0, 0, why)

    def on_event(self, event: GraphRemoved) -> None:
        """Drops the kept engine and rows, since they may be of the removed graph."""
        self._forget()

    def _forget(self) -> None:
        self._engine = self._rows = None

    # -- within ----------------------------------------------------------------------------------------------------

    async def _here(self, asked: TableRequest) -> Piece:
        async with self._one_at_a_time:
            engine = await self._restored(self._run(asked.run), asked.tick)
            if asked.partition not in engine.part.partitions:
                raise Refused(f"partition {asked.partition} is not here in this view: try again")
            key = asked.run, asked.tick, f"{asked.table} {asked.partition}", engine.part
            if self._rows is None or self._rows[0] != key:
                self._rows = key, await self._read(engine, asked)
            rows = self._rows[1]
        last = min(asked.first + ROWS_MAX, len(rows))
        first = min(max(asked.first, 0), last)
        return Piece(last - first, len(rows), {name: values[first:last] for name, values in rows.columns.items()})

    async def _read(self, engine: Engine, asked: TableRequest) -> TablePart:
        """Runs the program's own code: its exception is the answer, and its engine is not used again."""
        what, program = f"table '{asked.table}' of run '{asked.run}'", type(engine.program)
        try:
            known = known_table(asked.run, program, asked.table)
            read, run = self._programs.read, self._run(asked.run)
            return await read(run, asked.tick, what, lambda: part_of_table(engine, known, asked.partition))
        except UnknownColumn:
            raise
        except Exception as error:
            self._forget()
            raise unreadable(what, error) from error

    async def _restored(self, run: RunRecord, tick: int) -> Engine:
        registry = self._state.registry
        part = await self._parts.of(registry.graphs[run.graph])
        if self._engine is None or self._engine[0] != (run.name, tick) or self._engine[1].part is not part:
            self._forget()
            others = sources(self._context.me, (), registry.view.names if registry.view is not None else ())
            states = await self._results.states(run, tick, part, others)
            try:
                program = await self._programs.make(run)
            except Exception as error:  # the program is foreign code
                raise Refused(f"run '{run.name}' can't be read: {words_of(error)}") from error
            self._engine = (run.name, tick), await asyncio.to_thread(_engine, program, tick, part, states)
        return self._engine[1]

    def _run(self, name: str) -> RunRecord:
        registry = self._state.registry
        run = registry.runs.get(name)
        if run is None or run.has_expired:
            raise Refused(f"there is no run '{name}' here, or its result has expired")
        return run


def _engine(program: Program, tick: int, part: ShardGraph, states: Mapping[int, Any]) -> Engine:
    engine = Engine(part, program)
    engine.restore(tick, states)
    return engine


def _on_the_wire(piece: Piece) -> tuple[list[tuple[str, Any]], list[Any]]:
    """Returns each column's spec, and the frames of all."""
    specs, frames = [], []
    for name, values in piece.columns.items():
        spec, its = col.to_wire(values)
        specs.append((name, spec))
        frames += its
    return specs, frames


def _piece(member: str, told: TableReply) -> Piece:
    """Decodes and checks a peer's rows."""
    if told.error:
        its_own = told.specs == ITS_OWN  # a retry would fail in the same way
        raise (ProgramFailed if its_own else Failed)(f"shard '{member}': {told.error}")
    try:
        specs: Sequence[Any] = json.loads(told.specs)
        reader = col.FrameReader(told.frames)
        columns = reader.columns([(str(name), spec) for name, spec in specs])
        reader.check_end()
    except (BadGraph, ValueError, TypeError) as problem:
        raise Failed(f"shard '{member}' sent invalid rows: {problem}") from problem
    if not columns or any(len(values) != told.count for values in columns.values()) or told.count > told.total:
        raise Failed(f"shard '{member}' sent columns of wrong lengths")
    return Piece(told.count, told.total, columns)

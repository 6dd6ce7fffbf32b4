"""Results of runs at their kept ticks; collects columns from all shards.

A run can be read at a tick whose states all partitions have on some disk: the last one of a finished run, and the last
few checkpoints of any. Each shard answers for its primary partitions, from its disk. Columns that were read last stay
in memory, and so do a run's new results if they are small; the total is bounded in bytes. Columns are collected by
ranges of ordinals, in id order, so that no shard ever holds a whole one; the top of a column is merged from all shards'
tops.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Never, TypeAlias, assert_never

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from daemon.runtime.context import HostContext
from daemon.runtime.rpc import together
from daemon.runtime.service import Service, types_of
from daemon.services.graphs.fetch import Fetching
from daemon.services.programs.programs import Programs
from daemon.services.results.digests import Digests
from daemon.services.results.messages import RowsReply, RowsRequest
from daemon.services.results.portions import Portions
from daemon.state import GraphRemoved, ResultsExpired, ViewInstalled
from daemon.state.records import RunRecord
from shoal.api.errors import Failed, Refused
from shoal.api.ranges import VALUES_MAX
from shoal.engine.engine import Engine
from shoal.graph import columns as col
from shoal.graph.graph_data import BadGraph
from shoal.graph.shard_graph import ShardGraph
from shoal.program.program import Program
from shoal.query.result import extreme_rows
from shoal.query.rows import STRETCH, null_of

COLUMNS_MAX = 64
KEPT_AT_ONCE = 8
"""A result of at most this part (1/8) of the memory is kept as its run ends: the control loop copies it."""


Events: TypeAlias = ViewInstalled | GraphRemoved | ResultsExpired


@dataclass(frozen=True)
class Rows:
    """Some nodes, by ordinal, and their values in some columns."""

    ordinals: NDArray[np.int64]
    ids: Any
    values: Mapping[str, NDArray[Any]]

    def at(self, rows: NDArray[Any]) -> Rows:
        """Returns the rows at these positions."""
        return Rows(
            self.ordinals[rows],
            col.take(self.ids, rows),
            {column: values[rows] for column, values in self.values.items()},
        )


@dataclass(frozen=True)
class Computed:
    """A run's visible columns at a tick, for the own nodes of a part, and the value that means null in each."""

    part: ShardGraph
    columns: Mapping[str, NDArray[Any]]
    nulls: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """The size of all columns."""
        return sum(values.nbytes for values in self.columns.values())

    def rows(self, asked: RowsRequest) -> Rows:
        """Returns own nodes in a range of ordinals, ascending; or the most extreme, best first. Raises `Refused`."""
        for column in asked.columns:
            if column not in self.columns:
                raise Refused(f"run '{asked.run}' has no column '{column}'")
        part, ordinals = self.part, self.part.ordinals
        if asked.top:
            (column,) = asked.columns
            values, null = self.columns[column], self.nulls.get(column)
            rows = extreme_rows(ordinals, values, asked.top, least=asked.least, null=null)
        else:
            order = part.by_ordinal
            first, last = np.searchsorted(ordinals[order], [asked.first, asked.last])
            rows = order[first:last]
        return Rows(ordinals, part.ids, {column: self.columns[column] for column in asked.columns}).at(rows)


class Results(Service[Never, Events]):
    """One shard's results, and its requests to others."""

    events = types_of(Events)

    def __init__(self, context: HostContext, fetching: Fetching, programs: Programs) -> None:
        self._context, self._fetching, self._programs = context, fetching, programs
        self._me, self._disk = context.me, context.disk
        self._memory_bytes = context.config.ticks.results_memory
        self._computed: OrderedDict[tuple[str, int], Computed] = OrderedDict()
        """By run and tick, the least recently used first."""
        self._digests = Digests()
        self._portions = Portions(STRETCH)

    def on_event(self, event: Events) -> None:
        """Drops results that have become useless."""
        match event:
            case ViewInstalled():  # the parts have changed: results are read again for them
                self._computed.clear()
            case GraphRemoved(runs=runs) | ResultsExpired(runs=runs):
                self._forget(run.name for run in runs)
            case _:
                assert_never(event)

    # -- this shard's results --------------------------------------------------------------------------------------

    def keep(self, run: str, tick: int, engine: Engine) -> None:
        """Keeps a finished run's results in memory if they are small; they are on disk anyway.

        A program with columns in a form of its own would have to convert them, but the control loop runs no program's
        code: such columns are read from the disk when needed.
        """
        if type(engine.program).collect is not Program.collect:
            return
        columns = {c.name: engine.result(c.name) for c in engine.program.columns if not c.hidden}
        computed = Computed(engine.part, columns, _nulls(type(engine.program)))
        if computed.nbytes <= self._memory_bytes // KEPT_AT_ONCE:
            self._remember(run, tick, _apart(computed))

    def _forget(self, runs: Iterable[str]) -> None:
        """Forgets results that are gone."""
        gone = set(runs)
        for key in [key for key in self._computed if key[0] in gone]:
            del self._computed[key]
        self._digests.forget(gone)

    @property
    def nbytes(self) -> int:
        """The bytes in memory."""
        return sum(computed.nbytes for computed in self._computed.values())

    def has(self, run: str, tick: int) -> bool:
        """Whether a tick of a run is in memory, in any placement."""
        return (run, tick) in self._computed

    def nulls(self, run: str, tick: int, columns: Sequence[str]) -> dict[str, Any]:
        """Returns the value that means null in each of these columns that has one. Raises `Refused`."""
        known = self._known(run, tick).nulls
        return {column: known[column] for column in columns if column in known}

    async def recall(self, run: RunRecord, tick: int, part: ShardGraph, sources: Sequence[str]) -> None:
        """Loads a run's columns at one of its ticks, for this shard's present part of the graph.

        Raises `Refused`.
        """
        known = self._computed.get((run.name, tick))
        if known is not None and known.part is part:
            self._computed.move_to_end((run.name, tick))
            return
        states = await self.states(run, tick, part, sources)
        try:
            program = await self._programs.make(run)
        except Exception as error:  # the program is foreign code
            raise Refused(f"the result of run '{run.name}' can't be read: {error}") from error
        self._remember(run.name, tick, await asyncio.to_thread(_computed, program, tick, part, states))

    async def states(self, run: RunRecord, tick: int, part: ShardGraph, sources: Sequence[str]) -> dict[int, Any]:
        """Returns the states of a part's partitions at a tick of a run.

        Fetches states that are not on this disk, because it was away at the time, from `sources`. Raises `Refused`.
        """
        read = await self._disk.do(lambda store: {p: store.stamped_state(run.number, tick, p) for p in part.partitions})
        made_in = None if run.active or tick < run.resumed else run.made_in(tick)
        states: dict[int, Any] = {p: found[1] for p, found in read.items() if found and made_in in (None, found[0])}
        missing = [partition for partition in read if partition not in states]
        states |= await self._fetching.states_from(sources, run.number, tick, missing, made_in)
        if len(states) < len(read):
            told = f"{len(read) - len(states)} of its partitions have no live holder"
            raise Refused(f"the result of run '{run.name}' is incomplete: {told}")
        return states

    def _remember(self, run: str, tick: int, computed: Computed) -> None:
        self._computed[run, tick] = computed
        self._computed.move_to_end((run, tick))
        while len(self._computed) > 1 and self.nbytes > self._memory_bytes:
            self._computed.popitem(last=False)

    def _known(self, run: str, tick: int) -> Computed:
        known = self._computed.get((run, tick))
        if known is None:
            raise Refused(f"tick {tick} of run '{run}' is no longer kept here")
        return known

    # -- requests of peers -----------------------------------------------------------------------------------------

    def answer(self, asked: RowsRequest) -> RowsReply:
        """Answers a peer's request for rows."""
        rows_max, columns_max = (VALUES_MAX, 1) if asked.top else (STRETCH, COLUMNS_MAX)
        many = (asked.top or asked.last - asked.first) > rows_max or len(asked.columns) > columns_max
        if many:
            return RowsReply(asked.request, "too many rows for one answer", 0, (), b"")
        try:
            rows = self._known(asked.run, asked.tick).rows(asked)
        except Refused as refused:
            return RowsReply(asked.request, str(refused), 0, (), b"")
        spec, frames = col.to_wire(rows.ids)
        dtypes = tuple(values.dtype.name for values in rows.values.values())
        frames = [rows.ordinals, *rows.values.values(), *frames]
        return RowsReply(asked.request, "", len(rows.ordinals), dtypes, json.dumps(spec).encode(), tuple(frames))

    # -- collecting columns ----------------------------------------------------------------------------------------

    async def top(self, run: str, tick: int, column: str, members: Sequence[str], count: int, least: bool) -> Rows:
        """Returns the most extreme values of all shards, best first, ties in id order."""
        rows = _joined(await self._gather(RowsRequest("", run, tick, (column,), 0, 0, count, least), members))
        null = self._known(run, tick).nulls.get(column)
        return rows.at(extreme_rows(rows.ordinals, rows.values[column], count, least=least, null=null))

    async def stretch(
        self, run: str, tick: int, columns: Sequence[str], members: Sequence[str], first: int, last: int, nodes: int
    ) -> Rows:
        """Returns the rows of the ordinals from `first` to before `last`, of `nodes`, in id order."""
        rows = await self._between(run, tick, columns, members, first, last)
        await self._digests.take(run, tick, first, nodes, rows.ids, rows.values)
        return rows

    async def digest(self, run: str, tick: int, column: str, members: Sequence[str], nodes: int) -> str:
        """Returns the digest of a column, computed once."""
        key = run, tick, column
        digest = self._digests.known(key)
        if digest is not None:
            return digest
        whole = Digests()
        for first in range(0, nodes, STRETCH) or (0,):
            last = min(first + STRETCH, nodes)
            rows = await self._between(run, tick, [column], members, first, last)
            await whole.take(run, tick, first, nodes, rows.ids, rows.values)
        digest = whole.known(key)
        assert digest is not None, "all of it was taken in, in its order"
        self._digests.keep(key, digest)
        return digest

    async def _between(
        self, run: str, tick: int, columns: Sequence[str], members: Sequence[str], first: int, last: int
    ) -> Rows:
        rows = _joined(await self._gather(RowsRequest("", run, tick, tuple(columns), first, last, 0, False), members))
        rows = rows.at(np.argsort(rows.ordinals, kind="stable"))
        if not np.array_equal(rows.ordinals, np.arange(first, last)):
            raise Failed(f"the shards do not hold every node of run '{run}' at tick {tick}")
        return rows

    async def _gather(self, asked: RowsRequest, members: Sequence[str]) -> list[Rows]:
        others = [member for member in members if member != self._me]
        theirs = await together(self._ask(member, asked) for member in others)
        mine = await asyncio.to_thread(self._known(asked.run, asked.tick).rows, asked)
        return [mine, *theirs]

    async def _ask(self, member: str, asked: RowsRequest) -> Rows:
        """Requests rows from one shard, a range of ordinals portion by portion."""
        if asked.top:
            return await self._ask_at_once(member, asked)
        portions, first = list[Rows](), asked.first
        while not portions or first < asked.last:
            last = min(first + self._portions.rows(member), asked.last)
            began = self._context.clock.monotonic_ns()
            portions.append(await self._ask_at_once(member, structs.replace(asked, first=first, last=last)))
            self._portions.took(member, (self._context.clock.monotonic_ns() - began) / 1e9)
            first = last
        return _joined(portions)

    async def _ask_at_once(self, member: str, asked: RowsRequest) -> Rows:
        """Requests rows from one shard, repeatedly while no answer comes: reads are idempotent."""
        return _rows(member, asked, await self._context.rpc.call(member, asked, RowsReply))


def _computed(program: Program, tick: int, part: ShardGraph, states: Mapping[int, Any]) -> Computed:
    """Recomputes the columns from the states of a tick."""
    engine = Engine(part, program)
    engine.restore(tick, states)
    columns = {c.name: engine.result(c.name) for c in engine.program.columns if not c.hidden}
    return _apart(Computed(part, columns, _nulls(type(engine.program))))


def _apart(computed: Computed) -> Computed:
    """Copies the columns: an engine's arrays also hold ghosts and other data."""
    return replace(computed, columns={name: values.copy() for name, values in computed.columns.items()})


def _nulls(program: type[Program]) -> dict[str, Any]:
    return {c.name: null for c in program.columns if (null := null_of(c)) is not None}


def _rows(member: str, asked: RowsRequest, told: RowsReply) -> Rows:
    """Decodes and checks a peer's rows."""
    if told.error:
        raise Failed(f"shard '{member}': {told.error}")
    width = len(asked.columns)
    try:
        if len(told.dtypes) != width or not set(told.dtypes) <= {"int64", "float64"} or len(told.frames) < width + 2:
            raise BadGraph("its frames do not match its columns")
        ordinals, *values = (
            col.from_wire({"type": name, "length": told.total}, [frame], "a column")
            for name, frame in zip(("int64", *told.dtypes), told.frames, strict=False)
        )
        ids = col.from_wire(json.loads(told.ids), told.frames[1 + width :], "the node ids")
        if len(ids) != told.total:
            raise BadGraph("the numbers of ids and values differ")
    except (BadGraph, ValueError) as problem:
        raise Failed(f"shard '{member}' sent an invalid part of the result: {problem}") from problem
    return Rows(ordinals, ids, dict(zip(asked.columns, values, strict=True)))


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.ordinals for part in parts]),
        col.concatenated([part.ids for part in parts]),
        {column: np.concatenate([part.values[column] for part in parts]) for column in parts[0].values},
    )

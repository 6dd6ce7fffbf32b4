"""What runs have computed, and putting a whole column together from all shards.

A result is the state of a run's last tick, which is on the disks of all holders of each partition. Each shard answers
for the partitions that it is primary of, from memory if the run ended here in this placement, else from its disk. A
column is gathered a stretch of ordinals at a time, in id order, so the digest of a column of any size takes the memory
of one stretch; the top of a column is the top of everyone's tops.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.admin.commands import Failed, Refused
from daemon.host.disk import Disk
from daemon.host.fetching import Fetching
from daemon.protocol.cluster_messages import ColumnPart, ColumnWanted
from daemon.protocol.registry import RunRecord
from shoal import columns as col
from shoal.engine import Engine
from shoal.graph_data import BadGraph
from shoal.installed import find_program
from shoal.part import Part
from shoal.program import read_params
from shoal.result import ColumnDigest, extreme_rows

STRETCH = 1 << 16
ASK_AGAIN_SECONDS = 1.0
GIVE_UP_SECONDS = 15.0
TOP_MAX = 100_000
DIGESTS_KEPT = 256


@dataclass(frozen=True)
class Rows:
    """Some nodes of a column, by ordinal."""

    ordinals: NDArray[np.int64]
    values: NDArray[Any]
    ids: Any


@dataclass(frozen=True)
class Computed:
    """The visible columns of one run, over the own nodes of a part."""

    part: Part
    columns: Mapping[str, NDArray[Any]]


class Results:
    """The finished runs of this shard, and questions to the others. `send` hands a message to a member."""

    def __init__(self, me: str, kept: int, disk: Disk, fetching: Fetching, send: Callable[[str, object], None]) -> None:
        self._me, self._kept, self._disk, self._fetching, self._send = me, kept, disk, fetching, send
        self._computed: OrderedDict[str, Computed] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[ColumnPart]] = {}
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()

    # -- what is here ----------------------------------------------------------------------------------------------

    def keep(self, run: str, engine: Engine) -> None:
        """A run is over: keep what it computed at hand, and of the oldest only what is on disk."""
        columns = {c.name: engine.result(c.name) for c in engine.program.columns if not c.hidden}
        self._remember(run, Computed(engine.part, columns))

    def drop_graph(self, graph: str) -> None:
        """A graph is gone, and its runs' results with it."""
        for run in [name for name, computed in self._computed.items() if computed.part.graph == graph]:
            del self._computed[run]

    async def recall(self, run: RunRecord, part: Part, sources: Sequence[str]) -> None:
        """Have a finished run's columns at hand, over the part that this shard has of the graph now.

        What is not on its disk, for it was away when the run ended, one of `sources` may have.
        """
        known = self._computed.get(run.name)
        if known is not None and known.part is part:
            return
        states = await self._disk.do(lambda store: {p: store.state(run.number, run.tick, p) for p in part.partitions})
        missing = [partition for partition, state in states.items() if state is None]
        states |= await self._fetching.states_from(sources, run.number, run.tick, missing)
        if any(states[partition] is None for partition in missing):
            told = f"none of {', '.join(sources)} has what is missing of it"
            raise Refused(f"the result of run '{run.name}' is not all here (see ticks.results_kept): {told}")
        self._remember(run.name, await asyncio.to_thread(_computed, run, part, states))

    def _remember(self, run: str, computed: Computed) -> None:
        self._computed[run] = computed
        self._computed.move_to_end(run)
        while len(self._computed) > self._kept:
            self._computed.popitem(last=False)

    def _known(self, run: str) -> Computed:
        if run not in self._computed:
            raise Refused(f"the results of run '{run}' are not here any more: run it again (see ticks.results_kept)")
        return self._computed[run]

    def _stretch(self, asked: ColumnWanted) -> Rows:
        """Own nodes of a stretch of ordinals, ascending; or the most extreme ones, best first."""
        computed = self._known(asked.run)
        if asked.column not in computed.columns:
            raise Refused(f"run '{asked.run}' has no column '{asked.column}'")
        part, values = computed.part, computed.columns[asked.column]
        ordinals = part.ordinals
        if asked.top:
            rows = extreme_rows(ordinals, values, asked.top, least=asked.least)
        else:
            order = part.by_ordinal
            first, last = np.searchsorted(ordinals[order], [asked.first, asked.last])
            rows = order[first:last]
        return Rows(ordinals[rows], values[rows], col.take(part.ids, rows))

    # -- what is asked of this shard, and answered to it -----------------------------------------------------------

    def answer(self, asked: ColumnWanted) -> ColumnPart:
        """A peer wants a part of a column."""
        if asked.top > TOP_MAX or (not asked.top and asked.last - asked.first > STRETCH):
            return ColumnPart(asked.request, "more than is given at once", 0, "", b"")
        try:
            rows = self._stretch(asked)
        except Refused as refused:
            return ColumnPart(asked.request, str(refused), 0, "", b"")
        spec, frames = col.to_wire(rows.ids)
        dtype = rows.values.dtype.name
        ids = json.dumps(spec).encode()
        return ColumnPart(asked.request, "", len(rows.ordinals), dtype, ids, (rows.ordinals, rows.values, *frames))

    def answered(self, part: ColumnPart) -> None:
        """A peer's answer."""
        waiting = self._waiting.get(part.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(part)

    # -- putting a column together ---------------------------------------------------------------------------------

    async def top(self, run: str, column: str, members: Sequence[str], count: int, least: bool) -> Rows:
        """The most extreme values of all shards, best first, ties in id order."""
        asked = ColumnWanted("", run, column, 0, 0, count, least)
        rows = _joined(await self._gather(asked, members))
        best = extreme_rows(rows.ordinals, rows.values, count, least=least)
        return Rows(rows.ordinals[best], rows.values[best], col.take(rows.ids, best))

    async def stretches(self, run: str, column: str, members: Sequence[str], nodes: int) -> AsyncIterator[Rows]:
        """The whole column in id order, a stretch at a time."""
        for first in range(0, nodes, STRETCH):
            asked = ColumnWanted("", run, column, first, min(first + STRETCH, nodes), 0, False)
            rows = _joined(await self._gather(asked, members))
            order = np.argsort(rows.ordinals, kind="stable")
            expected = np.arange(first, min(first + STRETCH, nodes))
            if not np.array_equal(rows.ordinals[order], expected):
                raise Failed(f"the shards do not hold every node of column '{column}' of run '{run}'")
            yield Rows(rows.ordinals[order], rows.values[order], col.take(rows.ids, order))

    async def digest(self, run: str, column: str, members: Sequence[str], nodes: int) -> str:
        """The digest of a column, worked out once."""
        if (run, column) not in self._digests:
            digest = ColumnDigest()
            async for rows in self.stretches(run, column, members, nodes):
                await asyncio.to_thread(digest.update, rows.ids, rows.values)
            self._digests[run, column] = digest.hexdigest()
            while len(self._digests) > DIGESTS_KEPT:
                self._digests.popitem(last=False)
        return self._digests[run, column]

    async def _gather(self, asked: ColumnWanted, members: Sequence[str]) -> list[Rows]:
        others = [member for member in members if member != self._me]
        theirs = await asyncio.gather(*(self._ask(member, asked) for member in others))
        mine = await asyncio.to_thread(self._stretch, asked)
        return [mine, *theirs]

    async def _ask(self, member: str, asked: ColumnWanted) -> Rows:
        """Ask one shard, again while nothing comes: a read may be repeated."""
        request = uuid.uuid4().hex
        waiting = self._waiting[request] = asyncio.get_running_loop().create_future()
        wanted = ColumnWanted(request, asked.run, asked.column, asked.first, asked.last, asked.top, asked.least)
        try:
            for _ in range(int(GIVE_UP_SECONDS / ASK_AGAIN_SECONDS)):
                self._send(member, wanted)
                done, _ = await asyncio.wait([waiting], timeout=ASK_AGAIN_SECONDS)
                if done:
                    return _rows(member, waiting.result())
            raise Failed(f"shard '{member}' has not sent its part of the column in {GIVE_UP_SECONDS:.0f} s")
        finally:
            del self._waiting[request]


def _computed(run: RunRecord, part: Part, states: Mapping[int, Any]) -> Computed:
    """The columns again, from the states of the last tick."""
    engine = Engine(part, find_program(run.program)(**read_params(run.params)))
    engine.restore(run.tick, states)
    columns = {c.name: engine.ws.pending(c.name) for c in engine.program.columns if not c.hidden}
    return Computed(part, columns)


def _rows(member: str, part: ColumnPart) -> Rows:
    """A peer's part, checked."""
    if part.error:
        raise Failed(f"shard '{member}': {part.error}")
    dtypes = {"int64": np.int64, "float64": np.float64}
    try:
        if part.dtype not in dtypes or len(part.frames) < 3:
            raise BadGraph("it is not cut as a column is")
        ordinals, values = (
            col.from_wire({"type": name, "length": part.total}, [frame], "a column")
            for name, frame in zip(("int64", part.dtype), part.frames, strict=False)
        )
        ids = col.from_wire(json.loads(part.ids), part.frames[2:], "the node ids")
        if len(ids) != part.total:
            raise BadGraph("it has not one id a value")
    except (BadGraph, ValueError) as problem:
        raise Failed(f"shard '{member}' sent a part of the column that makes no sense: {problem}") from problem
    return Rows(ordinals, values, ids)


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.ordinals for part in parts]),
        np.concatenate([part.values for part in parts]),
        col.concatenated([part.ids for part in parts]),
    )


def plain_rows(rows: Rows) -> list[dict[str, Any]]:
    """As JSON has them."""
    ids = rows.ids.to_pylist() if col.is_string(rows.ids) else rows.ids.tolist()
    return [{"id": node, "value": value} for node, value in zip(ids, rows.values.tolist(), strict=True)]

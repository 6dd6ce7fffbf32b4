"""What the admin socket answers about what runs have computed: at which ticks, the top of a column, and rows of all.

While a run goes on, its states come and go with its checkpoints, and while a view changes, so do its holders: what was
not to be had is tried again for a while, at a newer tick if none was named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from daemon.admin.commands import Failed, Refused, Registry, Reply, Request, Usage
from daemon.admin.known import Known
from daemon.host.results import COLUMNS_MAX, TOP_MAX, Rows
from daemon.host.runtime import Runtime
from daemon.protocol.registry import FAILED, RunRecord
from daemon.protocol.tick import State
from daemon.store import NotHeld
from shoal import columns as col
from shoal.errors import TickNotKept, did_you_mean
from shoal.result import plain_values
from shoal.snapshot import chosen_tick
from shoal.stretch import STRETCH

END_SECONDS = 5.0
PATIENCE_SECONDS, AGAIN_SECONDS = 20.0, 0.1
ROWS_SHOWN = 20


class ResultOperations:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime, self._known = runtime, Known(runtime)
        for name in ("run ticks", "run result", "run rows"):
            commands.bind(name, getattr(self, name.replace(" ", "_")))

    async def run_ticks(self, request: Request) -> Reply:
        run = await self._looked_up(request)
        ticks = await self._runtime.reading.ticks(run)
        return Reply({"run": run.name, "state": run.state, "tick": self._runtime.runs.tick_of(run), "ticks": ticks})

    async def run_result(self, request: Request) -> Reply:
        args, run = request.args, await self._looked_up(request)
        column = _known_columns(run, [args["column"]] if args["column"] else run.columns[:1])[0]
        count, results = args["top"] or ROWS_SHOWN, self._runtime.results
        if not 0 < count <= TOP_MAX:
            raise Usage(f"top should be from 1 to {TOP_MAX}")

        async def read(tick: int, members: Sequence[str], nodes: int) -> Reply:
            rows = await results.top(run.name, tick, column, members, count, args["least"])
            digest = await results.digest(run.name, tick, column, members, nodes)
            null = results.nulls(run.name, tick, [column]).get(column)
            said = {"run": run.name, "column": column, "tick": tick, "digest": digest, "count": nodes}
            return Reply({**said, "rows": _plain_rows(rows, column, null)})

        return await self._read(run, args["tick"], read)

    async def run_rows(self, request: Request) -> Reply:
        args, run = request.args, await self._looked_up(request)
        columns = _known_columns(run, args["columns"] or run.columns)
        first, count, results = args["first"], args["count"], self._runtime.results
        if first < 0 or not 0 < count <= STRETCH:
            raise Usage(f"first should be an ordinal, and count from 1 to {STRETCH}")

        async def read(tick: int, members: Sequence[str], nodes: int) -> Reply:
            last = min(first + count, nodes)
            rows = await results.stretch(run.name, tick, columns, members, min(first, nodes), last, nodes)
            is_digested = args["digest"] and last == nodes
            digests = {
                column: await results.digest(run.name, tick, column, members, nodes)
                for column in (columns if is_digested else ())
            }
            id_spec, frames = col.to_wire(rows.ids)
            specs = {}
            for column, values in rows.values.items():
                specs[column], its = col.to_wire(values)
                frames += its
            said = {"run": run.name, "tick": tick, "first": first, "count": len(rows.ordinals), "total": nodes}
            nulls = results.nulls(run.name, tick, columns)
            return Reply({**said, "id": id_spec, "columns": specs, "nulls": nulls, "digests": digests}, tuple(frames))

        return await self._read(run, args["tick"], read)

    # -- within ----------------------------------------------------------------------------------------------------

    async def _looked_up(self, request: Request) -> RunRecord:
        """The run that is asked about, as it is once the log has caught up with it."""
        run = await self._known.caught_up(request.args["run"])
        machine = self._runtime.ticks.machine(run.number)
        if machine is not None and machine.state is State.OVER:
            # Its last tick is done, and the log's word on it under way: who asks may have had it from another shard.
            await self._runtime.runs.kept(run.name, END_SECONDS)
        return self._known.run(run.name)

    async def _read(
        self, run: RunRecord, tick: int | None, read: Callable[[int, Sequence[str], int], Awaitable[Reply]]
    ) -> Reply:
        """Read a run at a tick, or the last that there is. `read` is given the tick, the members and how many nodes."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                at = await self._tick(run, tick)
                await self._runtime.reading.recall(run.name, at)
                view, nodes = self._runtime.shard.registry.view, self._known.graph(run.graph).node_count
                assert view is not None, "nothing is recalled without one"
                return await read(at, view.names, nodes)
            except TickNotKept as error:
                raise Refused(str(error), what=TickNotKept.__name__) from error
            except (Refused, Failed, NotHeld):
                registry = self._runtime.shard.registry
                if time.monotonic() > until or run.graph not in registry.graphs or registry.lost(run.graph):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)
            run = self._known.run(run.name)

    async def _tick(self, run: RunRecord, asked: int | None) -> int:
        """The tick to read at. One that is at hand here was committed when it was read, and is as good as ever."""
        if run.state == FAILED:
            raise TickNotKept(f"run '{run.name}' has no result: it is failed {run.failure}".rstrip())
        if not run.active and asked in (None, run.tick):
            return run.tick
        if asked is not None and self._runtime.results.has(run.name, asked):
            return asked
        return chosen_tick(run.name, run.state, await self._runtime.reading.ticks(run), asked)


def _known_columns(run: RunRecord, columns: Sequence[str]) -> list[str]:
    if not columns:
        raise Refused(f"run '{run.name}' has no column to read: all that its program computes is hidden")
    for column in columns:
        if column not in run.columns:
            hint, known = did_you_mean(column, run.columns), ", ".join(run.columns)
            raise Refused(f"run '{run.name}' has no column '{column}'{hint}; it has: {known}", what="UnknownColumn")
    if len(set(columns)) < len(columns) or len(columns) > COLUMNS_MAX:
        raise Usage(f"columns should be different ones, {COLUMNS_MAX} at most")
    return list(columns)


def _plain_rows(rows: Rows, column: str, null: Any) -> list[dict[str, Any]]:
    """As JSON has them."""
    ids = rows.ids.to_pylist() if col.is_string(rows.ids) else rows.ids.tolist()
    values = plain_values(rows.values[column], null)
    return [{"id": node, "value": value} for node, value in zip(ids, values, strict=True)]

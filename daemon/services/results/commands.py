"""Handles the admin socket's commands about results: columns, tables, and searches of documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from daemon.admin.registry import Registry
from daemon.runtime.context import HostContext
from daemon.services.known import Known
from daemon.services.results.messages import TableRequest
from daemon.services.results.reading import Reading
from daemon.services.results.readings import Readings
from daemon.services.results.results import COLUMNS_MAX, Results, Rows
from daemon.services.results.search import Searching
from daemon.services.results.tables import Tables
from daemon.services.runs.controller import RunController
from daemon.state.records import RunRecord
from shoal.api.command import Framed
from shoal.api.commands import results as api
from shoal.api.errors import Refused, UnknownColumn, Usage, did_you_mean
from shoal.graph import columns as col
from shoal.program.program import read_params
from shoal.query.result import plain_values
from shoal.query.search import Query, text_column
from shoal.query.tables import known_table

T = TypeVar("T")

ROWS_SHOWN = 20


class ResultCommands:
    """The handlers. A mistake of the caller's raises `Refused` or `Usage`, with a sentence."""

    def __init__(
        self,
        context: HostContext,
        known: Known,
        readings: Readings,
        results: Results,
        reading: Reading,
        tables: Tables,
        searching: Searching,
        runs: RunController,
        commands: Registry,
    ) -> None:
        self._context, self._known, self._readings, self._runs = context, known, readings, runs
        self._results, self._reading, self._tables, self._searching = results, reading, tables, searching
        commands.bind(
            api.RunTicks.answered_by(self.run_ticks),
            api.RunResult.answered_by(self.run_result),
            api.RunRows.answered_by(self.run_rows),
            api.RunTable.answered_by(self.run_table),
            api.RunSearch.answered_by(self.run_search),
        )

    async def run_ticks(self, asked: api.RunTicks) -> api.TicksReply:
        run = await self._readings.run_of(asked.run)
        ticks = await self._reading.ticks(run)
        return {"run": run.name, "state": run.shown, "tick": self._runs.tick_of(run), "ticks": ticks}

    async def run_result(self, asked: api.RunResult) -> api.ResultReply:
        run, results = await self._readings.run_of(asked.run), self._results
        column = _known_columns(run, [asked.column] if asked.column is not None else run.columns[:1])[0]

        async def read(tick: int, members: Sequence[str], nodes: int) -> api.ResultReply:
            rows = await results.top(run.name, tick, column, members, asked.top or ROWS_SHOWN, asked.least)
            digest = await results.digest(run.name, tick, column, members, nodes)
            null = results.nulls(run.name, tick, [column]).get(column)
            return {
                "run": run.name,
                "column": column,
                "tick": tick,
                "digest": digest,
                "count": nodes,
                "rows": _plain_rows(rows, column, null),
            }

        return await self._read(run, asked.tick, read)

    async def run_rows(self, asked: api.RunRows) -> Framed[api.RowsReply]:
        run, results = await self._readings.run_of(asked.run), self._results
        columns = _known_columns(run, asked.columns or run.columns)

        async def read(tick: int, members: Sequence[str], nodes: int) -> Framed[api.RowsReply]:
            last = min(asked.first + asked.count, nodes)
            rows = await results.stretch(run.name, tick, columns, members, min(asked.first, nodes), last, nodes)
            is_digested = asked.digest and last == nodes
            digests = {
                column: await results.digest(run.name, tick, column, members, nodes)
                for column in (columns if is_digested else ())
            }
            id_spec, frames = col.to_wire(rows.ids)
            specs = {}
            for column, values in rows.values.items():
                specs[column], its = col.to_wire(values)
                frames += its
            reply: api.RowsReply = {
                "run": run.name,
                "tick": tick,
                "first": asked.first,
                "count": len(rows.ordinals),
                "total": nodes,
                "id": id_spec,
                "columns": specs,
                "nulls": results.nulls(run.name, tick, columns),
                "digests": digests,
            }
            return Framed(reply, tuple(frames))

        return await self._read(run, asked.tick, read)

    async def run_table(self, asked: api.RunTable) -> Framed[api.TableReply]:
        run, partition, first = await self._readings.run_of(asked.run), asked.partition, asked.first
        partitions = self._known.graph_of(run).partition_count
        if partition >= partitions:
            raise Usage(f"partition should be from 0 to {partitions - 1}")
        if not partition and not first:  # the first request of every reader
            await self._check_table(run, asked.table)

        async def attempt(run: RunRecord, tick: int) -> Framed[api.TableReply]:
            piece = await self._tables.piece(TableRequest("", run.name, tick, asked.table, partition, first))
            specs, frames = {}, []
            for name, values in piece.columns.items():
                specs[name], its = col.to_wire(values)
                frames += its
            reply: api.TableReply = {
                "run": run.name,
                "table": asked.table,
                "tick": tick,
                "partition": partition,
                "partitions": partitions,
                "first": first,
                "count": piece.count,
                "total": piece.total,
                "columns": specs,
            }
            return Framed(reply, tuple(frames))

        return await self._readings.read(run, asked.tick, attempt)

    async def run_search(self, asked: api.RunSearch) -> api.SearchReply:
        run = self._known.run(asked.run)
        program = await self._readings.program_of(run)
        query = Query.of(asked.words)
        column = text_column(type(program), read_params(run.params))
        graph = self._known.graph_of(run)
        if column not in dict(graph.node_columns):
            raise UnknownColumn(f"the nodes of graph '{graph.name}' have no column '{column}'")
        found = await self._readings.patiently(
            run, lambda run: self._searching.search(run.load, column, query, asked.top)
        )
        return {"run": run.name, **found}

    # -- within ----------------------------------------------------------------------------------------------------

    async def _read(
        self, run: RunRecord, tick: int | None, read: Callable[[int, Sequence[str], int], Awaitable[T]]
    ) -> T:
        """Reads a run at a tick, or its last one. `read` takes the tick, the members and the number of nodes."""

        async def attempt(run: RunRecord, at: int) -> T:
            await self._reading.recall(run.name, at)
            view, nodes = self._context.state.registry.view, self._known.graph_of(run).node_count
            assert view is not None, "nothing is recalled without one"
            return await read(at, view.names, nodes)

        return await self._readings.read(run, tick, attempt)

    async def _check_table(self, run: RunRecord, table: str) -> None:
        """Checks that the table exists: retrying does not fix a wrong name."""
        program = await self._readings.program_of(run)
        known_table(run.name, type(program), table)


def _known_columns(run: RunRecord, columns: Sequence[str]) -> list[str]:
    if not columns:
        raise Refused(f"run '{run.name}' has no column to read: all columns of its program are hidden")
    for column in columns:
        if column not in run.columns:
            hint, known = did_you_mean(column, run.columns), ", ".join(run.columns)
            raise UnknownColumn(f"run '{run.name}' has no column '{column}'{hint}; it has: {known}")
    if len(set(columns)) < len(columns) or len(columns) > COLUMNS_MAX:
        raise Usage(f"columns should be at most {COLUMNS_MAX} different names")
    return list(columns)


def _plain_rows(rows: Rows, column: str, null: Any) -> list[api.ValueRow]:
    """Returns rows as JSON values."""
    ids = rows.ids.to_pylist() if col.is_string(rows.ids) else rows.ids.tolist()
    values = plain_values(rows.values[column], null)
    return [{"id": node, "value": value} for node, value in zip(ids, values, strict=True)]

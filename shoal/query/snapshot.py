"""A run as of one of its ticks, and the ways to read it: a column, a table, a stream, a file.

    run.result("rank").top(10)                      # after its last tick; while it goes on, after its last checkpoint
    run.at(tick=20).table(["rank"])                 # after one of `run.ticks_kept()`
    for batch in run.stream():                      # all columns, some 65,000 nodes at a time
        ...

Rows are read in stretches of nodes, from the shards that hold them; no process assembles more than the caller asks for.
The last stretch checks each column against the daemon's digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shoal.api.command import Command
from shoal.api.commands.results import RunTicks
from shoal.api.errors import TickNotKept
from shoal.graph.arrow import pa
from shoal.query.output import Output, kind_of
from shoal.query.result import ColumnResult, to_pandas
from shoal.query.rows import RowBatch
from shoal.query.tables import TableDigest, TablePart, TableResult, batch_of

R = TypeVar("R")


class Source(Protocol):
    """Provides the rows of runs."""

    def call(self, command: Command[R]) -> R:
        """Executes a command of the admin socket and returns its reply."""
        ...

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[RowBatch]:
        """Yields rows in id order, by default of all columns and at the last tick; at least one stretch."""
        ...

    def table_parts(self, run: str, table: str, tick: int | None) -> Iterator[TablePart]:
        """Yields the rows of a table for each partition, in order."""
        ...


class Reading:
    """Reads a run. `tick` None is the last tick at the time of reading.

    Methods raise `UnknownColumn` for an unknown column or table, `TickNotKept` for a tick that cannot be read.
    """

    def __init__(self, source: Source, run: str, tick: int | None) -> None:
        self._source, self._run, self._tick = source, run, tick

    def result(self, column: str) -> ColumnResult:
        """Returns a column, whole and in id order."""
        return ColumnResult.joined(column, list(self._stretches([column])))

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yields `pyarrow.RecordBatch`es in id order: `id` and the columns, by default all.

        Raises `ShoalError` before the last batch if the rows do not match the daemon's digest.
        """
        return (stretch.batch() for stretch in self._stretches(columns))

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """Returns the columns, by default all, as one `pyarrow.Table`."""
        return pa.Table.from_batches(list(self.stream(columns)))

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """Returns the columns, by default all, as a `pandas.DataFrame`. Raises `ShoalError` without pandas."""
        return to_pandas(self.table(columns))

    def save(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        progress: Callable[[RowBatch], None] | None = None,
    ) -> int:
        """Writes a `.csv`, `.parquet` or `.arrow` file, whole or not at all, and returns the number of rows.

        A CSV file has the header `id,value` for one column, and `id` and the names for several.
        """
        path = Path(path)
        kind_of(path)
        stretches = self._stretches(columns)
        first = next(stretches)
        with Output(path, list(first.values)) as output:
            for stretch in chain([first], stretches):
                if progress is not None:
                    progress(stretch)
                output.write(stretch.batch())
        return output.rows

    def table_rows(self, name: str) -> TableResult:
        """Returns a table that the program built beside the graph, whole."""
        return TableResult(self._run, name, list(self.table_parts(name)))

    def table_parts(self, name: str) -> Iterator[TablePart]:
        """Yields a table for each partition, of which only one is in memory."""
        return self._source.table_parts(self._run, name, self._tick)

    def save_table(self, name: str, path: str | Path) -> tuple[int, str]:
        """Writes a table to a file, as `save` writes columns. Returns the number of rows and the digest."""
        path, digest = Path(path), TableDigest()
        kind_of(path)
        parts = self.table_parts(name)
        first = next(parts)
        with Output(path, list(first.columns), by_id=False) as output:
            for part in chain([first], parts):
                digest.update(part)
                output.write(batch_of(part))
        return output.rows, digest.hexdigest()

    def _stretches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        return self._source.stretches(self._run, columns, self._tick)


class Snapshot(Reading):
    """A run as of one tick. Shoal keeps the tick for a limited time; see `Run.ticks_kept`."""

    def __init__(self, source: Source, run: str, tick: int) -> None:
        super().__init__(source, run, tick)
        self._at = tick

    def __repr__(self) -> str:
        return f"<Snapshot of {self._run!r} at tick {self._at}>"

    @property
    def run(self) -> str:
        """The name of the run."""
        return self._run

    @property
    def tick(self) -> int:
        """The tick of this snapshot."""
        return self._at


def snapshot(source: Source, run: str, tick: int | None) -> Snapshot:
    """Returns a run as of a tick at which it can be read, by default the last. Raises `TickNotKept`."""
    shown = source.call(RunTicks(run))
    return Snapshot(source, run, chosen_tick(run, shown["state"], shown["ticks"], tick))


def chosen_tick(run: str, state: str, ticks: Sequence[int], tick: int | None) -> int:
    """Returns the tick at which to read a run, of those that are kept. Raises `TickNotKept`.

    >>> chosen_tick("wcc-1", "running", [20, 30], None)
    30
    """
    if tick in ticks or (tick is None and ticks):
        return ticks[-1] if tick is None else tick
    if ticks:
        kept = ", ".join(map(str, ticks))
        raise TickNotKept(f"run '{run}' can't be read at tick {tick}: the ticks kept are {kept}")
    why = ", and has no checkpoint to read yet" if state in ("running", "stopping") else ""
    raise TickNotKept(f"run '{run}' has no result: it is {state}{why}")

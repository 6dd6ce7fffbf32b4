"""A run as it was after one of its ticks, and the ways to read it: a column, a table, a stream, a file.

    run.result("rank").top(10)                      # after its last tick; while it goes on, after its last checkpoint
    run.at(tick=20).table(["rank"])                 # after one of `run.ticks_kept()`
    for batch in run.stream():                      # all columns, some 65,000 nodes at a time
        ...

Everything is read a stretch of nodes after the other, and from whoever holds them: nobody puts more of it together than
is asked for. What has come is checked against the daemon's digest of each column when the last stretch is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from shoal.api.errors import TickNotKept
from shoal.graph.arrow import pa
from shoal.query.output import Output, kind_of
from shoal.query.result import ColumnResult, to_pandas
from shoal.query.rows import RowBatch
from shoal.query.tables import TableDigest, TablePart, TableResult, batch_of


class Source(Protocol):
    """Whoever has the rows of runs."""

    def call(self, command: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, in the vocabulary of the admin socket."""
        ...

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[RowBatch]:
        """Rows in id order, of all columns if none are named, at the last tick if none is; one stretch at least."""
        ...

    def table_parts(self, run: str, table: str, tick: int | None) -> Iterator[TablePart]:
        """The rows of a table, a partition at a time in their order: all partitions."""
        ...


class Reading:
    """What can be read of a run. `tick` None stands for its last tick, as of when it is read."""

    def __init__(self, source: Source, run: str, tick: int | None) -> None:
        self._source, self._run, self._tick = source, run, tick

    def result(self, column: str) -> ColumnResult:
        """A column, whole and in id order."""
        return ColumnResult.joined(column, list(self._stretches([column])))

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """`pyarrow.RecordBatch`es in id order: `id` and the columns (all of them, unless some are named).

        What was streamed is checked at its end: an error there says that it was not what the daemon has sent.
        """
        return (stretch.batch() for stretch in self._stretches(columns))

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """All of it as one `pyarrow.Table`."""
        return pa.Table.from_batches(list(self.stream(columns)))

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """All of it as a `pandas.DataFrame`. Raises `ShoalError` where pandas is not installed."""
        return to_pandas(self.table(columns))

    def save(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        progress: Callable[[RowBatch], None] | None = None,
    ) -> int:
        """Write it to a `.csv`, `.parquet` or `.arrow` file, whole or not at all, and give the number of rows.

        A CSV file has the header `id,value` for one column, and for several their names behind `id`.
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
        """A table that the program has built beside the graph, whole. Raises `UnknownColumn` where there is none."""
        return TableResult(self._run, name, list(self.table_parts(name)))

    def table_parts(self, name: str) -> Iterator[TablePart]:
        """The same, a partition at a time: never more of it is held."""
        return self._source.table_parts(self._run, name, self._tick)

    def save_table(self, name: str, path: str | Path) -> tuple[int, str]:
        """Write a table to a file, as `save` does with columns. Gives the number of rows and the digest."""
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
    """A run at one tick, and nothing that it did later. The tick is kept for a while; see `Run.ticks_kept`."""

    def __init__(self, source: Source, run: str, tick: int) -> None:
        super().__init__(source, run, tick)
        self._at = tick

    def __repr__(self) -> str:
        return f"<Snapshot of {self._run!r} at tick {self._at}>"

    @property
    def run(self) -> str:
        """The run's name."""
        return self._run

    @property
    def tick(self) -> int:
        """After which tick this is."""
        return self._at


def snapshot(source: Source, run: str, tick: int | None) -> Snapshot:
    """A run at one of the ticks at which it can be read, the last of them without one. Raises `TickNotKept`."""
    shown = source.call("run ticks", {"run": run})
    return Snapshot(source, run, chosen_tick(run, str(shown["state"]), shown["ticks"], tick))


def chosen_tick(run: str, state: str, ticks: Sequence[int], tick: int | None) -> int:
    """The tick to read a run at, of those that are kept. Raises `TickNotKept`.

    >>> chosen_tick("wcc-1", "running", [20, 30], None)
    30
    """
    if tick in ticks or (tick is None and ticks):
        return ticks[-1] if tick is None else tick
    if ticks:
        kept = ", ".join(map(str, ticks))
        raise TickNotKept(f"run '{run}' can't be read at tick {tick}: the ticks that are kept of it are {kept}")
    why = ", and there is nothing to be read of it yet" if state in ("running", "stopping") else ""
    raise TickNotKept(f"run '{run}' has no result: it is {state}{why}")

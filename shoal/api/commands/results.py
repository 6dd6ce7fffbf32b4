"""Commands that read the results of runs: columns, tables, and search in documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from shoal.api.command import REST, Command, command
from shoal.api.commands.names import RUN
from shoal.api.ranges import HITS_MAX, INT_MAX, ROWS_MAX, TICKS_MAX, VALUES_MAX, Within


class TicksReply(TypedDict):
    """The ticks at which a run can be read."""

    run: str
    state: str
    tick: int
    ticks: Annotated[
        list[int],
        "ascending: the last `ticks.checkpoints_kept` checkpoints that are committed and complete, and the last tick "
        "of a finished run",
    ]


@command("run ticks")
class RunTicks(Command[TicksReply]):
    """List the ticks at which a run can be read."""

    run: Annotated[str, "name of a run", RUN]


class ValueRow(TypedDict):
    """A node and its value."""

    id: Any
    value: Any


class ResultReply(TypedDict):
    """The extremes of a column."""

    run: str
    column: str
    tick: int
    digest: str
    count: int
    rows: Annotated[list[ValueRow], "20 unless `top` says otherwise; null values come last"]


@command("run result")
class RunResult(Command[ResultReply]):
    """Show the greatest values of a column; of an active run, as of its last checkpoint."""

    run: Annotated[str, "name of a run", RUN]
    column: Annotated[str | None, "name of a column; default: the program's first"] = None
    top: Annotated[int | None, "number of values, greatest first", Within(1, VALUES_MAX)] = None
    least: Annotated[bool, "show the least values instead"] = False
    tick: Annotated[
        int | None, "read the state after this tick; default: the last that can be read", Within(0, TICKS_MAX)
    ] = None


class RowsReply(TypedDict):
    """Rows of a run; the values follow as frames."""

    run: str
    tick: int
    first: int
    count: int
    total: int
    id: Mapping[str, Any]
    columns: Mapping[str, Any]
    nulls: Annotated[Mapping[str, Any], "by column, the value that represents null"]
    digests: Annotated[Mapping[str, str], "by column"]


@command("run rows", buffers=True)
class RunRows(Command[RowsReply]):
    """Read a range of rows of a run's columns, in id order, as buffers (for client libraries).

    The frames contain the ids, then each column, as described by `id` and `columns` (by name). To read a whole run,
    request one range after the other at the `tick` of the first answer, and compare the digests at the end.
    """

    run: Annotated[str, "name of a run", RUN]
    columns: Annotated[tuple[str, ...] | None, "names of columns; default: all"] = None
    tick: Annotated[
        int | None, "read the state after this tick; default: the last that can be read", Within(0, TICKS_MAX)
    ] = None
    first: Annotated[int, "the ordinal of the first row", Within(0, INT_MAX)] = 0
    count: Annotated[int, "number of rows, at most 65536", Within(1, ROWS_MAX)] = ROWS_MAX
    digest: Annotated[bool, "include the digest of each column with the last row"] = False


class TableReply(TypedDict):
    """Rows of a table; the values follow as frames."""

    run: str
    table: str
    tick: int
    partition: int
    partitions: int
    first: int
    count: int
    total: int
    columns: Mapping[str, Any]


@command("run table", buffers=True)
class RunTable(Command[TableReply]):
    """Read rows of one partition of a table that a run has built, as buffers (for client libraries).

    The frames contain each column, as described by `columns` (by name). To read a whole table, request one partition
    after the other at the `tick` of the first answer.
    """

    run: Annotated[str, "name of a run", RUN]
    table: Annotated[str, "name of a table"]
    tick: Annotated[
        int | None, "read the state after this tick; default: the last that can be read", Within(0, TICKS_MAX)
    ] = None
    partition: Annotated[int, "number of the partition", Within(0, INT_MAX)] = 0
    first: Annotated[int, "index of the first row, if the partition does not fit one answer", Within(0, INT_MAX)] = 0


class HitRow(TypedDict):
    """A document that was found."""

    id: Any
    score: float


class SearchReply(TypedDict):
    """The documents that were found."""

    run: str
    documents: Annotated[int, "their number"]
    terms: Annotated[Mapping[str, int], "by term, the number of documents that contain it"]
    hits: list[HitRow]


@command("run search")
class RunSearch(Command[SearchReply]):
    """Search the documents of a run; best matches first."""

    run: Annotated[str, "name of a run", RUN]
    words: Annotated[str, "words to search for", REST]
    top: Annotated[int, "number of documents", Within(1, HITS_MAX)] = 10

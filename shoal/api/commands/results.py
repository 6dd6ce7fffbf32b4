"""Commands about what runs have computed: columns, tables, and the documents that they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from shoal.api.command import REST, Command, command
from shoal.api.commands.names import RUN
from shoal.api.ranges import HITS_MAX, INT_MAX, ROWS_MAX, TICKS_MAX, VALUES_MAX, Within


class TicksReply(TypedDict):
    """At which ticks a run can be read."""

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
    """The ticks at which a run can be read."""

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
    """The extremes of a column that a run computed; while it goes on, as of its last checkpoint."""

    run: Annotated[str, "name of a run", RUN]
    column: Annotated[str | None, "which; the program's first without"] = None
    top: Annotated[int | None, "the largest so many, largest first", Within(1, VALUES_MAX)] = None
    least: Annotated[bool, "the smallest instead"] = False
    tick: Annotated[
        int | None, "as it was after this tick; after the last that can be read without", Within(0, TICKS_MAX)
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
    """Some rows of what a run computed, in id order, as buffers (for programs).

    The frames contain the ids, then each column, as described by `id` and `columns` (by name). To read a whole run,
    request one range after the other at the `tick` of the first answer, and compare the digests at the end.
    """

    run: Annotated[str, "name of a run", RUN]
    columns: Annotated[tuple[str, ...] | None, "which; all without"] = None
    tick: Annotated[
        int | None, "as they were after this tick; after the last that can be read without", Within(0, TICKS_MAX)
    ] = None
    first: Annotated[int, "the ordinal of the first row", Within(0, INT_MAX)] = 0
    count: Annotated[int, "how many, 65536 at most", Within(1, ROWS_MAX)] = ROWS_MAX
    digest: Annotated[bool, "with the last row, the digest of each column"] = False


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
    """Rows of a table that a run has built, of one partition, as buffers (for programs).

    The frames contain each column, as described by `columns` (by name). To read a whole table, request one partition
    after the other at the `tick` of the first answer.
    """

    run: Annotated[str, "name of a run", RUN]
    table: Annotated[str, "which"]
    tick: Annotated[
        int | None, "as it was after this tick; after the last that can be read without", Within(0, TICKS_MAX)
    ] = None
    partition: Annotated[int, "of which partition", Within(0, INT_MAX)] = 0
    first: Annotated[int, "the first row, for those that do not come at once", Within(0, INT_MAX)] = 0


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
    """The best-matching documents of a run, best first."""

    run: Annotated[str, "name of a run", RUN]
    words: Annotated[str, "what to search for", REST]
    top: Annotated[int, "how many", Within(1, HITS_MAX)] = 10

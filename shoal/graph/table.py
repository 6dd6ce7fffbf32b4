"""Rows for a graph: named columns and the origin of each row, so that an error can point at it.

A source (a file, arrays, another library's graph) becomes one table of edges and perhaps one of nodes;
`shoal.graph.assembly` builds a graph from them. A source knows files and lines, and assembly knows what is wrong with a
row: `Table.bad_row` combines the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shoal.api.errors import ShoalError

Column: TypeAlias = Any
"""int64, float64 or bool: a numpy array; strings: a pyarrow array, plain or a dictionary (`shoal.graph.columns`)."""


class BadGraph(ShoalError, ValueError):
    """Raised if the input is not a graph; the message states why and what to do."""


class BadRow(BadGraph):
    """Raised for an invalid row: `file`, `line` (from one; None if there is no line) and `reason`.

    >>> print(BadRow("edges.csv", 17, "column 'weight': 'abc' is not a float"))
    edges.csv:17: column 'weight': 'abc' is not a float
    >>> print(BadRow("edges.parquet", 17, "column 'n' has no value", unit="row"))
    edges.parquet: row 17: column 'n' has no value
    """

    def __init__(self, file: str, line: int | None, reason: str, unit: str = "line") -> None:
        self.file, self.line, self.reason, self.unit = file, line, reason, unit
        place = f":{line}" if unit == "line" else f": {unit} {line}"
        super().__init__(f"{file}{'' if line is None else place}: {reason}")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length under their names; `line` turns a row's position (from zero) into its line in the file."""

    name: str
    columns: Mapping[str, Column]
    unit: str = "row"
    line: Callable[[int], int | None] = lambda row: row + 1

    def bad_row(self, row: int, reason: str) -> BadRow:
        """Returns the error that names a row of this table."""
        return BadRow(self.name, self.line(row), reason, self.unit)

    def column(self, name: str) -> Column:
        """Returns the column of that name. Raises `BadGraph`, which lists the columns there are."""
        if name not in self.columns:
            known = ", ".join(repr(other) for other in self.columns) or "none"
            raise BadGraph(f"{self.name}: there is no column {name!r}; the columns are {known}")
        return self.columns[name]

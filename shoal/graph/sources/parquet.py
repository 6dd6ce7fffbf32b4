"""A table from a Parquet file; the columns' types come from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.graph.arrow import pa, pq
from shoal.graph.columns import column_of
from shoal.graph.sources.csv import TYPES
from shoal.graph.table import BadGraph, BadRow, Table


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A file whose schema has been read; `types` has None for a column whose type is not supported."""

    path: Path
    types: Mapping[str, str | None]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in order."""
        return tuple(self.types)

    def read(self, types: Mapping[str, str]) -> Table:
        """Returns all rows. Converts a column if `types` asks for another type than the file has."""
        try:
            table = pq.read_table(self.path, memory_map=True)
        except (pa.ArrowException, OSError) as problem:
            raise BadRow(str(self.path), None, f"the file is damaged: {problem}") from None
        columns = {}
        for name in self.names:
            column, what = table.column(name), f"{self.path}: column {name!r}"
            if name in types and types[name] != self.types[name]:
                try:
                    column = column.cast(TYPES[types[name]])
                except pa.ArrowException as problem:
                    raise BadGraph(f"{what} cannot be made {types[name]}: {problem}") from None
            columns[name] = column_of(column, what)
        return Table(str(self.path), columns)


def open_parquet(path: Path) -> ParquetFile:
    """Reads a file's schema."""
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise BadRow(str(path), None, "there is no such file") from None
    except (pa.ArrowException, OSError) as problem:
        raise BadRow(str(path), None, f"the file is not Parquet, or damaged: {problem}") from None
    if len(set(schema.names)) < len(schema.names):
        raise BadRow(str(path), None, "two columns have the same name; rename one")
    return ParquetFile(path, {field.name: _type(field.type) for field in schema})


def _type(kind: Any) -> str | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_boolean(kind):
        return "bool"
    return (
        "str" if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else None
    )

"""Tables that runs have built, read a partition at a time, and the digest that pins one to the bit.

The digest is SHA-256 over, for each partition in order: its number of rows (8 bytes, little-endian), and for each field
in the table's order its values; numbers take 8 bytes each, strings first all lengths (8 bytes each, in UTF-8), then all
bytes. It depends on nothing but the rows, so it is the same on any number of shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from shoal.api.errors import UnknownColumn, did_you_mean
from shoal.engine.engine import Engine
from shoal.graph import columns as col
from shoal.graph.arrow import pa
from shoal.kernels.merging import one_nan
from shoal.program.declarations import Table
from shoal.program.program import Program
from shoal.query.result import to_pandas


@dataclass(frozen=True)
class TablePart:
    """The rows of one partition, a column for each field; `partitions` there are in all."""

    partition: int
    partitions: int
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class TableDigest:
    """Works a digest out, one partition after the other."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, part: TablePart) -> None:
        """The next partition."""
        self._hash.update(len(part).to_bytes(8, "little"))
        for values in part.columns.values():
            if not col.is_string(values):
                little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
                self._hash.update(little.tobytes())
                continue
            texts = [text.encode() for text in values.to_pylist()]
            self._hash.update(np.array([len(text) for text in texts], "<i8").tobytes())
            self._hash.update(b"".join(texts))

    def hexdigest(self) -> str:
        """The digest of all partitions so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class TableResult:
    """A whole table: its parts in the order of the partitions."""

    run: str
    name: str
    parts: Sequence[TablePart]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for part in self.parts:
            yield from zip(*(values.tolist() for values in part.columns.values()), strict=True)

    @cached_property
    def digest(self) -> str:
        """The same on any number of shards."""
        digest = TableDigest()
        for part in self.parts:
            digest.update(part)
        return digest.hexdigest()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of its columns."""
        return tuple(self.parts[0].columns)

    def to_arrow(self) -> Any:
        """As one `pyarrow.Table`."""
        return pa.Table.from_batches([batch_of(part) for part in self.parts])

    def to_pandas(self) -> Any:
        """As a `pandas.DataFrame`. Raises `ShoalError` where pandas is not installed."""
        return to_pandas(self.to_arrow())


def batch_of(part: TablePart) -> Any:
    """As a `pyarrow.RecordBatch`."""
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in part.columns.items()})


def known_table(run: str, program: type[Program], name: str) -> Table:
    """The table of that name. Raises `UnknownColumn`."""
    tables = {table.name: table for table in program.tables}
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise UnknownColumn(f"run '{run}' has no table '{name}'{did_you_mean(name, tables)}; it has: {known}")
    return tables[name]


def part_of_table(engine: Engine, table: Table, partition: int) -> TablePart:
    """An own partition's rows, as the program gives them and in the types that it has declared."""
    rows = engine.rows(table.name, partition)
    columns = {}
    for name, kind in table.fields:
        values = rows[name]
        is_text = kind == "string"
        columns[name] = pa.array(values, pa.string()) if is_text else one_nan(np.asarray(values, col.NUMBERS[kind]))
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(f"table '{table.name}': its columns have not one length in partition {partition}")
    return TablePart(partition, engine.part.partition_count, columns)


def parts_of_table(engines: Sequence[Engine], table: Table) -> Iterator[TablePart]:
    """All partitions in order, where all engines are at hand."""
    holder = {partition: engine for engine in engines for partition in engine.part.partitions}
    for partition in sorted(holder):
        yield part_of_table(holder[partition], table, partition)

"""Tables that runs built, read one partition at a time, and the digest that identifies one bit for bit.

For each partition in order, SHA-256 covers the number of rows (8 bytes, little-endian) and the values of each field in
the table's order: 8 bytes for each number; for strings first all lengths (8 bytes each, in UTF-8), then all bytes. The
digest depends only on the rows, so it is the same on any number of shards.
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
    """The rows of one partition, a column for each field; `partitions` is the number of all partitions."""

    partition: int
    partitions: int
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class TableDigest:
    """Computes a digest, one partition after the other."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, part: TablePart) -> None:
        """Adds the next partition."""
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
        """Returns the digest of all partitions so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class TableResult:
    """A whole table: its parts in the order of the partitions. `len` is the number of rows; iteration yields tuples."""

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
        """SHA-256 over all rows, in hexadecimal; the same on any number of shards."""
        digest = TableDigest()
        for part in self.parts:
            digest.update(part)
        return digest.hexdigest()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.parts[0].columns)

    def to_arrow(self) -> Any:
        """Returns the rows as one `pyarrow.Table`."""
        return pa.Table.from_batches([batch_of(part) for part in self.parts])

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`. Raises `ShoalError` if pandas is not installed."""
        return to_pandas(self.to_arrow())


def batch_of(part: TablePart) -> Any:
    """Returns a part as a `pyarrow.RecordBatch`."""
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in part.columns.items()})


def known_table(run: str, program: type[Program], name: str) -> Table:
    """Returns the table of that name. Raises `UnknownColumn`."""
    tables = {table.name: table for table in program.tables}
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise UnknownColumn(f"run '{run}' has no table '{name}'{did_you_mean(name, tables)}; it has: {known}")
    return tables[name]


def part_of_table(engine: Engine, table: Table, partition: int) -> TablePart:
    """Returns the rows of an own partition, in the types that the program declares."""
    rows = engine.rows(table.name, partition)
    columns = {}
    for name, kind in table.fields:
        values = rows[name]
        is_text = kind == "string"
        columns[name] = pa.array(values, pa.string()) if is_text else one_nan(np.asarray(values, col.NUMBERS[kind]))
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(f"table '{table.name}': its columns differ in length in partition {partition}")
    return TablePart(partition, engine.part.partition_count, columns)


def parts_of_table(engines: Sequence[Engine], table: Table) -> Iterator[TablePart]:
    """Yields all partitions in order, from engines that together hold all of them."""
    holder = {partition: engine for engine in engines for partition in engine.part.partitions}
    for partition in sorted(holder):
        yield part_of_table(holder[partition], table, partition)

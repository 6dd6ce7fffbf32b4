"""A column that a run computed, over the whole graph in id order, and the digest that identifies it bit for bit.

The digest is SHA-256 over two SHA-256: that of the node ids (as text, each followed by a newline) and that of the
column's bytes (little-endian, 8 each), both in id order. It can be computed one stretch of ids at a time, and depends
only on the ids and the values.

A column may have a value that means none (`Column(null=…)`), such as the distance of an unreachable node. Python
values, CSV and tables show it as None, an empty field or a null; numpy arrays and the digest use the value itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import ShoalError
from shoal.graph import columns as col
from shoal.graph.arrow import pa, pc
from shoal.query.rows import RowBatch, null_mask


class ColumnDigest:
    """Computes a digest, one stretch of the column after the other in id order."""

    def __init__(self) -> None:
        self._ids, self._values = hashlib.sha256(), hashlib.sha256()

    def update(self, ids: Any, values: NDArray[Any]) -> None:
        """Adds the next stretch."""
        text = pa.array(ids).cast(pa.string()) if isinstance(ids, np.ndarray) else col.plain(ids)
        lines = pc.binary_join_element_wise(text, "", "\n")
        _, frames = col.to_wire(lines)
        self._ids.update(memoryview(frames[1]))
        little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        self._values.update(little.tobytes())

    def hexdigest(self) -> str:
        """Returns the digest of all stretches so far."""
        return hashlib.sha256(self._ids.digest() + self._values.digest()).hexdigest()


@dataclass(frozen=True)
class ColumnResult:
    """Node ids and values in id order, as of tick `tick`; `null` is the value that stands for none.

    `len` is the number of nodes; iteration yields pairs of id and value, None for `null`.
    """

    run: str
    column: str
    ids: Any
    values: NDArray[Any]
    null: Any = None
    tick: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return zip(self._plain_ids(self.ids), plain_values(self.values, self.null), strict=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over node ids and values, in hexadecimal; the same on any number of shards."""
        digest = ColumnDigest()
        digest.update(self.ids, self.values)
        return digest.hexdigest()

    def top(self, count: int = 20, *, least: bool = False) -> list[tuple[Any, Any]]:
        """Returns `count` pairs of node and value: the greatest (or least) values, best first.

        Ties are in id order; nodes without a value come last.
        """
        rows = extreme_rows(np.arange(len(self.values)), self.values, count, least=least, null=self.null)
        values = plain_values(self.values[rows], self.null)
        return list(zip(self._plain_ids(col.take(self.ids, rows)), values, strict=True))

    def to_dict(self) -> dict[Any, Any]:
        """Returns the values by node id; None where there is no value."""
        return dict(self)

    def to_numpy(self) -> NDArray[Any]:
        """Returns the values, in id order; `null` where there is no value."""
        return self.values

    def to_arrow(self) -> Any:
        """Returns a `pyarrow.Table` with `id` and the column; a null where there is no value."""
        stretch = RowBatch(self.run, self.tick, 0, len(self), self.ids, {self.column: self.values}, self._nulls)
        return pa.Table.from_batches([stretch.batch()])

    def to_pandas(self) -> Any:
        """Returns the same as a `pandas.DataFrame`. Raises `ShoalError` if pandas is not installed."""
        return to_pandas(self.to_arrow())

    def to_parquet(self, path: str | Path) -> None:
        """Writes the column to a Parquet file, whole or not at all."""
        self._write(path, "parquet")

    def to_csv(self, path: str | Path) -> None:
        """Writes the column to a CSV file with the header `id,value`, whole or not at all."""
        self._write(path, "csv")

    def _write(self, path: str | Path, kind: str) -> None:
        from shoal.query.output import Output

        with Output(Path(path), [self.column], kind) as output:
            for batch in self.to_arrow().to_batches():
                output.write(batch)

    @property
    def _nulls(self) -> dict[str, Any]:
        return {} if self.null is None else {self.column: self.null}

    @classmethod
    def joined(cls, column: str, stretches: Sequence[RowBatch]) -> ColumnResult:
        """Returns the column of all stretches, at least one, in id order."""
        first = stretches[0]
        ids = first.ids if len(stretches) == 1 else col.concatenated([stretch.ids for stretch in stretches])
        values = np.concatenate([stretch.values[column] for stretch in stretches])
        return cls(first.run, column, ids, values, first.nulls.get(column), first.tick)

    @staticmethod
    def _plain_ids(ids: Any) -> list[Any]:
        return list(ids.tolist() if isinstance(ids, np.ndarray) else ids.to_pylist())


def extreme_rows(
    ordinals: NDArray[Any], values: NDArray[Any], count: int, *, least: bool = False, null: Any = None
) -> NDArray[Any]:
    """Returns the rows of the `count` greatest (least) values, best first, ties by ordinal; NaN, then `null` last."""
    nowhere = null_mask(values, null)
    if nowhere is None:
        return _extreme_rows(ordinals, values, count, least)
    somewhere, nowhere_rows = np.flatnonzero(~nowhere), np.flatnonzero(nowhere)
    best = somewhere[_extreme_rows(ordinals[somewhere], values[somewhere], count, least)]
    rest = nowhere_rows[np.argsort(ordinals[nowhere_rows], kind="stable")]
    return np.concatenate([best, rest[: max(0, count - len(best))]])


def _extreme_rows(ordinals: NDArray[Any], values: NDArray[Any], count: int, least: bool) -> NDArray[Any]:
    count = min(count, len(values))
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    falling = np.negative if values.dtype.kind == "f" else np.invert  # -v overflows for the least integer, ~v does not
    key = values if least else falling(values)
    rows = np.arange(len(values))
    if count < len(values):
        last = np.partition(key, count - 1)[count - 1]
        if last == last:  # not NaN, which numpy sorts last and which compares unequal to everything
            rows = np.flatnonzero(key <= last)
    order = np.lexsort((ordinals[rows], key[rows]))
    return rows[order][:count]


def plain_values(values: NDArray[Any], null: Any) -> list[Any]:
    """Returns values as Python objects, None where there is no value.

    >>> plain_values(np.array([2, -1]), -1)
    [2, None]
    """
    plain: list[Any] = values.tolist()
    nowhere = null_mask(values, null)
    if nowhere is not None:
        for row in np.flatnonzero(nowhere).tolist():
            plain[row] = None
    return plain


def to_pandas(table: Any) -> Any:
    """Returns an Arrow table as a `pandas.DataFrame`. Raises `ShoalError` if pandas is not installed."""
    try:
        import pandas  # noqa: F401 -- Arrow needs it, and says so less clearly
    except ImportError as error:
        raise ShoalError("pandas is not installed: pip install 'shoal[pandas]', or use to_arrow()") from error
    return table.to_pandas()

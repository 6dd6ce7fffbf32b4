"""A column that a run has computed, over the whole graph in id order, and the digest that pins it to the bit.

The digest is SHA-256 over two SHA-256: that of the node ids (as text, each with a newline behind it) and that of the
column's bytes (little-endian, 8 each), both in id order. It can be worked out a stretch of ids at a time, and depends
on nothing but the ids and the values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shoal import columns as col


class ColumnDigest:
    """Works a digest out, one stretch of the column after the other in id order."""

    def __init__(self) -> None:
        self._ids, self._values = hashlib.sha256(), hashlib.sha256()

    def update(self, ids: Any, values: NDArray[Any]) -> None:
        """The next stretch."""
        text = pa.array(ids).cast(pa.string()) if isinstance(ids, np.ndarray) else col.plain(ids)
        lines = pc.binary_join_element_wise(text, "", "\n")
        _, frames = col.to_wire(lines)
        self._ids.update(memoryview(frames[1]))
        little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        self._values.update(little.tobytes())

    def hexdigest(self) -> str:
        """The digest of all stretches so far."""
        return hashlib.sha256(self._ids.digest() + self._values.digest()).hexdigest()


@dataclass(frozen=True)
class ColumnResult:
    """Node ids and values in id order."""

    run: str
    column: str
    ids: Any
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return zip(self._plain_ids(self.ids), self.values.tolist(), strict=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over node ids and values; the same on any number of shards."""
        digest = ColumnDigest()
        digest.update(self.ids, self.values)
        return digest.hexdigest()

    def top(self, count: int = 20, *, least: bool = False) -> list[tuple[Any, Any]]:
        """The greatest values with their nodes (or the least), ties in id order."""
        rows = extreme_rows(np.arange(len(self.values)), self.values, count, least=least)
        return list(zip(self._plain_ids(col.take(self.ids, rows)), self.values[rows].tolist(), strict=True))

    def to_dict(self) -> dict[Any, Any]:
        """Values by node id."""
        return dict(self)

    def to_numpy(self) -> NDArray[Any]:
        """The values, in id order."""
        return self.values

    @classmethod
    def joined(cls, run: str, column: str, stretches: Sequence[Any]) -> ColumnResult:
        """From stretches in id order, each with `ids` and `values`."""
        if not stretches:
            return cls(run, column, np.empty(0, np.int64), np.empty(0, np.float64))
        ids = col.concatenated([stretch.ids for stretch in stretches])
        return cls(run, column, ids, np.concatenate([stretch.values for stretch in stretches]))

    @staticmethod
    def _plain_ids(ids: Any) -> list[Any]:
        return list(ids.tolist() if isinstance(ids, np.ndarray) else ids.to_pylist())


def extreme_rows(ordinals: NDArray[Any], values: NDArray[Any], count: int, *, least: bool = False) -> NDArray[Any]:
    """The rows of the `count` greatest (least) values, best first, ties by ordinal; NaN comes last either way."""
    count = min(count, len(values))
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    falling = np.negative if values.dtype.kind == "f" else np.invert  # -v has no value for the least integer, ~v has
    key = values if least else falling(values)
    rows = np.arange(len(values))
    if count < len(values):
        last = np.partition(key, count - 1)[count - 1]
        if last == last:  # not NaN, which numpy sorts behind everything and compares with nothing
            rows = np.flatnonzero(key <= last)
    order = np.lexsort((ordinals[rows], key[rows]))
    return rows[order][:count]

"""Groups items by small integers: the counting sort that orders nodes and edges.

    keys      2 0 1 0        starts   0 2 3 4             pile 0 begins at 0, pile 1 at 2, ...
    values    a b c d        deal     b d c a             stable: what has one key stays as it stood

One pass counts and one deals, so the time is linear and nothing is compared. Items whose key is not the number of a
pile are left out. The loops are compiled (`native/grouping.c`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native

Array = NDArray[Any]

_WIDE = {np.dtype(np.bool_): np.uint8, np.dtype(np.uint16): np.int32, np.dtype(np.int16): np.int32}


FLAGS_EACH = 64
"""Reading this many flags takes as long as sorting one number among others."""

BLOCK = 1 << 15
"""Rows that are looked up at a time: as wide integers, they fit a second-level cache."""


def taken(table: Array, rows: Array) -> Array:
    """Returns `table[rows]` for rows known to be in range.

    numpy first converts all rows to 64 bits, which for a graph's edges takes more bytes than the result. One block at a
    time stays in the cache.

    >>> taken(np.array([5.0, 7.0]), np.array([1, 0, 1], np.int32)).tolist()
    [7.0, 5.0, 7.0]
    """
    found = np.empty(len(rows), table.dtype)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        np.take(table, rows[block], out=found[block], mode="clip")  # "raise" would fill a buffer first
    return found


def distinct(values: Array, below: int | None = None) -> Array:
    """Returns the distinct numbers, ascending. With `below`, all must be at least 0 and less than it.

    numpy's `unique` hashes them, which takes four times as long as sorting from a thousand on, and fifteen times at a
    million (2.4). Many small numbers need no sort: they set flags, which are read in order.

    >>> distinct(np.array([3, 1, 3])).tolist(), distinct(np.array([3, 1, 3]), below=4).tolist()
    ([1, 3], [1, 3])
    """
    if below is not None and below <= FLAGS_EACH * len(values):
        flags = np.zeros(below, np.bool_)
        flags[values] = True
        return np.flatnonzero(flags)
    ordered = np.sort(values)
    if len(ordered) < 2:
        return ordered
    first = np.empty(len(ordered), np.bool_)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


class Grouping:
    """Items by key, in piles from 0. `starts` has the beginning of each pile, followed by the total number of items.

    >>> grouping = Grouping(np.array([2, 0, 1, 0], np.int32), 3)
    >>> grouping.starts.tolist(), grouping.order().tolist(), grouping.deal(np.array([7.0, 5.0, 6.0, 5.5])).tolist()
    ([0, 2, 3, 4], [1, 3, 2, 0], [5.0, 5.5, 6.0, 7.0])
    """

    def __init__(self, keys: Array, piles: int) -> None:
        self.keys = np.ascontiguousarray(keys, _WIDE.get(keys.dtype))
        self.starts: NDArray[np.int64] = np.empty(piles + 1, np.int64)
        _native.tally(self.keys, self.starts)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def deal(self, values: Array) -> Array:
        """Returns the values, one per item, by key."""
        dealt = np.empty(len(self), values.dtype)
        _native.deal(self.keys, self.starts, np.ascontiguousarray(values), dealt)
        return dealt

    def order(self, through: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Returns the item at each position. With the order by another key as `through`: by this key, then that."""
        placed = np.empty(len(self), np.int32)
        _native.order(self.keys, self.starts, through, placed)
        return placed

"""A table in memory whose rows are found by an integer key: sorted keys, and a column each for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels.grouping import distinct

Array = NDArray[Any]


class KeyedTable:
    """Rows in the order of their keys. A column is read and written as an attribute of `columns`.

    >>> sheet = KeyedTable(weight=np.float64)
    >>> sheet.ensure(np.array([7, 3])).tolist()
    [1, 0]
    >>> sheet["weight"][sheet.find(np.array([7]))] = 0.5
    >>> sheet.keep(sheet["weight"] > 0)
    >>> sheet.keys.tolist(), sheet.find(np.array([3, 7])).tolist()
    ([7], [-1, 0])
    """

    def __init__(self, **dtypes: Any) -> None:
        self.keys: NDArray[np.int64] = np.empty(0, np.int64)
        self.columns: dict[str, Array] = {name: np.empty(0, dtype) for name, dtype in dtypes.items()}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def find(self, keys: Array) -> NDArray[np.int64]:
        """Returns the row of each key; -1 where there is none."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)

    def missing(self, keys: Array) -> NDArray[np.int64]:
        """Returns the distinct keys that have no row, ascending."""
        return distinct(keys[self.find(keys) < 0])

    def ensure(self, keys: Array, defaults: Mapping[str, Any] | None = None) -> NDArray[np.int64]:
        """Returns the row of each key; creates rows with zeros or the `defaults` for keys that have none."""
        new = self.missing(keys)
        if len(new):
            at = np.searchsorted(self.keys, new)
            self.keys = np.insert(self.keys, at, new)
            for name, column in self.columns.items():
                self.columns[name] = np.insert(column, at, (defaults or {}).get(name, 0))
        return np.searchsorted(self.keys, keys)

    def put(self, keys: Array, columns: Mapping[str, Array]) -> None:
        """Adds rows, with all their values, for keys that have none."""
        keys = np.concatenate([self.keys, keys])
        order = np.argsort(keys, kind="stable")
        self.keys = keys[order]
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, columns[name]])[order]

    def keep(self, rows: Array) -> None:
        """Keeps the rows selected by a mask."""
        if rows.all():
            return
        self.keys = self.keys[rows]
        for name, column in self.columns.items():
            self.columns[name] = column[rows]


def pair(left: Array, right: Array) -> NDArray[np.int64]:
    """Returns two numbers below 2**31 as one key, ordered by the left one first."""
    key: NDArray[np.int64] = (left.astype(np.int64) << 32) | right.astype(np.int64)
    return key


def left_of(keys: Array) -> NDArray[np.int64]:
    """Returns the left number of a key."""
    left: NDArray[np.int64] = keys >> 32
    return left


def right_of(keys: Array) -> NDArray[np.int64]:
    """Returns the right number of a key."""
    right: NDArray[np.int64] = keys & 0xFFFFFFFF
    return right

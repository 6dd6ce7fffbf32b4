"""Merges numbers into one whose bits depend neither on their order nor on the machine.

IEEE 754 leaves two choices open when floats are compared. 0.0 and -0.0 are equal, so either may be the least of the
two; and a NaN result may have the sign and payload of any operand. numpy's choice depends on position, vector width and
instruction set, so the same values merged on two shards or machines may have different bits. Therefore every least and
greatest is *settled*: a zero becomes 0.0, and a NaN becomes `np.nan`. Settling only the results is enough, because
merging settled values and settling again gives the same bits.

`gather.c` does the same in its loops. Floats are added in a fixed order (`sums.c`), because numpy promises none. Then
only the choice of a NaN is open, and `one_nan` makes all NaNs the same in everything that leaves a run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native

Array = NDArray[Any]

EXTREMES = (np.minimum, np.maximum, np.fmin, np.fmax)


def merged(ufunc: np.ufunc, values: Array) -> Any:
    """Returns all values merged into one; there must be at least one."""
    if ufunc is np.add and values.dtype == np.float64:
        return np.float64(_native.sum_all(np.ascontiguousarray(values)))
    total = ufunc.reduce(values)
    if ufunc not in EXTREMES or values.dtype.kind != "f":
        return total
    return total + values.dtype.type(0) if total == total else values.dtype.type(np.nan)


def merged_rows(ufunc: np.ufunc, values: Array, starts: Array) -> Array:
    """Returns one value per row; rows begin at `starts`, which ascend, and none is empty."""
    if ufunc is np.add and values.dtype == np.float64:
        sums = np.empty(len(starts))
        _native.sum_rows(np.ascontiguousarray(values), np.ascontiguousarray(starts, np.int64), sums)
        return sums
    return _settled_if_extreme(ufunc, ufunc.reduceat(values, starts))


def merged_at(ufunc: np.ufunc, identity: Any, values: Array, places: Array, count: int) -> Array:
    """Returns one value for each of `count` places: `identity` for a place without `values`."""
    table = np.full(count, identity, values.dtype)
    with np.errstate(invalid="ignore"):  # `at` warns of a NaN, `reduceat` does not
        ufunc.at(table, places, values)
    return _settled_if_extreme(ufunc, table)


def settled(values: Array) -> Array:
    """Replaces -0.0 by 0.0 and every NaN by `np.nan` in an array of any numbers, and returns it."""
    if values.dtype.kind == "f":
        np.copyto(values, np.nan, where=np.isnan(values))
        values += values.dtype.type(0)
    return values


def one_nan(values: Array) -> Array:
    """Returns the values with the same NaN for all; the same array if there is none.

    Even elementwise arithmetic may pass on either of two NaNs, and numpy chooses by position.
    """
    if values.dtype.kind != "f":
        return values
    strange = np.isnan(values)
    return np.where(strange, values.dtype.type(np.nan), values) if strange.any() else values


def _settled_if_extreme(ufunc: np.ufunc, values: Array) -> Array:
    return settled(values) if ufunc in EXTREMES else values

"""Several numbers become one, with bits that depend neither on their order nor on the machine.

IEEE 754 leaves two choices open wherever floats are compared. 0.0 and -0.0 are equal, so either is the least of the
two; and a result that is not a number (NaN) may carry the sign and payload of any operand. numpy chooses by position,
by vector width and by instruction set, so the same values merged on two shards, or on two machines, come out with
different bits. Therefore every least and greatest is *settled*: a zero is 0.0, and a NaN is the one that `np.nan` is.
It is enough to settle results, for merging settled values again settles nothing differently.

`gather.c` does the same in its loops. Floats are added in an order of our own (`sums.c`), because numpy promises none:
that leaves nothing open but which NaN a sum is, and of those `one_nan` makes one in all that leaves a run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native

Array = NDArray[Any]

EXTREMES = (np.minimum, np.maximum, np.fmin, np.fmax)


def merged(ufunc: np.ufunc, values: Array) -> Any:
    """Returns all values as one; there is one at least."""
    if ufunc is np.add and values.dtype == np.float64:
        return np.float64(_native.sum_all(np.ascontiguousarray(values)))
    total = ufunc.reduce(values)
    if ufunc not in EXTREMES or values.dtype.kind != "f":
        return total
    return total + values.dtype.type(0) if total == total else values.dtype.type(np.nan)


def merged_rows(ufunc: np.ufunc, values: Array, starts: Array) -> Array:
    """Returns one value a row; rows begin at `starts`, which ascend, and none is empty."""
    if ufunc is np.add and values.dtype == np.float64:
        sums = np.empty(len(starts))
        _native.sum_rows(np.ascontiguousarray(values), np.ascontiguousarray(starts, np.int64), sums)
        return sums
    return _settled_if_extreme(ufunc, ufunc.reduceat(values, starts))


def merged_at(ufunc: np.ufunc, identity: Any, values: Array, places: Array, count: int) -> Array:
    """Returns one value for each of `count` places: `identity` where none of `values` belongs."""
    table = np.full(count, identity, values.dtype)
    with np.errstate(invalid="ignore"):  # `at` warns of a NaN where `reduceat` does not
        ufunc.at(table, places, values)
    return _settled_if_extreme(ufunc, table)


def settled(values: Array) -> Array:
    """Writes 0.0 for -0.0 and one NaN for all into an array of any numbers, and returns it."""
    if values.dtype.kind == "f":
        np.copyto(values, np.nan, where=np.isnan(values))
        values += values.dtype.type(0)
    return values


def one_nan(values: Array) -> Array:
    """Returns the values with one NaN in place of all; the same array where there is none.

    Even arithmetic an element at a time leaves it open which of two NaNs goes on, and numpy chooses by position.
    """
    if values.dtype.kind != "f":
        return values
    strange = np.isnan(values)
    return np.where(strange, values.dtype.type(np.nan), values) if strange.any() else values


def _settled_if_extreme(ufunc: np.ufunc, values: Array) -> Array:
    return settled(values) if ufunc in EXTREMES else values

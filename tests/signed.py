"""Floats that are equal and have other bits, and what becomes of them by the rule that docs/programs.md gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

OTHER_NANS = np.array([0xFFF8000000000000, 0x7FF8000000000001, 0xFFF8000000ABCDEF], np.uint64).view(np.float64).tolist()
FLOATS = (0.0, -0.0, 5e-324, -5e-324, 1e-40, -1e-40, 1.0, -1.0, math.inf, -math.inf, math.nan, *OTHER_NANS)


def extreme(ufunc: np.ufunc, values: NDArray[Any]) -> Any:
    """The least or greatest, a zero as 0.0, and `np.nan` if one is not a number (or all, for `fmin` and `fmax`)."""
    known = [value for value in values.tolist() if value == value]
    if not known or (len(known) < len(values) and ufunc in (np.minimum, np.maximum)):
        return values.dtype.type(math.nan)
    found = min(known) if ufunc in (np.minimum, np.fmin) else max(known)
    return values.dtype.type(found + 0.0)


def of_type(values: list[float], dtype: Any) -> NDArray[Any]:
    """An array of them; what a narrower type has no room for becomes infinite."""
    with np.errstate(all="ignore"):
        return np.array(values).astype(dtype)


def bits(values: Any) -> list[int]:
    """Numbers as their bits."""
    array = np.atleast_1d(values)
    return array.view(f"u{array.dtype.itemsize}").tolist()  # type: ignore[no-any-return]

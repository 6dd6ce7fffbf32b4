"""A short answer to each algorithm, which reveals wrong results. It does not depend on how nodes are numbered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Answer = dict[str, float]


def _ranks(values: NDArray[Any]) -> Answer:
    return {"sum": float(values.sum()), "largest": float(values.max()), "squares": float(np.square(values).sum())}


def _groups(values: NDArray[Any]) -> Answer:
    sizes = np.unique(values, return_counts=True)[1]
    return {"groups": len(sizes), "largest": int(sizes.max())}


def _distances(values: NDArray[Any]) -> Answer:
    reached = values[np.isfinite(values) & (values >= 0) & (values < UNREACHED)]
    return {"reached": len(reached), "sum": float(reached.sum(dtype=np.float64))}


def _coefficients(values: NDArray[Any]) -> Answer:
    return {"sum": float(values.sum()), "above 0": int(np.count_nonzero(values))}


UNREACHED = 1e15
"""Distances from here on mean none: the largest numbers of networkit and igraph."""

SHORT: dict[str, Callable[[NDArray[Any]], Answer]] = {
    "pagerank": _ranks,
    "wcc": _groups,
    "bfs": _distances,
    "sssp": _distances,
    "cdlp": _groups,
    "lcc": _coefficients,
}


def agree(one: Answer, other: Answer, tolerance: float = 1e-9) -> bool:
    """Returns whether two answers are the same except for rounding."""
    return one.keys() == other.keys() and all(
        abs(value - other[key]) <= tolerance * max(abs(value), abs(other[key])) for key, value in one.items()
    )

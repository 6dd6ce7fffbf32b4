"""Reductions over the edges of every node at once: the inner loops of a tick, in C (`shoal/native`).

Every reduction processes a row's values from left to right, and so in canonical order; compilers may not reorder or
fuse floating-point operations. Threads process blocks of rows with about equal numbers of edges (with equal numbers of
rows, the thread with the hubs would finish last). A row is never split, so the bits don't depend on the blocks. The
loops release the interpreter lock.

Indices are checked once, when the kernel is created, and can't be changed through it; lengths and types are checked at
each call.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native
from shoal.kernels.merging import merged_rows, settled

Array = NDArray[Any]

_MERGES: dict[np.ufunc, int] = {np.add: 0, np.minimum: 1, np.maximum: 2}
_TYPES = (np.dtype(np.float64), np.dtype(np.int64))


class Kernel:
    """Rows of neighbours in CSR form, and reductions over them. Immutable; shared by all runs on a part.

    A neighbour is a local index below `width`. Every reduction takes one value per local index and returns one per row;
    with a pool, it uses `threads` threads. Raises ValueError for invalid rows.
    """

    def __init__(self, indptr: Array, neighbours: Array, width: int) -> None:
        self.indptr = _frozen(indptr, np.int64 if indptr.dtype == np.int64 else np.int32)
        self.neighbours: NDArray[np.int32] = _frozen(neighbours, np.int32)
        self.width = width
        _native.check_rows(self.indptr, self.neighbours, width)
        self._blocks: dict[int, list[tuple[int, int]]] = {}

    @property
    def rows(self) -> int:
        """The number of own nodes."""
        return len(self.indptr) - 1

    def sum(
        self,
        values: Array,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
        *,
        weights: Array | None = None,
    ) -> Array:
        """Sums the neighbours' values, or value times weight, if there is a weight per edge (in the rows' order)."""
        return self.reduce(np.add, values, values.dtype.type(0), pool, threads, weights=weights)

    def reduce(
        self,
        ufunc: np.ufunc,
        values: Array,
        identity: Any,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
        *,
        weights: Array | None = None,
    ) -> Array:
        """Reduces with any ufunc of two arguments; a node without neighbours gets `identity`.

        Sums use value times weight, all others value plus weight. Sums, minima and maxima of float64 and int64 are
        compiled; other ufuncs and types need an array of the values by edge.
        """
        if weights is not None and weights.dtype != values.dtype:
            common = np.result_type(values, weights)
            values, weights = values.astype(common, copy=False), weights.astype(common, copy=False)
        if ufunc not in _MERGES or values.dtype not in _TYPES:
            return self._fold(ufunc, values, identity, weights)
        merge, result = _MERGES[ufunc], np.empty(self.rows, values.dtype)
        values, weights = np.ascontiguousarray(values), None if weights is None else np.ascontiguousarray(weights)

        def block(first: int, last: int) -> None:
            _native.gather(self.indptr, self.neighbours, values, weights, result, merge, self.width, first, last)

        self._run(block, pool, threads)
        if identity != _identity(merge, values.dtype):
            result[self.indptr[1:] == self.indptr[:-1]] = identity
        return result

    def count(self, values: Array, pool: ThreadPoolExecutor | None = None, threads: int = 1) -> NDArray[np.int64]:
        """Counts the neighbours with a nonzero value. Pass booleans if possible: they are read fastest."""
        if values.dtype not in (*_TYPES, np.dtype(np.bool_)):
            values = values != 0
        values, result = np.ascontiguousarray(values), np.empty(self.rows, np.int64)

        def block(first: int, last: int) -> None:
            _native.count(self.indptr, self.neighbours, values, result, self.width, first, last)

        self._run(block, pool, threads)
        return result

    def rank_step(
        self,
        share: NDArray[np.float64],
        per_edge: NDArray[np.float64],
        rank: NDArray[np.float64],
        next_share: NDArray[np.float64],
        damping: float,
        base: float,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
    ) -> None:
        """Computes PageRank in one pass: `rank` becomes damping * sum(share) + base, and `next_share` rank * per_edge.

        The bits are those of three successive numpy operations. `next_share` must not overlap the other arrays.
        """

        def block(first: int, last: int) -> None:
            rows = self.indptr, self.neighbours
            _native.rank_step(*rows, share, per_edge, rank, next_share, damping, base, self.width, first, last)

        self._run(block, pool, threads)

    def mode(
        self,
        values: Array,
        identity: Any,
        also: Kernel | None = None,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
    ) -> Array:
        """Returns the most frequent of the neighbours' values, here and in `also`, whose rows belong to the same nodes.

        If several are, the least; `identity` for a node without neighbours. Fastest for integers from 0 up to the
        number of edges, such as ordinals; other values are numbered first.
        """
        labels, names = self._labels(values)
        bound = int(labels.max(initial=-1)) + 1 if names is None else len(names)
        found = np.empty(self.rows, np.int32)
        more_indptr, more_neighbours = (None, None) if also is None else (also.indptr, also.neighbours)
        width = self.width if also is None else max(self.width, also.width)
        if also is not None and also.rows != self.rows:
            raise ValueError("the rows of both kernels have to be the same nodes")

        def block(first: int, last: int) -> None:
            rows = self.indptr, self.neighbours, more_indptr, more_neighbours
            _native.mode(*rows, labels, found, bound, width, first, last)

        self._run(block, pool, threads)
        result, some = np.full(self.rows, identity, values.dtype), found >= 0
        result[some] = found[some] if names is None else names[found[some]]
        return result

    def _labels(self, values: Array) -> tuple[NDArray[np.int32], Array | None]:
        """Returns values as small numbers in the same order, and each number's value, or None if they are the same."""
        if values.dtype.kind in "iu" and len(values):
            affordable = max(len(self.neighbours), 4 * self.width)  # each counter takes four bytes
            if values.min() >= 0 and values.max() < affordable:
                return np.ascontiguousarray(values, np.int32), None
        names, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int32), settled(names)

    def _fold(self, ufunc: np.ufunc, values: Array, identity: Any, weights: Array | None) -> Array:
        read = values[self.neighbours]
        if weights is not None:
            read = read * weights if ufunc is np.add else read + weights
        result = np.full(self.rows, identity, dtype=read.dtype)
        filled = np.flatnonzero(np.diff(self.indptr))  # reduceat does not accept empty rows
        if len(filled):
            result[filled] = merged_rows(ufunc, read, self.indptr[filled])
        return result

    def _run(self, block: Callable[[int, int], None], pool: ThreadPoolExecutor | None, threads: int) -> None:
        """Processes all rows on several threads, and raises the exception of any of them."""
        if pool is None or threads == 1:
            block(0, self.rows)
            return
        for done in [pool.submit(block, *span) for span in self._split(threads)]:
            done.result()

    def _split(self, count: int) -> list[tuple[int, int]]:
        """Returns `count` blocks of rows with about as many edges each, as (first row, end); computed once."""
        if count not in self._blocks:
            marks = np.linspace(0, len(self.neighbours), count + 1)[1:-1]
            cuts = [0, *np.searchsorted(self.indptr, marks).tolist(), self.rows]
            self._blocks[count] = list(pairwise(cuts))
        return self._blocks[count]


def _identity(merge: int, dtype: np.dtype[Any]) -> Any:
    """Returns what the compiled loops return for a row without neighbours."""
    if merge == 0:
        return 0
    if dtype.kind == "f":
        return np.inf if merge == 1 else -np.inf
    return np.iinfo(dtype).max if merge == 1 else np.iinfo(dtype).min


def _frozen(array: Array, dtype: type[np.int32] | type[np.int64]) -> Array:
    """Returns the array in the form that the compiled loops take, read-only, copied only if necessary."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view

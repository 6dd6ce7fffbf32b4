"""Reductions over the edges of every node at once: the inner loops of a tick.

A sum is a CSR matrix-vector product with ones, which adds along each row from left to right and so in canonical order;
its time is memory bandwidth. Rows may be split between threads in blocks of about equal numbers of edges (splitting by
equal rows leaves the thread with the hubs working alone); a row is never split, so the bits don't depend on the split.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


class Kernel:
    """Rows of neighbours in CSR form, and what can be reduced over them. Immutable; shared by all runs on a part."""

    def __init__(self, indptr: NDArray[Any], neighbours: NDArray[Any], width: int) -> None:
        self.indptr, self.neighbours, self.width = indptr, neighbours, width
        self._blocks: dict[int, list[csr_array]] = {}

    @property
    def rows(self) -> int:
        """Own nodes."""
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        """Bytes beyond the adjacency itself: the ones."""
        return self._ones.nbytes if "_ones" in self.__dict__ else 0

    @cached_property
    def _ones(self) -> NDArray[np.float64]:
        return np.ones(len(self.neighbours), dtype=np.float64)

    @cached_property
    def _filled(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The rows that have an edge, and where they begin: reduceat takes no empty ones."""
        filled = np.flatnonzero(np.diff(self.indptr))
        return filled, self.indptr[filled]

    def sum(self, values: NDArray[Any], pool: ThreadPoolExecutor | None = None, threads: int = 1) -> NDArray[Any]:
        """Add up the neighbours' values (local indices: own nodes and ghosts) for every own node."""
        if values.dtype != np.float64:
            return self.reduce(np.add, values, values.dtype.type(0))
        blocks = self._split(threads if pool is not None else 1)
        if pool is None or len(blocks) == 1:
            return blocks[0] @ values  # type: ignore[no-any-return]
        return np.concatenate(list(pool.map(lambda block: block @ values, blocks)))

    def reduce(self, ufunc: np.ufunc, values: NDArray[Any], identity: Any) -> NDArray[Any]:
        """The same with any ufunc; a node without neighbours gets `identity`."""
        result = np.full(self.rows, identity, dtype=values.dtype)
        filled, starts = self._filled
        if len(filled):
            result[filled] = ufunc.reduceat(values[self.neighbours], starts)
        return result

    def _split(self, count: int) -> list[csr_array]:
        """The matrix in `count` blocks of rows with about as many edges each, made once."""
        if count not in self._blocks:
            marks = np.linspace(0, len(self.neighbours), count + 1)[1:-1]
            cuts = [0, *np.searchsorted(self.indptr, marks).tolist(), self.rows]
            self._blocks[count] = [self._block(a, b) for a, b in pairwise(cuts)]
        return self._blocks[count]

    def _block(self, first: int, last: int) -> csr_array:
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        body = (self._ones[begin:end], self.neighbours[begin:end], self.indptr[first : last + 1] - begin)
        return csr_array(body, shape=(last - first, self.width), copy=False)

"""Rows of different lengths in two arrays: where each begins, and all values one row behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Row i is `values[indptr[i]:indptr[i + 1]]`.

    >>> rows = Ragged.of_lengths(np.array([2, 0, 1]), np.array([7, 8, 9]))
    >>> rows.take(np.array([2, 0])).values.tolist()
    [9, 7, 8]
    """

    indptr: NDArray[np.int64]
    values: Array

    @classmethod
    def of_lengths(cls, lengths: Array, values: Array) -> Ragged:
        """From the length of each row."""
        indptr = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        if int(indptr[-1]) != len(values):
            raise ValueError(f"rows of {int(indptr[-1])} values in all, and {len(values)} are given")
        return cls(indptr, values)

    @classmethod
    def empty(cls, rows: int, dtype: Any) -> Ragged:
        """So many rows with nothing in them."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, dtype))

    @classmethod
    def of_bytes(cls, rows: Sequence[bytes]) -> Ragged:
        """From byte strings."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls.of_lengths(lengths, np.frombuffer(b"".join(rows), np.uint8))

    @classmethod
    def concatenated(cls, pieces: Iterable[Ragged], dtype: Any) -> Ragged:
        """The rows of all pieces, one piece behind the other."""
        pieces = list(pieces)
        if not pieces:
            return cls.empty(0, dtype)
        if len(pieces) == 1:
            return pieces[0]
        lengths = np.concatenate([piece.lengths for piece in pieces])
        return cls.of_lengths(lengths, np.concatenate([piece.values for piece in pieces]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of each row."""
        return np.diff(self.indptr)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.indptr.nbytes + self.values.nbytes

    def row(self, index: int) -> Array:
        """One row's values."""
        return self.values[self.indptr[index] : self.indptr[index + 1]]

    def take(self, rows: Array) -> Ragged:
        """These rows, in this order."""
        lengths = self.lengths[rows]
        return Ragged.of_lengths(lengths, self.values[spread(self.indptr[:-1][rows], lengths)])

    def stretch(self, first: int, last: int) -> Ragged:
        """Rows that lie together, as views."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        return Ragged(self.indptr[first : last + 1] - begin, self.values[begin:end])

    def to_bytes(self) -> list[bytes]:
        """The rows as byte strings."""
        whole, ends = self.values.tobytes(), (self.indptr * self.values.itemsize).tolist()
        return [whole[a:b] for a, b in pairwise(ends)]


def spread(starts: Array, lengths: Array) -> NDArray[np.int64]:
    """The indices of all values of rows that begin at `starts`, one row behind the other.

    >>> spread(np.array([10, 3]), np.array([2, 3])).tolist()
    [10, 11, 3, 4, 5]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    indices: NDArray[np.int64] = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return indices

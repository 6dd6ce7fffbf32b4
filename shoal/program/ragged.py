"""Rows of different lengths in two arrays: the start of each row, and the values of all rows in order."""

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
    """Rows of different lengths; row i is `values[indptr[i]:indptr[i + 1]]`.

    >>> rows = Ragged.of_lengths(np.array([2, 0, 1]), np.array([7, 8, 9]))
    >>> rows.take(np.array([2, 0])).values.tolist()
    [9, 7, 8]
    """

    indptr: NDArray[np.int64]
    values: Array

    @classmethod
    def of_lengths(cls, lengths: Array, values: Array) -> Ragged:
        """Returns rows of these lengths. Raises `ValueError` unless the lengths add up to `len(values)`."""
        indptr = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        if int(indptr[-1]) != len(values):
            raise ValueError(f"rows of {int(indptr[-1])} values in all, and {len(values)} are given")
        return cls(indptr, values)

    @classmethod
    def empty(cls, rows: int, dtype: Any) -> Ragged:
        """Returns `rows` empty rows."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, dtype))

    @classmethod
    def of_bytes(cls, rows: Sequence[bytes]) -> Ragged:
        """Returns rows of uint8, one for each byte string."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls.of_lengths(lengths, np.frombuffer(b"".join(rows), np.uint8))

    @classmethod
    def concatenated(cls, pieces: Iterable[Ragged], dtype: Any) -> Ragged:
        """Returns the rows of all pieces, in order."""
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
        """The length of each row."""
        return np.diff(self.indptr)

    @property
    def nbytes(self) -> int:
        """The size of both arrays in bytes."""
        return self.indptr.nbytes + self.values.nbytes

    def row(self, index: int) -> Array:
        """Returns the values of one row."""
        return self.values[self.indptr[index] : self.indptr[index + 1]]

    def take(self, rows: Array) -> Ragged:
        """Returns the rows with these indices, in this order."""
        lengths = self.lengths[rows]
        return Ragged.of_lengths(lengths, self.values[spread(self.indptr[:-1][rows], lengths)])

    def stretch(self, first: int, last: int) -> Ragged:
        """Returns the rows from `first` up to `last` as views."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        return Ragged(self.indptr[first : last + 1] - begin, self.values[begin:end])

    def to_bytes(self) -> list[bytes]:
        """Returns the rows as byte strings."""
        whole, ends = self.values.tobytes(), (self.indptr * self.values.itemsize).tolist()
        return [whole[a:b] for a, b in pairwise(ends)]


def spread(starts: Array, lengths: Array) -> NDArray[np.int64]:
    """Returns the indices of all values of rows that begin at `starts`, row by row.

    >>> spread(np.array([10, 3]), np.array([2, 3])).tolist()
    [10, 11, 3, 4, 5]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    indices: NDArray[np.int64] = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return indices

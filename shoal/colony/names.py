"""Names as small numbers, so that a table of them is an array.

A name gets its number when it first occurs, so numbers differ from shard to shard and from life to life. Nothing that
leaves a shard, and no order that affects a result, may depend on them: use the names and their `ranks` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.program.ragged import Ragged

Array = NDArray[Any]


class Names:
    """The names that occur on a shard. `partition_of` raises `ValueError` for an invalid name."""

    def __init__(self, partition_of: Callable[[bytes], int]) -> None:
        self._partition_of = partition_of
        self._numbers: dict[bytes, int] = {}
        self._names: list[bytes] = []
        self._partitions = np.empty(64, np.int32)
        self._ranks: tuple[int, Array] = (0, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> bytes:
        return self._names[number]

    def known(self, name: bytes) -> int:
        """Returns a name's number, or -1 if it is unknown."""
        return self._numbers.get(name, -1)

    def number(self, name: bytes) -> int:
        """Returns a name's number, a new one for an unknown name."""
        number = self._numbers.get(name)
        if number is not None:
            return number
        partition, number = self._partition_of(name), len(self._names)
        if number == len(self._partitions):
            self._partitions = np.concatenate([self._partitions, np.empty_like(self._partitions)])
        self._partitions[number] = partition
        self._numbers[name] = number
        self._names.append(name)
        return number

    def numbers(self, names: Ragged | Sequence[bytes]) -> NDArray[np.int64]:
        """Returns the numbers of several names."""
        given = names.to_bytes() if isinstance(names, Ragged) else names
        return np.fromiter(map(self.number, given), np.int64, len(given))

    def names(self, numbers: Iterable[int]) -> list[bytes]:
        """Returns the names of several numbers."""
        return [self._names[number] for number in numbers]

    def only(self, numbers: Array) -> Names:
        """Keeps only these names, renumbered in their old order."""
        chosen = Names(self._partition_of)
        for number in numbers.tolist():
            chosen.number(self._names[number])
        return chosen

    @property
    def partitions(self) -> NDArray[np.int32]:
        """The partition of each name, by number."""
        return self._partitions[: len(self._names)]

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank of each name in byte order, by number; recomputed when there are new names."""
        if self._ranks[0] != len(self._names):
            order = sorted(range(len(self._names)), key=self._names.__getitem__)
            ranks = np.empty(len(order), np.int64)
            ranks[order] = np.arange(len(order))
            self._ranks = (len(order), ranks)
        return self._ranks[1]

    def lesser(self, left: Array, right: Array) -> NDArray[np.bool_]:
        """Returns, for each pair, whether the left name's bytes come first."""
        name = self._names
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return np.fromiter((name[a] < name[b] for a, b in pairs), np.bool_, len(left))

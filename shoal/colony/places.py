"""Places: the locations of agents, signals, traces and edges.

A place is a node of the loaded graph, or a concept that the colony created. Either has a *name*, a byte string. The
name (and the graph's partition table) alone determines the partition, so a place is in the same partition whichever
shard holds it::

    node        NUL, then its ordinal, 8 bytes, big-endian       the partition that the graph gave it
    concept     its key in UTF-8                                 mmh3 of the key, as for a node with a string id
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import mmh3

KEY_BYTES_MAX: Final = 1024
_NODE: Final = b"\0"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A node or a concept. Two places with the same name are equal.

    >>> Place.concept("water"), Place.node(7).ordinal
    (Place.concept('water'), 7)
    """

    name: bytes

    @classmethod
    def node(cls, ordinal: int) -> Place:
        """Returns the place of a node of the graph."""
        return cls(_NODE + int(ordinal).to_bytes(8, "big"))

    @classmethod
    def concept(cls, key: str) -> Place:
        """Returns the place of a concept. Raises `ValueError` for an invalid key."""
        name = key.encode()
        if not name or name.startswith(_NODE) or len(name) > KEY_BYTES_MAX:
            raise ValueError(
                f"a concept's key has 1 to {KEY_BYTES_MAX} bytes and does not begin with NUL: {key[:40]!r}"
            )
        return cls(name)

    @property
    def is_node(self) -> bool:
        """Whether the place is a node of the graph."""
        return self.name.startswith(_NODE)

    @property
    def ordinal(self) -> int:
        """The ordinal of a node."""
        assert self.is_node, f"{self} is no node"
        return int.from_bytes(self.name[1:], "big")

    @property
    def key(self) -> str:
        """The key of a concept."""
        assert not self.is_node, f"{self} is no concept"
        return self.name.decode()

    def __repr__(self) -> str:
        return f"Place.node({self.ordinal})" if self.is_node else f"Place.concept({self.key!r})"


def partition_by_name(table: Any, count: int) -> Callable[[bytes], int]:
    """Returns the partition of a name in a graph with this partition table (by ordinal) and this many partitions.

    The function raises `ValueError` for what is no name there.
    """

    def partition(name: bytes) -> int:
        if not name.startswith(_NODE):
            if not 0 < len(name) <= KEY_BYTES_MAX:
                raise ValueError(f"a name of {len(name)} bytes")
            return int(mmh3.hash(name, 0, signed=False)) % count
        ordinal = int.from_bytes(name[1:], "big")
        if len(name) != 9 or ordinal >= len(table):
            raise ValueError(f"node {ordinal} of {len(table)}")
        return int(table[ordinal])

    return partition

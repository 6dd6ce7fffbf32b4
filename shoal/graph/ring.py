"""Which shard holds which partition: consistent hashing with virtual nodes.

Every member is on a circle of 2**64 positions many times, a partition once. A partition belongs to the first member at
or after it, its replicas to the next distinct members (Karger et al., "Consistent Hashing and Random Trees", STOC 1997;
preference lists as in DeCandia et al., "Dynamo", SOSP 2007, section 4.3)::

    ... b#17 --- partition 5 --- a#3 --- b#98 --- a#71 --- c#0 ...      partition 5: primary a, then b, then c

A joining member takes about one in N partitions; all others stay where they are. The partitions of a leaving member go
to their next members, which already have their first replicas. The price is balance: 150 positions per member keep the
arcs within about a tenth of each other, but with only 64 partitions, chance dominates (the tests state the spread). A
cluster balances the computing by choosing among a partition's holders.

Invariant: the placement depends only on the names, never on their order or on history.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import mmh3

VIRTUAL_NODES = 150
"""Positions of a member on the circle; arcs then vary by about 1 / sqrt(150), 8%."""


class HashRing:
    """The circle for one set of members.

    >>> ring = HashRing(["a", "b", "c"])
    >>> [shards[0] for shards in ring.placement(6)] == [ring.holders(p)[0] for p in range(6)]
    True
    """

    __slots__ = ("_owners", "_points", "members", "virtual_nodes")

    def __init__(self, members: Iterable[str], virtual_nodes: int = VIRTUAL_NODES) -> None:
        self.members = tuple(sorted(set(members)))
        self.virtual_nodes = virtual_nodes
        if not self.members or virtual_nodes < 1:
            raise ValueError("a ring needs at least one member, and one virtual node for each")
        # Two names share a point with probability 2**-64 per pair; then the name decides, so the ring stays a function
        # of the names.
        circle = sorted((_point(f"{name}#{i}"), name) for name in self.members for i in range(virtual_nodes))
        self._points = [point for point, _ in circle]
        self._owners = [name for _, name in circle]

    def holders(self, partition: int, replicas: int = 1) -> tuple[str, ...]:
        """Returns the primary of a partition, then its replicas in order; fewer if there are fewer members."""
        wanted = min(1 + replicas, len(self.members))
        start = bisect_left(self._points, _point(f"partition {partition}"))
        found: dict[str, None] = {}
        for step in range(len(self._owners)):
            found.setdefault(self._owners[(start + step) % len(self._owners)])
            if len(found) == wanted:
                break
        return tuple(found)

    def placement(self, partitions: int, replicas: int = 1) -> tuple[tuple[str, ...], ...]:
        """Returns the holders of every partition, by its number."""
        return tuple(self.holders(partition, replicas) for partition in range(partitions))


def _point(text: str) -> int:
    return int(mmh3.hash64(text.encode(), 0, signed=False)[0])

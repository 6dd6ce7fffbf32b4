"""Computes which members serve each partition: the ring's order, restricted to those that hold it.

The ring determines the wanted holders of a partition (`ideal`), the disks its actual holders. In each epoch the first R
holders in the ring's order serve it (`actual`). So a view can be formed the moment a member is lost: the ring's next
member already has the replica. A draining shard comes last: it serves only what nobody else holds.

The primary, which computes, is chosen among the R so that all members compute about equally much (`_evened`): a tick
takes as long as its slowest shard, and with 64 partitions on a ring of four, one shard is a third above the mean. A
choice between two evens that out (Azar et al., "Balanced Allocations", STOC 1994). It moves no replica, because all
candidates hold the partition anyway.

A shard that lacks something asks others for it, the likely holders first (`sources`).

Invariant: both depend only on the members' names, the ring and the holdings; shards with the same log agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from shoal.graph.ring import HashRing

Placed: TypeAlias = tuple[tuple[str, ...], ...]
"""The holders of each partition, the primary first; none if the partition is lost."""


@lru_cache(maxsize=16)
def ring_order(members: tuple[str, ...], virtual_nodes: int, partitions: int) -> Placed:
    """Returns all members for each partition, in the ring's order."""
    return HashRing(members, virtual_nodes).placement(partitions, replicas=len(members) - 1)


def ideal(
    members: Sequence[str], virtual_nodes: int, partitions: int, replicas: int, draining: Collection[str] = ()
) -> Placed:
    """Returns the wanted holders of each partition; if all members are draining, ignores that."""
    return _evened([order[:replicas] for order in ring_order(staying(members, draining), virtual_nodes, partitions)])


def actual(
    members: Sequence[str],
    virtual_nodes: int,
    partitions: int,
    replicas: int,
    draining: Collection[str],
    holds: Callable[[str, int], bool],
) -> Placed:
    """Returns the members that serve each partition, given its holders."""
    stays, kept, behind = staying(members, draining), [], []
    for partition, order in enumerate(ring_order(tuple(members), virtual_nodes, partitions)):
        holders = [name for name in order if holds(name, partition)]
        kept.append(tuple(name for name in holders if name in stays)[:replicas])
        behind.append(tuple(name for name in holders if name not in stays))
    return tuple((*first, *last)[:replicas] for first, last in zip(_evened(kept), behind, strict=True))


def staying(members: Sequence[str], draining: Collection[str]) -> tuple[str, ...]:
    """Returns the members that are not draining; if all are, all.

    >>> staying(("a", "b"), {"b"}), staying(("a", "b"), {"a", "b"})
    (('a',), ('a', 'b'))
    """
    return tuple(name for name in members if name not in draining) or tuple(members)


def _evened(placed: Sequence[tuple[str, ...]]) -> Placed:
    """Moves each partition's primary to the front. Each step makes two shards' loads more equal, so it ends."""
    primaries = [holders[0] if holders else "" for holders in placed]
    load = Counter(primaries)
    is_even = False
    while not is_even:
        is_even = True
        for partition, holders in enumerate(placed):
            least = min(holders, key=lambda name: load[name], default="")
            if load[least] + 1 < load[primaries[partition]]:
                load[primaries[partition]] -= 1
                load[least] += 1
                primaries[partition], is_even = least, False
    return tuple(
        (primary, *(name for name in holders if name != primary)) if holders else ()
        for primary, holders in zip(primaries, placed, strict=True)
    )


def sources(me: str, holders: Iterable[str], members: Iterable[str]) -> tuple[str, ...]:
    """Returns whom to ask for part of a partition: first its holders, then all others, which may have held it.

    >>> sources("b", ("c", "b"), ("a", "b", "c"))
    ('c', 'a')
    """
    return tuple(name for name in dict.fromkeys((*holders, *members)) if name != me)

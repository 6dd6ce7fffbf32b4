"""Who serves which partition: the ring's order of the members, as far as they hold the partition.

The ring says who should hold a partition (`ideal`); disks say who does. In each epoch the first R holders in the ring's
order serve it, the first of all as its primary (`actual`). So a view can be formed the moment that a member is lost:
the ring's next member is the one that has the replica already. A shard that is being drained comes last: it serves only
what nobody else holds.

Who lacks something asks others for it in an order that has the likely ones first (`sources`).

Invariant: both follow from the members' names, the ring and what is held; two shards that hold the same log agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from shoal.graph.ring import HashRing

Placed: TypeAlias = tuple[tuple[str, ...], ...]
"""For each partition its holders, the primary first; none for a partition that is lost."""


@lru_cache(maxsize=16)
def ring_order(members: tuple[str, ...], virtual_nodes: int, partitions: int) -> Placed:
    """All members for each partition, in the order in which the ring comes by them."""
    return HashRing(members, virtual_nodes).placement(partitions, replicas=len(members) - 1)


def ideal(
    members: Sequence[str], virtual_nodes: int, partitions: int, replicas: int, draining: Collection[str] = ()
) -> Placed:
    """Who should hold each partition; with all members draining, those that do the best."""
    staying = tuple(name for name in members if name not in draining) or tuple(members)
    return tuple(order[:replicas] for order in ring_order(staying, virtual_nodes, partitions))


def actual(
    members: Sequence[str],
    virtual_nodes: int,
    partitions: int,
    replicas: int,
    draining: Collection[str],
    holds: Callable[[str, int], bool],
) -> Placed:
    """Who serves each partition, given who holds it."""
    placed = []
    for partition, order in enumerate(ring_order(tuple(members), virtual_nodes, partitions)):
        holders = [name for name in order if holds(name, partition)]
        holders.sort(key=lambda name: name in draining)
        placed.append(tuple(holders[:replicas]))
    return tuple(placed)


def sources(me: str, holders: Iterable[str], members: Iterable[str]) -> tuple[str, ...]:
    """Whom to ask for something of a partition: who holds it first, then all others, for they may have had it.

    >>> sources("b", ("c", "b"), ("a", "b", "c"))
    ('c', 'a')
    """
    return tuple(name for name in dict.fromkeys((*holders, *members)) if name != me)

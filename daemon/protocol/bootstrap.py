"""How the first view comes about: shards that have found each other agree on who founds the cluster.

Each shard is told by its configuration how many to `expect`. Once it sees at least as many alive that belong to no
cluster yet, it declares the lowest names of them, with their generations, as founders, in a tag that gossip carries.
A shard founds when every one of the founders that it declares has declared the very same, or when one of them has
founded already (which it did because all had declared, we among them): then all of them start consensus from the same
first configuration. One that sees another cluster formed never founds; it waits to be let in.

What this leaves out: nothing here stops a network that is split in two at the very first start, with enough shards for
a cluster on either side, from founding two. The operator's safeguard is to `expect` more than half of the shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from daemon.protocol.decisions import Identity

FOUNDERS_TAG = "founders"
CLUSTER_TAG = "cluster"
DECLARATIONS_REMEMBERED = 64

Alive: TypeAlias = Sequence[tuple[Identity, Mapping[str, str]]]


class Bootstrap:
    """One shard's side. Feed it the members alive and their tags; it says what to declare, and whether to found."""

    def __init__(self, shard: Identity, expect: int) -> None:
        self._shard, self._expect = shard, expect
        self._declared: tuple[Identity, ...] = ()
        self._ever_declared: dict[str, tuple[Identity, ...]] = {}

    def tags(self, alive: Alive) -> dict[str, str]:
        """What to declare now: nothing while too few are in sight, the same as before once a cluster is."""
        if not any(CLUSTER_TAG in tags for _, tags in alive):
            members = sorted((member for member, _ in alive), key=lambda member: member.name)
            self._declared = tuple(members[: self._expect]) if len(members) >= self._expect else ()
            self._ever_declared[spell(self._declared)] = self._declared
            if len(self._ever_declared) > DECLARATIONS_REMEMBERED:
                del self._ever_declared[next(iter(self._ever_declared))]
        return {FOUNDERS_TAG: spell(self._declared)} if self._declared else {}

    def founders(self, alive: Alive) -> tuple[Identity, ...]:
        """The founders, once all of them have declared the same and we are among them; else none.

        Who has founded on a declaration of ours counts on us, also if others came in sight and we declare them by now.
        """
        for _, tags in alive:
            founders = self._ever_declared.get(tags.get(CLUSTER_TAG, ""), ())
            if self._shard in founders:
                return founders
        wanted, seen = spell(self._declared), dict(alive)
        agreed = all(seen.get(founder, {}).get(FOUNDERS_TAG) == wanted for founder in self._declared)
        return self._declared if agreed and self._shard in self._declared else ()


def spell(founders: Iterable[Identity]) -> str:
    """A declaration as a tag's value: short, however many there are.

    >>> spell([Identity("a", 3), Identity("b", 1)])
    'a6ff9791bf71d665'
    """
    text = " ".join(str(founder) for founder in founders)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

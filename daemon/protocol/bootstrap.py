"""How the first view comes about: shards that have found each other agree on who founds the cluster.

Each shard is told by its configuration how many to `expect`. Once it sees at least as many alive that belong to no
cluster yet, it declares the lowest names of them, with their generations, as founders, in a tag that gossip carries.
A shard founds when every one of the founders that it declares has declared the very same: then all of them start
consensus from the same first configuration. One that sees a cluster formed never founds another; it waits to be let
in.

What this leaves out: nothing here stops a network that is split in two at the very first start, with enough shards for
a cluster on either side, from founding two. The operator's safeguard is to `expect` more than half of the shards there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daemon.protocol.decisions import Identity

FOUNDERS_TAG = "founders"
CLUSTER_TAG = "cluster"


class Bootstrap:
    """One shard's side. Feed it the members alive and their tags; it says what to declare, and whether to found."""

    def __init__(self, shard: Identity, expect: int) -> None:
        self._shard, self._expect = shard, expect

    def declaration(self, alive: Iterable[tuple[Identity, Mapping[str, str]]]) -> tuple[Identity, ...]:
        """The founders to declare now: none while too few are in sight, or while a cluster is."""
        members = list(alive)
        if any(CLUSTER_TAG in tags for _, tags in members):
            return ()
        names = sorted((member for member, _ in members), key=lambda member: member.name)
        return tuple(names[: self._expect]) if len(names) >= self._expect else ()

    def founders(self, alive: Iterable[tuple[Identity, Mapping[str, str]]]) -> tuple[Identity, ...]:
        """The founders, once all of them have declared the same and we are among them; else none."""
        members = list(alive)
        declared = self.declaration(members)
        if self._shard not in declared:
            return ()
        wanted = spell(declared)
        tags = dict(members)
        agreed = all(tags[founder].get(FOUNDERS_TAG) == wanted for founder in declared)
        return declared if agreed else ()


def spell(founders: Iterable[Identity]) -> str:
    """A declaration as a tag's value.

    >>> spell([Identity("a", 3), Identity("b", 1)])
    'a/3 b/1'
    """
    return " ".join(str(founder) for founder in founders)

"""This shard's seat in consensus: its server, how it becomes one, and the servers of the others.

Membership identifies shards by name and generation, consensus identifies servers by name and disk (see `voters`). Tags
that gossip carries connect the two: a shard's disk, the founders that it declares, the cluster that it belongs to, and
that it is leaving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from consensus import Configuration, Raft, Stored
from daemon.control.bootstrap import Bootstrap, Promise, spell
from daemon.control.lives import DISK_TAG, disk_of
from daemon.control.raising import can_join
from daemon.control.voters import ServerChange, next_change, server_of, shard_of
from daemon.membership.machine import Membership
from daemon.membership.messages import CLUSTER_TAG
from daemon.state import Registry, ReplicatedState
from daemon.state.commands import Identity

LEAVING_TAG = "leaving"
SERVERS_REMEMBERED = 1024


class Seat:
    """One shard's server, and its knowledge of the others'. Membership publishes `tags`."""

    def __init__(
        self,
        name: str,
        disk: int,
        expect: int,
        voters_max: int,
        tags: Mapping[str, str],
        *,
        is_lone: bool = False,
        promise: Promise | None = None,
    ) -> None:
        self.server = server_of(name, disk)
        self.tags = {**tags, DISK_TAG: str(disk)}
        self.waits_for = ""
        """The cluster that is to let this shard in, as long as none has: it hears no other meanwhile."""
        self._voters_max = voters_max
        self._bootstrap = Bootstrap(Identity(name, disk), expect, is_lone=is_lone, promise=promise)

    # -- how it begins ---------------------------------------------------------------------------------------------

    @property
    def promise(self) -> Promise | None:
        """With whom this shard is to found a cluster, if it has promised that."""
        return self._bootstrap.promise

    def consider(self, membership: Membership) -> Promise | None:
        """A promise to make, to be durable before it is told."""
        return self._bootstrap.consider(disks(membership))

    def alone(self, membership: Membership) -> Promise | None:
        """The promise to found without the others, if nothing in sight is against it."""
        return self._bootstrap.alone(disks(membership))

    def awaited(self, membership: Membership) -> tuple[str, ...]:
        """The founders that a promise waits for."""
        alive = disks(membership)
        return self._bootstrap.awaited(alive) if self._bootstrap.is_bound(alive) else ()

    def declaration(self) -> dict[str, str]:
        """The tags to tell while there is no cluster for us."""
        return {**self.tags, **self._bootstrap.tags()}

    def beginning(self, membership: Membership) -> Stored | None:
        """Found a cluster with the others; or, if there is one, wait for its leader to let this shard in."""
        founders = self._bootstrap.founders(disks(membership))
        if founders:
            voters = [server_of(founder.name, founder.generation) for founder in founders]
            configuration = Configuration.of(voters[: self._voters_max], voters[self._voters_max :])
            return Stored.bootstrap(configuration, ReplicatedState(spell(founders)).freeze())
        self.choose(membership)
        return Stored() if self.waits_for else None

    def choose(self, membership: Membership) -> None:
        """Wait for a cluster in sight, if there is one: that with the most members, for two don't mix."""
        shown = Counter(tags[CLUSTER_TAG] for _, tags in disks(membership) if tags.get(CLUSTER_TAG))
        if shown and not self.waits_for:
            self.waits_for = max(sorted(shown), key=lambda cluster: shown[cluster])

    # -- who changes (the tick leader) -----------------------------------------------------------------------------

    def heir(self, raft: Raft, registry: Registry, membership: Membership) -> str | None:
        """If this shard, which leads, is to go: a voter that is well and stays, to lead in its place."""
        if shard_of(self.server) not in registry.draining:
            return None
        alive = {server_of(shard.name, shard.generation) for shard, _ in disks(membership)}
        for server in raft.configuration.voters:
            stays = shard_of(server) not in registry.draining and server in alive
            if stays and server != self.server and raft.is_caught_up(server):
                return server
        return None

    def due_change(self, raft: Raft, registry: Registry, membership: Membership) -> ServerChange | None:
        """The one change of the servers that is due."""
        alive, leaving = {}, set()
        for shard, tags in disks(membership):
            if can_join(tags, registry.cluster_version):
                alive[shard.name] = server_of(shard.name, shard.generation)
            member = membership.member(shard.name)
            if LEAVING_TAG in tags and member and not registry.has_member(Identity(shard.name, member.generation)):
                leaving.add(shard.name)
        return next_change(raft.configuration, alive, leaving, raft.is_caught_up, self._voters_max)


def disks(membership: Membership) -> list[tuple[Identity, Mapping[str, str]]]:
    """Who is alive, told apart by their disks: a founder that starts again with the same disk is still one."""
    found: list[tuple[Identity, Mapping[str, str]]] = []
    for record in membership.live():
        tags = dict(record.member.tags)
        if (disk := disk_of(tags)) is not None:
            found.append((Identity(record.name, disk), tags))
    return found


def server_at(membership: Membership, shard: Identity) -> str | None:
    """The server that a shard is in that life, as far as its disk is known."""
    member = membership.member(shard.name)
    if member is None or member.generation != shard.generation:
        return None
    return _server_of(member.name, member.tags)


def has_disk_of(membership: Membership, server: str) -> bool:
    """Whether the shard has that very disk: another one under its name has no part in this log."""
    member = membership.member(shard_of(server))
    return member is not None and _server_of(member.name, member.tags) == server


@lru_cache(maxsize=SERVERS_REMEMBERED)
def _server_of(name: str, tags: tuple[tuple[str, str], ...]) -> str | None:
    disk = disk_of(dict(tags))
    return server_of(name, disk) if disk is not None else None

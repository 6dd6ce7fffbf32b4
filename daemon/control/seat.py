"""This shard's seat in consensus: its server, how it obtains one, and the servers of other shards.

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
    """One shard's server, and its knowledge of other servers. Membership publishes `tags`."""

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
        """The cluster that this shard waits to join; until it is admitted, it ignores messages from any other."""
        self._voters_max = voters_max
        self._bootstrap = Bootstrap(Identity(name, disk), expect, is_lone=is_lone, promise=promise)

    # -- founding and joining --------------------------------------------------------------------------------------

    @property
    def promise(self) -> Promise | None:
        """This shard's promise to found a cluster, if any."""
        return self._bootstrap.promise

    def consider(self, membership: Membership) -> Promise | None:
        """Returns a new promise to make, or None; it must be durable before any message carries it."""
        return self._bootstrap.consider(disks(membership))

    def alone(self, membership: Membership) -> Promise | None:
        """Returns the promise to found alone, or None if something in sight forbids it."""
        return self._bootstrap.alone(disks(membership))

    def awaited(self, membership: Membership) -> tuple[str, ...]:
        """Returns the founders that a standing promise waits for."""
        alive = disks(membership)
        return self._bootstrap.awaited(alive) if self._bootstrap.is_bound(alive) else ()

    def declaration(self) -> dict[str, str]:
        """Returns the tags to publish while this shard has no cluster."""
        return {**self.tags, **self._bootstrap.tags()}

    def beginning(self, membership: Membership) -> Stored | None:
        """Founds a cluster with the others; or, if one exists, waits for its leader to admit this shard."""
        founders = self._bootstrap.founders(disks(membership))
        if founders:
            voters = [server_of(founder.name, founder.generation) for founder in founders]
            configuration = Configuration.of(voters[: self._voters_max], voters[self._voters_max :])
            return Stored.bootstrap(configuration, ReplicatedState(spell(founders)).freeze())
        self.choose(membership)
        return Stored() if self.waits_for else None

    def choose(self, membership: Membership) -> None:
        """Chooses a cluster in sight to wait for: the one with the most members, because two don't mix."""
        shown = Counter(tags[CLUSTER_TAG] for _, tags in disks(membership) if tags.get(CLUSTER_TAG))
        if shown and not self.waits_for:
            self.waits_for = max(sorted(shown), key=lambda cluster: shown[cluster])

    # -- changes of servers (the tick leader) ----------------------------------------------------------------------

    def heir(self, raft: Raft, registry: Registry, membership: Membership) -> str | None:
        """Returns a healthy voter to hand leadership to, if this leader is draining."""
        if shard_of(self.server) not in registry.draining:
            return None
        alive = {server_of(shard.name, shard.generation) for shard, _ in disks(membership)}
        for server in raft.configuration.voters:
            stays = shard_of(server) not in registry.draining and server in alive
            if stays and server != self.server and raft.is_caught_up(server):
                return server
        return None

    def due_change(self, raft: Raft, registry: Registry, membership: Membership) -> ServerChange | None:
        """Returns the one change of servers that is due."""
        alive, leaving = {}, set()
        for shard, tags in disks(membership):
            if can_join(tags, registry.cluster_version):
                alive[shard.name] = server_of(shard.name, shard.generation)
            member = membership.member(shard.name)
            if LEAVING_TAG in tags and member and not registry.has_member(Identity(shard.name, member.generation)):
                leaving.add(shard.name)
        return next_change(raft.configuration, alive, leaving, raft.is_caught_up, self._voters_max)


def disks(membership: Membership) -> list[tuple[Identity, Mapping[str, str]]]:
    """Returns live members identified by disk: a founder that restarts with the same disk remains the same."""
    found: list[tuple[Identity, Mapping[str, str]]] = []
    for record in membership.live():
        tags = dict(record.member.tags)
        if (disk := disk_of(tags)) is not None:
            found.append((Identity(record.name, disk), tags))
    return found


def server_at(membership: Membership, shard: Identity) -> str | None:
    """Returns the server of a shard in that life; None if its disk is unknown."""
    member = membership.member(shard.name)
    if member is None or member.generation != shard.generation:
        return None
    return _server_of(member.name, member.tags)


def has_disk_of(membership: Membership, server: str) -> bool:
    """Whether the shard still has the server's disk: another disk under its name has no part in this log."""
    member = membership.member(shard_of(server))
    return member is not None and _server_of(member.name, member.tags) == server


@lru_cache(maxsize=SERVERS_REMEMBERED)
def _server_of(name: str, tags: tuple[tuple[str, str], ...]) -> str | None:
    disk = disk_of(dict(tags))
    return server_of(name, disk) if disk is not None else None

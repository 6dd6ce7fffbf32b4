"""Who votes: how the tick leader keeps consensus' servers in step with the shards that there are.

A server is a shard with its disk (`name/disk`): one that comes back with what it knew is the same server, one whose
disk was wiped is another, and must never vote as the former. A newcomer learns first and votes once it has caught up
(thesis 4.2.1). The dead keep their seat, for they come back; those who leave on purpose lose it, but the last voter
only once there is another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from consensus import Configuration


@dataclass(frozen=True, slots=True)
class ServerChange:
    """Add a server (as a learner or a voter), or remove it."""

    server: str
    is_gone: bool = False
    votes: bool = False


def server_of(name: str, disk: int) -> str:
    """A shard with its disk, as consensus knows it.

    >>> shard_of(server_of("a", 7))
    'a'
    """
    return f"{name}/{disk}"


def shard_of(server: str) -> str:
    """The shard's name."""
    return server.rpartition("/")[0]


def next_change(
    configuration: Configuration,
    alive: Mapping[str, str],
    leaving: Collection[str],
    caught_up: Callable[[str], bool],
    voters_max: int,
) -> ServerChange | None:
    """The one change that is due. `alive` are servers by shard, `leaving` the shards that want to lose their seat."""
    for server in configuration.members:
        name = shard_of(server)
        if (name in leaving or alive.get(name, server) != server) and configuration.voters != (server,):
            return ServerChange(server, is_gone=True)
    for name in sorted(alive):
        if alive[name] not in configuration.members and name not in leaving:
            return ServerChange(alive[name])
    if len(configuration.voters) < voters_max:
        for server in configuration.learners:
            if alive.get(shard_of(server)) == server and caught_up(server):
                return ServerChange(server, votes=True)
    return None

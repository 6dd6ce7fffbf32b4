"""Keeps the servers of consensus in step with the existing shards, on the tick leader.

A server is a shard with its disk (`name/disk`): a shard that returns with its disk is the same server; one whose disk
was wiped is another, and must never vote as the former. A newcomer is a learner first and votes once it has caught up
(thesis 4.2.1). Dead shards keep their seat, because they may return. Shards that leave on purpose lose theirs, as long
as a majority of the remaining voters is alive: a leaving shard can still vote on its removal, a dead one can't. A
server whose disk was replaced is removed first, because it never votes again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from consensus import Configuration


@dataclass(frozen=True, slots=True)
class ServerChange:
    """Adds a server (as a learner or a voter), or removes it."""

    server: str
    is_gone: bool = False
    votes: bool = False


def server_of(name: str, disk: int) -> str:
    """Returns the name that consensus uses for a shard with its disk.

    >>> shard_of(server_of("a", 7))
    'a'
    """
    return f"{name}/{disk}"


def shard_of(server: str) -> str:
    """Returns the shard's name."""
    return server.rpartition("/")[0]


def next_change(
    configuration: Configuration,
    alive: Mapping[str, str],
    leaving: Collection[str],
    caught_up: Callable[[str], bool],
    voters_max: int,
) -> ServerChange | None:
    """Returns the one change that is due. `alive` are servers by shard, `leaving` the shards to remove."""
    for server in configuration.members:
        if alive.get(shard_of(server), server) != server and configuration.voters != (server,):
            return ServerChange(server, is_gone=True)
    for server in configuration.members:
        if shard_of(server) in leaving and _can_spare(configuration, server, alive):
            return ServerChange(server, is_gone=True)
    for name in sorted(alive):
        if alive[name] not in configuration.members and name not in leaving:
            return ServerChange(alive[name])
    if len(configuration.voters) < voters_max:
        for server in configuration.learners:
            if alive.get(shard_of(server)) == server and caught_up(server):
                return ServerChange(server, votes=True)
    return None


def _can_spare(configuration: Configuration, server: str, alive: Mapping[str, str]) -> bool:
    """Whether the remaining voters can decide alone: without a majority, nobody could undo the change either."""
    rest = [voter for voter in configuration.voters if voter != server]
    living = sum(alive.get(shard_of(voter)) == voter for voter in rest)
    return server not in configuration.voters or 2 * living > len(rest)

"""Decides when the tick leader raises the cluster version, and which shards the present one keeps out.

The version rises once every member of the view and every server of consensus is present and announces that it reads the
next one. A shard that is away holds it down, because it may return with its old version; one that is gone for good
first leaves the view and the servers. A shard below the raised version is no longer a member, and is told why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from daemon.control.lives import disk_of
from daemon.control.versions import Version, version_of
from daemon.control.voters import server_of, shard_of
from daemon.membership.messages import Member
from daemon.state.commands import Identity


@dataclass(frozen=True, slots=True)
class Holder:
    """A shard that a raise needs, and its announced version; None if it is away, or announces none."""

    shard: str
    is_there: bool
    version: Version | None


def common_version(members: Iterable[Identity], servers: Iterable[str], live: Iterable[Member]) -> int:
    """Returns the highest cluster version that all of these support; 0 if that is unknown for one of them."""
    holders = _holders(members, servers, live)
    known = [holder.version for holder in holders if holder.version is not None]
    if not known or len(known) < len(holders):
        return 0
    newest = min(version.newest for version in known)
    return newest if newest >= max(version.oldest for version in known) else 0


def holding_down(
    cluster_version: int, members: Iterable[Identity], servers: Iterable[str], live: Sequence[Member]
) -> list[Holder]:
    """Returns the shards, by name, that keep the cluster at its version although others support a later one."""
    holders = _holders(members, servers, live)
    if not any(holder.version is not None and holder.version.newest > cluster_version for holder in holders):
        return []
    down = {one.shard: one for one in holders if one.version is None or one.version.newest <= cluster_version}
    return [down[name] for name in sorted(down)]


def _holders(members: Iterable[Identity], servers: Iterable[str], live: Iterable[Member]) -> list[Holder]:
    """Identifies members of the view by their lives, servers of consensus by their disks."""
    by_life: dict[Identity, Version | None] = {}
    by_server: dict[str, Version | None] = {}
    for member in live:
        tags = dict(member.tags)
        by_life[Identity(member.name, member.generation)] = version_of(tags)
        if (disk := disk_of(tags)) is not None:
            by_server[server_of(member.name, disk)] = version_of(tags)
    return [
        *(Holder(member.name, member in by_life, by_life.get(member)) for member in members),
        *(Holder(shard_of(server), server in by_server, by_server.get(server)) for server in servers),
    ]


def can_join(tags: Mapping[str, str], cluster_version: int) -> bool:
    """Whether a shard with these tags can be a member of a cluster at this version."""
    if not cluster_version:
        return True
    version = version_of(tags)
    return version is not None and version.covers(cluster_version)

"""When the tick leader raises the cluster version, and whom the present one keeps out.

The version rises once every member of the view and every server of consensus is there and announces that it reads the
next one. Whoever is away holds it down, because it comes back with what it had; a shard that is gone for good leaves
view and servers first. Whoever has been passed by is no member any more, and is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daemon.control.lives import disk_of
from daemon.control.versions import Version, version_of
from daemon.control.voters import server_of
from daemon.membership.messages import Member
from daemon.state.commands import Identity


def common_version(members: Iterable[Identity], servers: Iterable[str], live: Iterable[Member]) -> int:
    """Returns the highest cluster version that all of these can be at; 0 if that can't be said of one of them."""
    by_life: dict[Identity, Version | None] = {}
    by_server: dict[str, Version | None] = {}
    for member in live:
        tags = dict(member.tags)
        by_life[Identity(member.name, member.generation)] = version_of(tags)
        if (disk := disk_of(tags)) is not None:
            by_server[server_of(member.name, disk)] = version_of(tags)
    versions = [by_life.get(member) for member in members] + [by_server.get(server) for server in servers]
    known = [version for version in versions if version is not None]
    if not known or len(known) < len(versions):
        return 0
    newest = min(version.newest for version in known)
    return newest if newest >= max(version.oldest for version in known) else 0


def can_join(tags: Mapping[str, str], cluster_version: int) -> bool:
    """Whether a shard that announces this can be a member of a cluster at this version."""
    if not cluster_version:
        return True
    version = version_of(tags)
    return version is not None and version.covers(cluster_version)

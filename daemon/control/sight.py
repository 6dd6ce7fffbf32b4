"""The tick leader's sight of the members: who is alive, who is gone, and whom the cluster's version keeps out."""

from __future__ import annotations

from consensus import Raft
from daemon.control.effects import KeptOut
from daemon.control.leader.duties import sight_of
from daemon.control.leader.view_policy import Sight
from daemon.control.raising import can_join, common_version
from daemon.control.versions import version_of, why_kept_out
from daemon.membership.machine import Membership
from daemon.state import Registry
from daemon.state.commands import Identity


class Lookout:
    """One shard's sight of the others, from membership."""

    def __init__(self, membership: Membership, registry: Registry) -> None:
        self._membership, self._registry = membership, registry
        self._told: set[Identity] = set()

    def sight(self, raft: Raft | None) -> Sight:
        """Returns what membership observes, without the members that the cluster's version keeps out."""
        kept_out = self._kept_out()
        records = [(Identity(r.name, r.generation), r.live) for r in self._membership.members()]
        view = self._registry.view
        servers = raft.configuration.members if raft is not None else ()
        live = [record.member for record in self._membership.live()]
        version = common_version(view.members if view is not None else (), servers, live)
        return sight_of([one for one in records if one[0] not in kept_out], self._registry, version)

    def news(self) -> list[KeptOut]:
        """As the leader: reports the members kept out, once per life."""
        kept_out = self._kept_out()
        fresh = sorted(kept_out.difference(self._told), key=str)
        self._told = kept_out
        return [KeptOut(shard.name, self._why(shard)) for shard in fresh]

    def _kept_out(self) -> set[Identity]:
        version = self._registry.cluster_version
        return {
            Identity(record.name, record.generation)
            for record in self._membership.live()
            if not can_join(dict(record.member.tags), version)
        }

    def _why(self, shard: Identity) -> str:
        member = self._membership.member(shard.name)
        version = version_of(dict(member.tags)) if member is not None else None
        return why_kept_out(shard.name, version, self._registry.cluster_version)

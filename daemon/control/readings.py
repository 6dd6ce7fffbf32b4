"""What is to be read of a shard's control plane, by its host and its services: nothing of it changes anything."""

from __future__ import annotations

from collections.abc import Mapping

from consensus import Raft
from daemon.control.clock import Clock
from daemon.control.custody import Custody
from daemon.control.holdings import Holdings
from daemon.control.leader.duties import Leading
from daemon.control.pacing import Pacing
from daemon.control.progress import ProgressGossip
from daemon.control.replica import Replica
from daemon.control.seat import Seat
from daemon.control.versions import Version, version_in_sight, why_kept_out
from daemon.membership.machine import Membership
from daemon.state import ReplicatedState
from daemon.state.commands import Identity
from daemon.state.programs import DeployedPrograms
from daemon.state.registry import Registry


class Readings:
    """Of one shard. Its machines are made by `ControlPlane`."""

    identity: Identity
    membership: Membership
    _replica: Replica
    _seat: Seat
    _state: ReplicatedState
    _clock: Clock
    _custody: Custody
    _leading: Leading
    _version: Version
    _expect: int
    _is_lone: bool

    @property
    def registry(self) -> Registry:
        """What the log has decided of views, disks, graphs and runs."""
        return self._state.registry

    @property
    def programs(self) -> DeployedPrograms:
        """The programs that the log has deployed."""
        return self._state.programs

    @property
    def state(self) -> ReplicatedState:
        """All that the log has decided."""
        return self._state

    @property
    def raft(self) -> Raft | None:
        """This shard's server of consensus, once there is a cluster."""
        return self._replica.raft

    @property
    def founding(self) -> str:
        """The cluster that this shard belongs to or waits for, by the id of its founding; empty before there is one."""
        return self.registry.cluster or self._seat.waits_for

    @property
    def awaited_founders(self) -> tuple[str, ...]:
        """Whom this shard has promised to found a cluster with and does not hear the same from."""
        return self._seat.awaited(self.membership) if self.raft is None else ()

    @property
    def promised_founders(self) -> tuple[str, ...]:
        """With whom this shard is to found a cluster, itself among them."""
        promise = self._seat.promise if self.raft is None else None
        return tuple(founder.name for founder in promise.founders) if promise is not None else ()

    @property
    def waits_to_be_let_in(self) -> bool:
        """Whether it founds no cluster by itself, and sees none."""
        return self.raft is None and self._expect == 1 and self._seat.promise is None and not self._is_lone

    @property
    def kept_out(self) -> str:
        """Why the version of its cluster, or of the one that it waits for, keeps this shard out; empty if none does."""
        version = version_in_sight([record.member for record in self.membership.live()], self.founding)
        if not version or self._version.covers(version):
            return ""
        return why_kept_out(self.identity.name, self._version, version)

    @property
    def held_back(self) -> Mapping[str, tuple[int, int]]:
        """Whom this shard, which leads, does not let into the view yet: how often they have gone, and until when."""
        return self._leading.views.held_back

    @property
    def leader(self) -> str | None:
        """The tick leader's name, as far as is known here."""
        return self._replica.leader

    @property
    def clock(self) -> Clock:
        """What keeps runs in step."""
        return self._clock

    @property
    def holdings(self) -> Holdings:
        """What is on this shard's disk, and what it should have."""
        return self._custody.holdings

    @property
    def progress(self) -> ProgressGossip:
        """Who is where in each run."""
        return self.clock.progress

    @property
    def pacing(self) -> Pacing:
        """What has been granted to each run."""
        return self.clock.pacing

    @property
    def in_view(self) -> bool:
        """Whether this very life of the shard is a member of the view."""
        return self.registry.has_member(self.identity)

    @property
    def has_seat(self) -> bool:
        """Whether this shard is a server of consensus."""
        return self.raft is not None and self._seat.server in self.raft.configuration.members

    @property
    def applied_index(self) -> int:
        """How far the log has been applied here."""
        return self._replica.applied

    def missing_members(self) -> list[str]:
        """Members of the view that membership does not hold alive in that life."""
        view = self.registry.view
        live = {(record.name, record.generation) for record in self.membership.live()}
        return [m.name for m in view.members if (m.name, m.generation) not in live] if view else []

    def why_not_found(self) -> str:
        """Why no operator may have this shard found a cluster, in words; empty if one may."""
        if self.registry.cluster:
            return "this shard belongs to a cluster"
        if self.founding:
            return "this shard sees a cluster, which will admit it"
        if self.raft is not None:
            return (
                "this shard has seen a cluster and waits to be admitted: start that cluster's shards; or, if it is lost"
                " permanently, move this shard's data folder away and start it again"
            )
        if self._expect > 1:
            return f"cluster.expect is {self._expect}: that many shards found a cluster as soon as they see each other"
        return ""

"""Read-only queries on a shard's control plane, for its host and its services."""

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
    """One shard's queries. `ControlPlane` makes the machines."""

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
        """The log's decisions about views, disks, graphs and runs."""
        return self._state.registry

    @property
    def programs(self) -> DeployedPrograms:
        """The programs that the log has deployed."""
        return self._state.programs

    @property
    def state(self) -> ReplicatedState:
        """The whole replicated state."""
        return self._state

    @property
    def raft(self) -> Raft | None:
        """This shard's server of consensus, once there is a cluster."""
        return self._replica.raft

    @property
    def founding(self) -> str:
        """The id of the cluster that this shard belongs to or waits for; empty if there is none."""
        return self.registry.cluster or self._seat.waits_for

    @property
    def awaited_founders(self) -> tuple[str, ...]:
        """The founders of this shard's promise that have yet to make the same promise."""
        return self._seat.awaited(self.membership) if self.raft is None else ()

    @property
    def promised_founders(self) -> tuple[str, ...]:
        """The founders of this shard's promise, including itself."""
        promise = self._seat.promise if self.raft is None else None
        return tuple(founder.name for founder in promise.founders) if promise is not None else ()

    @property
    def waits_to_be_let_in(self) -> bool:
        """Whether this shard founds no cluster by itself, and sees none."""
        return self.raft is None and self._expect == 1 and self._seat.promise is None and not self._is_lone

    @property
    def kept_out(self) -> str:
        """Why the version of this shard's cluster, or of the one it waits for, keeps it out; empty if it does not."""
        version = version_in_sight([record.member for record in self.membership.live()], self.founding)
        if not version or self._version.covers(version):
            return ""
        return why_kept_out(self.identity.name, self._version, version)

    @property
    def held_back(self) -> Mapping[str, tuple[int, int]]:
        """The members that this leader does not readmit yet: how often they have left, and until when they wait."""
        return self._leading.views.held_back

    @property
    def leader(self) -> str | None:
        """The tick leader's name, if known."""
        return self._replica.leader

    @property
    def clock(self) -> Clock:
        """The clock, which keeps runs in step."""
        return self._clock

    @property
    def holdings(self) -> Holdings:
        """The partitions on this shard's disk, and those that it should have."""
        return self._custody.holdings

    @property
    def progress(self) -> ProgressGossip:
        """Every shard's progress in each run."""
        return self.clock.progress

    @property
    def pacing(self) -> Pacing:
        """The ticks granted to each run."""
        return self.clock.pacing

    @property
    def in_view(self) -> bool:
        """Whether the shard, in its present life, is a member of the view."""
        return self.registry.has_member(self.identity)

    @property
    def has_seat(self) -> bool:
        """Whether this shard is a server of consensus."""
        return self.raft is not None and self._seat.server in self.raft.configuration.members

    @property
    def applied_index(self) -> int:
        """Up to which index this shard has applied the log."""
        return self._replica.applied

    def missing_members(self) -> list[str]:
        """Returns the members of the view that are not alive, in that life, according to membership."""
        view = self.registry.view
        live = {(record.name, record.generation) for record in self.membership.live()}
        return [m.name for m in view.members if (m.name, m.generation) not in live] if view else []

    def why_not_found(self) -> str:
        """Returns why an operator can't make this shard found a cluster; an empty string if it can."""
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

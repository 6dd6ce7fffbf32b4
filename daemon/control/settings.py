"""What a shard receives at its start: the parameters of its machines, and what its disk holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consensus import Limits, Stored
from daemon.control.bootstrap import Promise
from daemon.control.leader.duties import Leading, ResultLimits
from daemon.control.leader.flapping import FlappingLimits
from daemon.control.leader.view_policy import Views
from daemon.control.lives import Life
from daemon.control.versions import OWN, Version
from daemon.membership.config import MembershipConfig


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """The parameters of every machine in the control plane."""

    expect: int = 1
    is_authenticated: bool = False
    """Whether the transport authenticates the senders' names."""
    virtual_nodes: int = 150
    replicas: int = 2
    absent_patience_ns: int = 10_000_000_000
    flap_patience_ns: int = 5_000_000_000
    surplus_grace_ns: int = 60_000_000_000
    snapshot_entries: int = 1024
    results_kept: int = 16
    results_bytes: int = 4 << 30
    report_interval_ns: int = 300_000_000
    progress_interval_ns: int = 200_000_000
    progress_targets: int = 3
    version: Version = OWN
    membership: MembershipConfig = field(default_factory=MembershipConfig)
    consensus: Limits = field(default_factory=Limits)

    def leading(self) -> Leading:
        """Makes the tick leader's decision maker."""
        flapping = FlappingLimits.of(self.flap_patience_ns)
        views = Views(self.virtual_nodes, self.replicas, self.absent_patience_ns, flapping)
        return Leading(views, ResultLimits(self.results_kept, self.results_bytes))


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a shard finds on its disk: the disk's number, its server's state, and the partitions it holds by load.

    Before the shard belongs to a cluster, also its promise to found one. `before` is the generation of the previous
    life on this disk, 0 for the first one. `forgot` means that the last writes are known to be lost.
    """

    disk: int = 1
    stored: Stored | None = None
    held: Mapping[str, frozenset[int]] = field(default_factory=dict)
    promise: Promise | None = None
    before: int = 0
    forgot: bool = False

    @property
    def life(self) -> Life:
        """The life to announce to other shards."""
        stored = self.stored or Stored()
        last_index = stored.entries[-1].index if stored.entries else stored.snapshot.index
        return Life(self.disk, self.before, stored.hard_state.term, last_index, self.forgot)


NOTHING_ON_DISK = OnDisk()

"""The effects that the control plane requests from its host, carried out in order.

A `Persist` (consensus) must be durable before the sends behind it leave, and so must a `KeepPromise` or a
`KeepVersion`. With a `consensus.EffectQueue`, the host calls doors meanwhile; it hands each `Persist` back to
`ControlPlane.persisted`. Announcements of membership and the registry pass through unchanged, for the host's log, its
metrics and its tick plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from consensus import BecameLeader, LeaderChanged, Persist, Snapshot
from daemon.control.bootstrap import Promise
from daemon.control.holdings import Want
from daemon.membership.effects import Announcement as MemberAnnouncement
from daemon.membership.effects import Counted
from daemon.state import Announcement as RegistryAnnouncement
from daemon.state import Thawed
from daemon.state.records import RunRecord, View


@dataclass(frozen=True, slots=True)
class KeepPromise:
    """Makes the promise to found a cluster durable, replacing an older one, before the effects that follow."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class KeepVersion:
    """Makes the cluster's version durable, before anything is written in a format that is new in it."""

    version: int


@dataclass(frozen=True, slots=True)
class Send:
    """Sends a message to a member's control plane; it may be lost, duplicated, delayed or reordered."""

    to: str
    message: object


@dataclass(frozen=True, slots=True)
class SendToAddress:
    """Sends a message to an address without a known member: a seed, or an unknown shard whose name we have."""

    address: str
    message: object
    name: str = ""


@dataclass(frozen=True, slots=True)
class BeginRun:
    """Begins a run on the tick plane, after the end of tick `run.resumed`, replacing its state of an older view.

    `granted` is the last tick that may run, or None if the run is not paced.
    """

    run: RunRecord
    view: View
    granted: int | None


@dataclass(frozen=True, slots=True)
class TellStates:
    """Requests the states on disk of the runs that wait in this epoch's view; the host calls
    `ControlPlane.states_held`.
    """

    epoch: int
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MendHoldings:
    """Fetches exactly these partitions from their holders; the host calls `ControlPlane.parts_gained`."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Writes the state of the log's machines after `index` to a snapshot; the host calls `ControlPlane.snapshot_taken`.

    `chunks` were captured before, and are encoded as they are iterated: once, on any thread, while the log goes on.
    """

    index: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class ReadSnapshot:
    """Reads a leader's snapshot, which may take long; the host calls `ControlPlane.snapshot_read` with what `read`
    returns, or the `Rejected` that it raises. `read` changes nothing, and may run on any thread.
    """

    snapshot: Snapshot
    read: Callable[[], Thawed]


@dataclass(frozen=True, slots=True)
class DeleteParts:
    """Deletes partitions that other shards hold by now or that nobody needs; None means the whole load."""

    load: str
    partitions: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class GrantTicks:
    """Lets a paced run continue up to this tick."""

    run: int
    tick: int


@dataclass(frozen=True, slots=True)
class StopRunHere:
    """Asks a run to end after a tick that all shards agree on."""

    run: int


@dataclass(frozen=True, slots=True)
class HealBarrier:
    """Passes on barrier entries of a run, received by gossip, that may be new to the tick plane."""

    run: int
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Reports that this leader keeps a member out of the view for a while, because it has left too often lately."""

    name: str
    departures: int
    wait_ns: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of a proposal, a step or a read requested here. An empty `error` means success.

    `decided` means that the log gave the answer: without it, a proposal may still be decided later. `index` is the
    command's log index, which rises from one command to the next: a fencing token.
    """

    request: str
    error: str
    name: str = ""
    tick: int = 0
    decided: bool = False
    index: int = 0


@dataclass(frozen=True, slots=True)
class DiskWentBack:
    """This shard's disk has gone back to an earlier state, and the others have a leader without it.

    The host discards its consensus state and starts again as a new disk.
    """

    why: str


@dataclass(frozen=True, slots=True)
class KeptOut:
    """Reports that this leader does not let a shard in, because its Shoal can't be at the cluster's version."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PeerWentBack:
    """Another shard's disk has gone back to an earlier state; this shard no longer counts its server."""

    name: str


@dataclass(frozen=True, slots=True)
class LogUnreadable:
    """The log has an entry that this version can't read, so nothing behind it can be applied.

    The host exits and reports why. Until then this shard takes no part in consensus.
    """

    why: str


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    """This shard lacks so much of the log that the leader sends a snapshot, which this version can't read."""

    leader: str
    why: str


Announcement: TypeAlias = (
    HeldBack
    | KeptOut
    | PeerWentBack
    | SnapshotRefused
    | BecameLeader
    | LeaderChanged
    | MemberAnnouncement
    | RegistryAnnouncement
)
Effect: TypeAlias = (
    Persist
    | KeepPromise
    | KeepVersion
    | Send
    | SendToAddress
    | BeginRun
    | TellStates
    | MendHoldings
    | TakeSnapshot
    | ReadSnapshot
    | DeleteParts
    | GrantTicks
    | StopRunHere
    | HealBarrier
    | Answered
    | DiskWentBack
    | LogUnreadable
    | Counted
    | Announcement
)

"""The few things that the shard asks of its host, carried out in order.

A `Persist` (consensus) must be durable before the sends behind it leave, and so must a `KeepPromise`. What membership
and the registry announce is passed on as it is, for the host's log, its metrics and its tick plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consensus import BecameLeader, LeaderChanged, Persist
from daemon.control.bootstrap import Promise
from daemon.control.holdings import Want
from daemon.membership.effects import Announcement as MemberAnnouncement
from daemon.membership.effects import Counted
from daemon.state import Announcement as RegistryAnnouncement
from daemon.state.records import RunRecord, View


@dataclass(frozen=True, slots=True)
class KeepPromise:
    """Make durable with whom this shard is to found a cluster, in the place of an older one; before what follows."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a message to a member's control plane; it may be lost, repeated, late or out of order."""

    to: str
    message: object


@dataclass(frozen=True, slots=True)
class SendToAddress:
    """The same for one who is not known (there): a seed, or a stranger who asked, of whom we have the name."""

    address: str
    message: object
    name: str = ""


@dataclass(frozen=True, slots=True)
class BeginRun:
    """Begin a run on the tick plane, after the end of tick `run.resumed`, in place of what it was in an older view.

    `granted` is the last tick that may run, None if it is not paced.
    """

    run: RunRecord
    view: View
    granted: int | None


@dataclass(frozen=True, slots=True)
class TellStates:
    """Runs wait in the view of this epoch: look up which of their states are on disk; `ControlPlane.states_held`."""

    epoch: int
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MendHoldings:
    """Fetch these partitions, and no others, from those who have them; tell `ControlPlane.parts_gained`."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class DeleteParts:
    """Others hold these partitions by now, or nobody needs them: delete them; None means all of the load."""

    load: str
    partitions: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class GrantTicks:
    """Let a paced run go on up to this tick."""

    run: int
    tick: int


@dataclass(frozen=True, slots=True)
class StopRunHere:
    """Ask a run to end after a tick that all agree on."""

    run: int


@dataclass(frozen=True, slots=True)
class HealBarrier:
    """Gossip brought barrier entries of a run that may be news to the tick plane."""

    run: int
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """This shard leads, and does not let a member into the view for a while that has gone so many times lately."""

    name: str
    departures: int
    wait_ns: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of something that was asked for here: a proposal, a step or a read. An empty `error` means done.

    `decided` says that the answer is the log's: without it, a proposal may still be decided later.
    """

    request: str
    error: str
    name: str = ""
    tick: int = 0
    decided: bool = False


@dataclass(frozen=True, slots=True)
class DiskWentBack:
    """This shard's disk has gone back to an earlier state, and the others have a leader without it: give up what is
    there of consensus, and start again as a new disk.
    """

    why: str


@dataclass(frozen=True, slots=True)
class PeerWentBack:
    """Another shard's disk has gone back to an earlier state; its server counts no more here."""

    name: str


@dataclass(frozen=True, slots=True)
class LogUnreadable:
    """The log has decided something that this version can't read, so nothing behind it can be applied here: end, and
    tell people why. Until then this shard takes no part in consensus.
    """

    why: str


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    """This shard lacks so much of the log that the leader sends a snapshot, which this version can't read."""

    leader: str
    why: str


Effect: TypeAlias = (
    Persist
    | KeepPromise
    | Send
    | SendToAddress
    | BeginRun
    | TellStates
    | MendHoldings
    | DeleteParts
    | GrantTicks
    | StopRunHere
    | HealBarrier
    | HeldBack
    | Answered
    | DiskWentBack
    | PeerWentBack
    | LogUnreadable
    | SnapshotRefused
    | BecameLeader
    | LeaderChanged
    | MemberAnnouncement
    | RegistryAnnouncement
    | Counted
)

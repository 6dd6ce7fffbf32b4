"""Messages between shards on the control plane, besides those of membership and consensus."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.api.ranges import Count, Entry, Tick


@dataclass(frozen=True, slots=True)
class Proposal:
    """Asks the leader to append this command of a machine. Resent until it is decided or given up.

    `sequence` numbers the sender's proposals in its life; it waits for the outcome of none below `answered`.
    """

    sequence: Count
    answered: Count
    machine: str
    command: bytes


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """The leader rejected the proposal, for a reason that retrying does not fix."""

    sequence: Count
    reason: str


@dataclass(frozen=True, slots=True)
class ReadIndexRequest:
    """Asks how far the log is committed. Resent until it is answered or given up. The sender follows in this term."""

    request: str
    term: Count


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """The log was committed no further than this when the request came, and the sender led then."""

    request: str
    index: Count


@dataclass(frozen=True, slots=True)
class ClockRequest:
    """Asks what time it is. `asked_ns` is the sender's monotonic clock."""

    asked_ns: Count


@dataclass(frozen=True, slots=True)
class ClockReply:
    """The sender's wall clock, when the question of that time came."""

    asked_ns: Count
    unix_ns: Count


@dataclass(frozen=True, slots=True)
class DiskForgets:
    """Notifies a shard whose disk has gone back that its server no longer counts.

    It has forgotten a life (`lived`) or what its server had promised (`term` and `index`). `is_led`: there is a leader
    without it.
    """

    server: str
    generation: int
    lived: int
    term: int
    index: int
    is_led: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """Lets ticks of a paced run begin, up to this one. It only grows; the greatest wins."""

    run: Count
    tick: Tick


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Asks for one more tick of a paced run."""

    request: str
    run: Count


@dataclass(frozen=True, slots=True)
class StepReply:
    """The tick that was granted for that request."""

    request: str
    run: Count
    tick: Tick


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """How far a shard has come in a run. `sequence` is the shard's own count: the greater is the newer."""

    shard: str
    sequence: Count
    entry: Entry
    tick: Tick
    doing: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """All that the sender knows of everyone's progress in a run, in the view of this epoch."""

    run: Count
    epoch: Count
    shards: tuple[ShardProgress, ...]

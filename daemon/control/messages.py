"""Messages between shards on the control plane, besides those of membership and consensus."""

from __future__ import annotations

from shoal.api.struct import Count, Entry, Number, Struct, Tick


class Proposal(Struct):
    """Asks the leader to append this command of a machine. Resent until it is decided or given up.

    `sequence` numbers the sender's proposals in its life; it awaits no outcome of a number below `answered`.
    """

    sequence: Count
    answered: Count
    machine: str
    command: bytes


class ProposalRefused(Struct):
    """The leader rejected the proposal, for a reason that retrying does not fix."""

    sequence: Count
    reason: str


class ReadIndexRequest(Struct):
    """Asks how far the log is committed. Resent until answered or given up. The sender follows in this term."""

    request: str
    term: Count


class ReadIndexReply(Struct):
    """The log was committed no further than this when the request arrived, and the sender led then."""

    request: str
    index: Count


class ClockRequest(Struct):
    """Asks for the time. `asked_ns` is the sender's monotonic clock."""

    asked_ns: Count


class ClockReply(Struct):
    """The sender's wall clock when the request sent at `asked_ns` arrived."""

    asked_ns: Count
    unix_ns: Count


class DiskForgets(Struct):
    """Notifies a shard whose disk has gone back that its server no longer counts.

    It has forgotten a life (`lived`) or its server's promise (`term` and `index`). `is_led`: a leader exists without
    it.
    """

    server: str
    generation: Number
    lived: Number
    term: Number
    index: Number
    is_led: bool


class Grant(Struct):
    """Lets ticks of a paced run begin, up to this one. It only grows; the greatest wins."""

    run: Count
    tick: Tick


class StepRequest(Struct):
    """Asks for one more tick of a paced run."""

    request: str
    run: Count


class StepReply(Struct):
    """The tick granted for that request."""

    request: str
    run: Count
    tick: Tick


class ShardProgress(Struct):
    """How far a shard has come in a run. `sequence` is the shard's own count: a greater one is newer."""

    shard: str
    sequence: Count
    entry: Entry
    tick: Tick
    doing: str
    seconds: float


class Progress(Struct):
    """All that the sender knows of everyone's progress in a run, in the view of this epoch."""

    run: Count
    epoch: Count
    shards: tuple[ShardProgress, ...]

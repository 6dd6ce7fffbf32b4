"""Messages between shards on the control plane, besides those of membership and consensus."""

from __future__ import annotations

from shoal.api.struct import Count, Entry, Number, Struct, Tick


class Proposal(Struct):
    """Asks the leader to append this command of a machine. Resent until it is decided or given up.

    `sequence` numbers the sender's proposals in its life; it waits for the outcome of none below `answered`.
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
    """Asks how far the log is committed. Resent until it is answered or given up. The sender follows in this term."""

    request: str
    term: Count


class ReadIndexReply(Struct):
    """The log was committed no further than this when the request came, and the sender led then."""

    request: str
    index: Count


class ClockRequest(Struct):
    """Asks what time it is. `asked_ns` is the sender's monotonic clock."""

    asked_ns: Count


class ClockReply(Struct):
    """The sender's wall clock, when the question of that time came."""

    asked_ns: Count
    unix_ns: Count


class DiskForgets(Struct):
    """Notifies a shard whose disk has gone back that its server no longer counts.

    It has forgotten a life (`lived`) or what its server had promised (`term` and `index`). `is_led`: there is a leader
    without it.
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
    """The tick that was granted for that request."""

    request: str
    run: Count
    tick: Tick


class ShardProgress(Struct):
    """How far a shard has come in a run. `sequence` is the shard's own count: the greater is the newer."""

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

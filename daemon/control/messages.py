"""Messages between shards on the control plane, besides those of membership and consensus."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.api.ranges import Count, Entry, Tick
from shoal.lockstep.frames import Frames


@dataclass(frozen=True, slots=True)
class Proposal:
    """Asks the leader to propose this command, encoded as a log entry. Resent until it is decided or given up."""

    request: str
    command: bytes


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """The leader rejected the proposal, for a reason that retrying does not fix."""

    request: str
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
class RunReport:
    """A run is over at the sender, in the view of this epoch; repeated to the leader until the log records it.

    What the sender keeps of it takes `result_bytes` on its disk.
    """

    run: Count
    epoch: Count
    tick: Tick
    outcome: str
    failure: str
    cross_bytes: Count
    ended_unix_ns: Count
    figures: str = ""
    result_bytes: Count = 0


@dataclass(frozen=True, slots=True)
class RunStates:
    """Of one run: a tick, made in that epoch, and the partitions (bits) whose state at its end the sender has."""

    run: Count
    tick: Tick
    partitions: bytes
    epoch: Count = 0


@dataclass(frozen=True, slots=True)
class StatesHeld:
    """All states that the sender has of the runs that wait in the view of this epoch; repeated until they resume.

    `reached` are, by run, the last ticks that the sender knows to be committed.
    """

    epoch: Count
    states: tuple[RunStates, ...]
    reached: tuple[tuple[Count, Tick], ...] = ()


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


@dataclass(frozen=True, slots=True)
class PartitionRequest:
    """Asks the receiver to ship a partition of a load from its disk, with its states of the runs on that graph.

    It comes as a shipment on the tick plane, under the name of this fetch. Resent until it is offered.
    """

    fetch: str
    load: str
    partition: int


@dataclass(frozen=True, slots=True)
class StatesRequest:
    """Asks the receiver to ship, in the same way, its states of a run's tick, of these partitions (bits).

    They travel as one piece, read at one moment: a run moves on quickly.
    """

    fetch: str
    run: Count
    tick: Tick
    partitions: bytes


@dataclass(frozen=True, slots=True)
class PartitionMissing:
    """The sender does not have what was requested; the receiver asks somebody else."""

    fetch: str


@dataclass(frozen=True, slots=True)
class PartStatsRequest:
    """Asks what the receiver holds of the graph that this load has become."""

    request: str
    load: str


@dataclass(frozen=True, slots=True)
class PartStatsReply:
    """The sender's part: own nodes, edges that touch them, copies of others' nodes, edges that leave it, bytes."""

    request: str
    nodes: Count
    edges: Count
    ghosts: Count
    cross_edges: Count
    held_bytes: Count


@dataclass(frozen=True, slots=True)
class RowsRequest:
    """Asks for the values of these columns at the receiver's nodes, as a run had them at a tick.

    Either those of ordinals from `first` to before `last`, or, of one column, the `top` most extreme.
    """

    request: str
    run: str
    tick: Tick
    columns: tuple[str, ...]
    first: Count
    last: Count
    top: Count
    least: bool


@dataclass(frozen=True, slots=True)
class RowsReply:
    """Frames: ordinals (int64), values of each column, then the ids' frames; `ids` is their spec, `total` the rows."""

    request: str
    error: str
    total: Count
    dtypes: tuple[str, ...]
    ids: bytes
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class KeptTicksRequest:
    """Asks at which ticks the receiver has states of this run."""

    request: str
    run: Count


@dataclass(frozen=True, slots=True)
class KeptTicksReply:
    """The ticks on the sender's disk, and the last tick that it knows to be committed."""

    request: str
    committed: Tick
    states: tuple[RunStates, ...]


@dataclass(frozen=True, slots=True)
class TableRequest:
    """Asks for the rows of a table, from `first` on, in a partition of the receiver's, as a run had them at a tick."""

    request: str
    run: str
    tick: Tick
    table: str
    partition: Count
    first: Count


@dataclass(frozen=True, slots=True)
class TableReply:
    """Some rows: how many, of how many in all; `specs` are the columns' names and specs, the frames their frames."""

    request: str
    error: str
    count: Count
    total: Count
    specs: bytes
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Searches the receiver's documents of a load's graph, in the placement of this epoch.

    Without weights, asks in how many of them each term occurs; with weights, which are the `top` best by them.
    """

    request: str
    epoch: Count
    load: str
    column: str
    terms: tuple[str, ...]
    weights: tuple[float, ...]
    top: Count


@dataclass(frozen=True, slots=True)
class SearchReply:
    """The sender's number of documents, and either how many have each term, or the best.

    The frames belong to the best: ordinals, scores, and the ids' frames; `ids` is their spec, `total` how many they
    are.
    """

    request: str
    error: str
    documents: Count
    frequencies: tuple[int, ...]
    total: Count
    ids: bytes
    frames: Frames = ()

"""What shards say to each other on the control plane, beside membership and consensus."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.api.ranges import Count, Entry, Tick
from shoal.lockstep.frames import Frames


@dataclass(frozen=True, slots=True)
class Proposal:
    """Propose this command for me: its bytes are a log entry's. Sent again until it is decided or given up."""

    request: str
    command: bytes


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """The leader would not take the proposal, for a reason that waiting does not mend."""

    request: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReadIndexRequest:
    """How far is the log committed? Sent again until it is told or given up. The sender follows in this term."""

    request: str
    term: Count


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """It was committed no further than this when the question came, and the sender led then."""

    request: str
    index: Count


@dataclass(frozen=True, slots=True)
class DiskForgets:
    """To a shard whose disk has gone back: it has forgotten a life (`lived`) or what its server had said (`term` and
    `index`), and has no say any more. `is_led`: there is a leader without it.
    """

    server: str
    generation: int
    lived: int
    term: int
    index: int
    is_led: bool


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run is over at the sender, in the view of this epoch; repeated to the leader until the log says so.

    What is kept of it takes `result_bytes` on the sender's disk.
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
    """All states that the sender has of the runs that wait in the view of this epoch; repeated until they go on.

    `reached` are, by run, the last ticks that the sender knows to be committed.
    """

    epoch: Count
    states: tuple[RunStates, ...]
    reached: tuple[tuple[Count, Tick], ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Ticks of a paced run up to this one may begin. Only ever grows; the greatest wins."""

    run: Count
    tick: Tick


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Let one more tick of a paced run begin."""

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
    """Ship me a partition of a load from your disk, with the states that the runs on that graph have there.

    What comes is a shipment on the tick plane, under the name of this fetch. Sent again until it is offered.
    """

    fetch: str
    load: str
    partition: int


@dataclass(frozen=True, slots=True)
class StatesRequest:
    """Ship me, in the same way, those states of a run's tick that you have, of these partitions (bits).

    They go as one, as they are at one moment: a run moves on quickly.
    """

    fetch: str
    run: Count
    tick: Tick
    partitions: bytes


@dataclass(frozen=True, slots=True)
class PartitionMissing:
    """The sender does not have what was asked for: ask somebody else."""

    fetch: str


@dataclass(frozen=True, slots=True)
class PartStatsRequest:
    """What do you hold of the graph that this load has become?"""

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
    """Send me your nodes' values of these columns, as a run had them at a tick.

    Those of ordinals from `first` to before `last`; or, of one column, the `top` most extreme.
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
    """At which ticks have you states of this run?"""

    request: str
    run: Count


@dataclass(frozen=True, slots=True)
class KeptTicksReply:
    """What is on the sender's disk, and the last tick that it knows to be committed."""

    request: str
    committed: Tick
    states: tuple[RunStates, ...]


@dataclass(frozen=True, slots=True)
class TableRequest:
    """Send me the rows of a table that belong to a partition of yours, from `first` on, as a run had them at a tick."""

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
    """Of the graph of a load, in the placement of this epoch: in how many of your documents is each term, or, if there
    are weights, which are your `top` best by them?
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
    """The sender's documents, and either how many have each term, or the best.

    Of these the frames: ordinals, scores, and the ids' frames; `ids` is their spec, `total` how many they are.
    """

    request: str
    error: str
    documents: Count
    frequencies: tuple[int, ...]
    total: Count
    ids: bytes
    frames: Frames = ()

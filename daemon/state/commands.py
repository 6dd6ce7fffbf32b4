"""What consensus decides: the commands in the log, and nothing else gets in there (no graph data, no ticks).

Each carries `request`, a name that its proposer made up, so that a command that was proposed twice (the
leader died, perhaps after committing it) is applied once, and so that the proposer recognises its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from daemon.wire import ANOTHER_VERSIONS, RECORD_VERSION, Codec, Reason, Rejected, WireLimits
from shoal.api.ranges import TICKS_MAX, Count, Tick, Within


@dataclass(frozen=True, slots=True)
class Identity:
    """A shard in one of its lives: the generation rises at each start."""

    name: str
    generation: Count

    def __str__(self) -> str:
        return f"{self.name}/{self.generation}"


@dataclass(frozen=True, slots=True)
class FormView:
    """The members that hold the graphs from this epoch on, in order, and how many of them hold each partition."""

    request: str
    epoch: Count
    members: tuple[Identity, ...]
    virtual_nodes: Count
    replicas: Count


@dataclass(frozen=True, slots=True)
class Holding:
    """Partitions of a loaded graph (or of a run's state), as bits: partition p is bit p % 8 of byte p // 8."""

    load: str
    partitions: bytes


@dataclass(frozen=True, slots=True)
class HoldParts:
    """What a shard has durably on its disk. `is_whole`: all that it has, as said at each start; else what it gained.
    `disk` is the disk's number: a life that the log knows of is one that this disk must remember from then on.

    A shard takes part in a view only once it has said so in its present life.
    """

    request: str
    shard: Identity
    holdings: tuple[Holding, ...]
    is_whole: bool
    disk: int = 0


@dataclass(frozen=True, slots=True)
class DropParts:
    """A shard is about to delete partitions that others hold by now; it does so only once the log has said yes."""

    request: str
    shard: Identity
    holding: Holding


@dataclass(frozen=True, slots=True)
class Drain:
    """Move everything away from a shard, because it is going to stop; or, not `is_on`, let it take part again."""

    request: str
    shard: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """In the view of this epoch, a member has looked for every result that it should have and was away for.

    Said only while somebody is being drained: who goes takes with it what has not been fetched by then.
    """

    request: str
    shard: Identity
    epoch: Count


@dataclass(frozen=True, slots=True)
class AddGraph:
    """A load is whole at every member of the view: from here on the graph exists.

    The edges are counted as they were given; those of an undirected graph are held both ways.
    """

    request: str
    name: str
    load: str
    epoch: Count
    node_count: Count
    edge_count: Count
    partition_count: Count
    cross_edges: Count
    id_type: str
    node_columns: tuple[tuple[str, str], ...]
    edge_columns: tuple[tuple[str, str], ...]
    directed: bool = True


@dataclass(frozen=True, slots=True)
class DropGraph:
    """The graph goes, and its runs and their results with it; by force, also runs that are not over.

    `load` is that of the graph that was meant: another one may have taken its name since.
    """

    request: str
    name: str
    load: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """A deployed program: its source, and as JSON what was found out about it. The registry fills in the digest.

    One that is not current can't be started; it is there for runs that have used it.
    """

    name: str
    source: bytes
    described: str
    added_unix_ns: Count
    is_current: bool = True
    digest: str = ""


@dataclass(frozen=True, slots=True)
class AddProgram:
    """Every shard keeps the program, and runs may name it; another version of that name steps back for it."""

    request: str
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class DropProgram:
    """No run may name the program any more."""

    request: str
    name: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Run a program on a graph. `params` are names and JSON values; `interval_ns` 0 means as fast as it goes.

    `load` is that of the graph that was meant: another one may have taken its name since. With `runs_max` runs going on
    already (0: any number), the run is declined or, with `may_queue`, waits for its turn.

    A paced run does a tick when it is told to; `phases` is a bit for each phase that the program uses. Its state is
    held durably every `checkpoint_ticks`; 0: by time; -1: only at its end. `digest` is that of the program's source:
    a shard that has another one fails the run; "" where nobody can tell.
    """

    request: str
    program: str
    graph: str
    load: str
    params: tuple[tuple[str, str], ...]
    ticks: Tick
    interval_ns: Count
    paced: bool
    phases: Annotated[int, Within(0, 15)]
    columns: tuple[str, ...]
    started_unix_ns: Count
    checkpoint_ticks: Annotated[int, Within(-1, TICKS_MAX)] = 0
    digest: str = ""
    runs_max: Count = 0
    may_queue: bool = False


@dataclass(frozen=True, slots=True)
class StateSource:
    """Who has the state of partitions (bits, as in `Holding`) whose primary lacks it."""

    shard: str
    partitions: bytes


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """In the view of this epoch, a run goes on from the end of a tick that is held for every partition.

    The tick was made in the epoch `origin`. Somebody has seen tick `reached` committed: no stop ends the run before it
    is there again.
    """

    request: str
    run: str
    epoch: Count
    tick: Tick
    sources: tuple[StateSource, ...]
    reached: Tick = 0
    origin: Count = 0


@dataclass(frozen=True, slots=True)
class StopRun:
    """End a run after its next tick; by force, also in the middle of a phase that takes longer than a moment."""

    request: str
    run: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class EndRun:
    """A run is over, after `tick` ticks: every member has said so, or one that it has failed there.

    `figures` are the aggregates that its program shows, as JSON. Its result takes `result_bytes` on the disk of the
    member that holds most of it.
    """

    request: str
    run: str
    outcome: str
    tick: Tick
    failure: str
    cross_bytes: Count
    ended_unix_ns: Count
    figures: str = ""
    result_bytes: Count = 0


@dataclass(frozen=True, slots=True)
class ExpireResults:
    """There is no more room for the results of these runs, which are over: their states are deleted everywhere."""

    request: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run of another cluster, as a backup has it: one that is over, or one that is to go on."""

    number: Count
    start: StartRun
    state: str
    tick: Tick
    failure: str
    cross_bytes: Count
    ended_unix_ns: Count
    figures: str = ""
    result_bytes: Count = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """What a backup holds is on the disks of the view's members: from here on it is this cluster's, all of it at once.

    Each graph says what an `AddGraph` of its own would say, and numbers of runs go on behind `runs_begun`. `programs`
    are in a backup's file alone: the log has each by an `AddProgram`, for together they would be too large an entry.
    """

    request: str
    graphs: tuple[AddGraph, ...]
    runs: tuple[KeptRun, ...]
    runs_begun: Count
    programs: tuple[ProgramVersion, ...] = ()


Decision: TypeAlias = (
    FormView
    | AddGraph
    | DropGraph
    | StartRun
    | StopRun
    | EndRun
    | HoldParts
    | DropParts
    | Drain
    | ResumeRun
    | Restore
    | Settled
    | AddProgram
    | DropProgram
    | ExpireResults
)


class CommandRejected(Exception):
    """A decision makes no sense any more when its turn comes; the text is for the one who asked."""


_TYPES = dict(
    enumerate(
        (
            FormView, AddGraph, DropGraph, StartRun, StopRun, EndRun, HoldParts, DropParts, Drain, ResumeRun, Restore,
            Settled, AddProgram, DropProgram, ExpireResults,
        ),
        start=1,
    )
)  # fmt: skip


def to_bits(partitions: Iterable[int]) -> bytes:
    """A set of partitions as it stands in the log and on the wire.

    >>> from_bits(to_bits({0, 9})) == {0, 9}
    True
    """
    number = 0
    for partition in partitions:
        number |= 1 << partition
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def from_bits(bits: bytes) -> frozenset[int]:
    """The set again; any bytes are one."""
    return frozenset(8 * i + k for i, byte in enumerate(bits) if byte for k in range(8) if byte >> k & 1)


ARCHIVE_LIMITS = WireLimits(header_bytes_max=16 << 20)
"""Of what a backup's file says that the log should decide."""


class CommandUnreadable(Exception):
    """Bytes that this version does not take for a command; the text says what they are and why not."""

    def __init__(self, rejected: Rejected, version: int | None, tag: int | None) -> None:
        kind = _TYPES.get(tag) if tag is not None else None
        self.what = "" if tag is None else f"tag {tag}" + (f", {kind.__name__}" if kind is not None else "")
        of = "" if version is None else f" of record version {version}"
        super().__init__(f"{f'a command ({self.what})' if self.what else 'no command'}{of}: {rejected}")
        self.reason, self.version = rejected.reason, version

    @property
    def is_later(self) -> bool:
        """Whether a later version of Shoal is known to have written them."""
        if self.reason is Reason.VERSION:
            return self.version is not None and self.version > RECORD_VERSION
        return self.reason in ANOTHER_VERSIONS


class CommandCodec:
    """Decisions <-> the bytes of a log entry, or of a backup's file, by the same checked codec as the wire."""

    def __init__(self, limits: WireLimits | None = None) -> None:
        self._codec = Codec("log", _TYPES, limits or WireLimits(), RECORD_VERSION)

    def encode(self, decision: Decision) -> bytes:
        """One entry's bytes. Raises `Rejected` if it is too large for one."""
        (header,) = self._codec.encode(0, "log", 0, decision)
        return bytes(header)

    def decode(self, data: bytes) -> Decision:
        """The decision. Raises `CommandUnreadable` for bytes that no shard of this version writes."""
        try:
            decision: Decision = self._codec.decode([data]).message
        except Rejected as rejected:
            raise CommandUnreadable(rejected, *self._codec.label(data)) from rejected
        return decision

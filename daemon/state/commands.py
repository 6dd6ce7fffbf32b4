"""The commands of the log. Nothing else enters it: no graph data, no ticks.

Each carries `request`, a name chosen by its proposer. It ensures that a command proposed twice (the leader died,
perhaps after committing it) is applied once, and lets the proposer recognise its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from daemon.version import FIRST, NEWEST
from daemon.wire import ANOTHER_VERSIONS, Codec, Reason, Rejected, WireLimits
from shoal.api.ranges import INT_MAX, TICKS_MAX, Count, Tick, Within


@dataclass(frozen=True, slots=True)
class Identity:
    """A shard in one of its lives: the generation rises at each start."""

    name: str
    generation: Count

    def __str__(self) -> str:
        return f"{self.name}/{self.generation}"


@dataclass(frozen=True, slots=True)
class FormView:
    """Sets the members that hold the graphs from this epoch on, in order, and how many of them hold each partition."""

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
    """Records what a shard has durably on its disk.

    With `is_whole`, as at each start, that is all it has; otherwise what it gained. `disk` is the disk's number: from
    then on, this disk must remember this life. A shard takes part in a view only after this command in its present
    life.
    """

    request: str
    shard: Identity
    holdings: tuple[Holding, ...]
    is_whole: bool
    disk: int = 0


@dataclass(frozen=True, slots=True)
class DropParts:
    """Announces that a shard will delete partitions that others hold by now, once this command is decided."""

    request: str
    shard: Identity
    holding: Holding


@dataclass(frozen=True, slots=True)
class Drain:
    """Moves everything away from a shard, because it is going to stop; or, if not `is_on`, lets it take part again."""

    request: str
    shard: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """In the view of this epoch, a member has looked for every result that it should have and lacked.

    Proposed only while a shard is being drained: it takes with it whatever has not been fetched by then.
    """

    request: str
    shard: Identity
    epoch: Count


@dataclass(frozen=True, slots=True)
class AddGraph:
    """Adds a graph whose load is complete at every member of the view; from here on it exists.

    Edges are counted as they were given; those of an undirected graph are held both ways.
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
    """Drops a graph with its runs and their results; with force, also runs that are not over.

    `load` identifies the graph that was meant: another one may have taken its name since.
    """

    request: str
    name: str
    load: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """A deployed program: its source, and its description as JSON. The registry fills in the digest.

    A version that is not current can't be started; it is kept for runs that have used it.
    """

    name: str
    source: bytes
    described: str
    added_unix_ns: Count
    is_current: bool = True
    digest: str = ""


@dataclass(frozen=True, slots=True)
class AddProgram:
    """Deploys a program: every shard keeps it, and runs may name it. It replaces another version of that name."""

    request: str
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class DropProgram:
    """Removes a program: no run may name it any more."""

    request: str
    name: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Starts a program on a graph.

    `params` are names and JSON values; `interval_ns` 0 means as fast as possible. `load` identifies the graph that was
    meant: another one may have taken its name since. With `runs_max` runs active already (0: any number), the run is
    rejected or, with `may_queue`, waits for its turn.

    A paced run executes a tick on request. `phases` has a bit for each phase that the program uses. The run's state is
    checkpointed every `checkpoint_ticks`; 0: by time; -1: only at its end. `digest` is that of the program's source: a
    shard that has another one fails the run; "" if unknown.
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
    """The shard that has the state of partitions (bits, as in `Holding`) whose primary lacks it."""

    shard: str
    partitions: bytes


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Resumes a run in the view of this epoch, from the end of a tick that is held for every partition.

    The tick was made in the epoch `origin`. Some member has seen tick `reached` committed, so no stop ends the run
    before it reaches that tick again.
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
    """Ends a run after its next tick; with force, also in the middle of a phase that takes longer than a moment."""

    request: str
    run: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class EndRun:
    """Ends a run after `tick` ticks: every member has reported its end, or one that it has failed.

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
    """Expires the results of these finished runs, for lack of room: all shards delete their states."""

    request: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run of another cluster, as a backup has it: finished, or to be resumed."""

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
    """Adds everything that a backup holds, at once; it is already on the disks of the view's members.

    Each graph carries the content of an `AddGraph` of its own, and run numbers continue after `runs_begun`. Only a
    backup's file holds `programs`: the log has each by an `AddProgram`, because together they would be too large an
    entry.
    """

    request: str
    graphs: tuple[AddGraph, ...]
    runs: tuple[KeptRun, ...]
    runs_begun: Count
    programs: tuple[ProgramVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class RaiseVersion:
    """Raises the cluster version: every member can read what is new in it, so it may be written from here on."""

    request: str
    version: Annotated[int, Within(FIRST, INT_MAX)]


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
    | RaiseVersion
)


class CommandRejected(Exception):
    """A command no longer makes sense when its turn comes; the text is for its proposer."""


_TYPES = dict(
    enumerate(
        (
            FormView, AddGraph, DropGraph, StartRun, StopRun, EndRun, HoldParts, DropParts, Drain, ResumeRun, Restore,
            Settled, AddProgram, DropProgram, ExpireResults, RaiseVersion,
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
    """Bytes that this version can't decode as a command; the text says what they are and why not."""

    def __init__(self, rejected: Rejected, version: int | None, tag: int | None) -> None:
        kind = _TYPES.get(tag) if tag is not None else None
        self.what = "" if tag is None else f"tag {tag}" + (f", {kind.__name__}" if kind is not None else "")
        of = "" if version is None else f" of version {version}"
        super().__init__(f"{f'a command ({self.what})' if self.what else 'no command'}{of}: {rejected}")
        self.reason = rejected.reason
        self.is_later = rejected.reason in ANOTHER_VERSIONS and (version is None or version >= FIRST)
        """Whether a later version of Shoal is known to have written them."""


class CommandCodec:
    """Translates commands to and from the bytes of a log entry or a backup's file, by the wire's checked codec."""

    def __init__(self, limits: WireLimits | None = None, version: int = FIRST, newest: int = NEWEST) -> None:
        self._codec, self._newest = Codec("log", _TYPES, limits or WireLimits(), version, newest), newest

    @property
    def version(self) -> int:
        """The cluster version that bounds what is written."""
        return self._codec.version

    @version.setter
    def version(self, version: int) -> None:
        self._codec.version = version

    def encode(self, decision: Decision) -> bytes:
        """One entry's bytes. Raises `Rejected` if it is too large for one."""
        (header,) = self._codec.encode(0, "log", 0, decision)
        return bytes(header)

    def decode(self, data: bytes) -> Decision:
        """The decision. Raises `CommandUnreadable` for bytes that no shard of this version writes, and for a cluster
        version that this Shoal can't be at.
        """
        try:
            decision: Decision = self._codec.decode([data]).message
            if isinstance(decision, RaiseVersion) and decision.version > self._newest:
                why = f"the cluster's becomes {decision.version}, and this Shoal reads up to {self._newest}"
                raise Rejected(Reason.VERSION, why)
        except Rejected as rejected:
            raise CommandUnreadable(rejected, *self._codec.label(data)) from rejected
        return decision

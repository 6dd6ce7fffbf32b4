"""The commands of the log about views, graphs, runs and programs, and the values in them. No graph data, no ticks.

Who asked for a command, and when, is in its envelope (`envelope`). The tables of tags are beside what applies them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from daemon.state.machine import Command
from daemon.wire.version import FIRST
from shoal.api.ranges import INT_MAX, TICKS_MAX
from shoal.api.struct import Count, Number, Struct, Tick


class Identity(Struct):
    """A shard in one of its lives: the generation rises at each start."""

    name: str
    generation: Count

    def __str__(self) -> str:
        return f"{self.name}/{self.generation}"


class FormView(Command):
    """Sets the members that hold the graphs from this epoch on, in order, and how many of them hold each partition."""

    epoch: Count
    members: tuple[Identity, ...]
    virtual_nodes: Count
    replicas: Count


class Holding(Struct):
    """Partitions of a loaded graph (or of a run's state), as bits: partition p is bit p % 8 of byte p // 8."""

    load: str
    partitions: bytes


class HoldParts(Command):
    """Records what a shard has durably on its disk.

    With `is_whole`, as at each start, that is all it has; otherwise what it gained. `disk` is the disk's number: from
    then on, this disk must remember this life. A shard takes part in a view only after this command in its present
    life.
    """

    shard: Identity
    holdings: tuple[Holding, ...]
    is_whole: bool
    disk: Number = 0


class DropParts(Command):
    """Announces that a shard will delete partitions that others hold by now, once this command is decided."""

    shard: Identity
    holding: Holding


class Drain(Command):
    """Moves everything away from a shard, because it is going to stop; or, if not `is_on`, lets it take part again."""

    shard: str
    is_on: bool


class Settled(Command):
    """In the view of this epoch, a member has looked for every result that it should have and lacked.

    Proposed only while a shard is being drained: it takes with it whatever has not been fetched by then.
    """

    shard: Identity
    epoch: Count


class AddGraph(Command):
    """Adds a graph whose load is complete at every member of the view; from here on it exists.

    Edges are counted as they were given; those of an undirected graph are held both ways.
    """

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


class DropGraph(Command):
    """Drops a graph with its runs and their results; with force, also runs that are not over.

    `load` identifies the graph that was meant: another one may have taken its name since.
    """

    name: str
    load: str
    by_force: bool = False


class ProgramVersion(Struct):
    """A deployed program: its source, and its description as JSON. The registry fills in the digest.

    It also fills in the time, unless that is known: a backup's programs were deployed before.
    A version that is not current can't be started; it is kept for runs that have used it.
    """

    name: str
    source: bytes
    described: str
    added_unix_ns: Count
    is_current: bool = True
    digest: str = ""


class AddProgram(Command):
    """Deploys a program: every shard keeps it, and runs may name it. It replaces another version of that name."""

    version: ProgramVersion


class DropProgram(Command):
    """Removes a program: no run may name it any more."""

    name: str


class StartRun(Command):
    """Starts a program on a graph.

    `params` are names and JSON values; `interval_ns` 0 means as fast as possible. `load` identifies the graph that was
    meant: another one may have taken its name since. With `runs_max` runs active already (0: any number), the run is
    rejected or, with `may_queue`, waits for its turn.

    A paced run executes a tick on request. `phases` has a bit for each phase that the program uses. The run's state is
    checkpointed every `checkpoint_ticks`; 0: by time; -1: only at its end. `digest` is that of the program's source: a
    shard that has another one fails the run; "" if unknown.
    """

    program: str
    graph: str
    load: str
    params: tuple[tuple[str, str], ...]
    ticks: Tick
    interval_ns: Count
    paced: bool
    phases: Annotated[int, Meta(ge=0, le=15)]
    columns: tuple[str, ...]
    checkpoint_ticks: Annotated[int, Meta(ge=-1, le=TICKS_MAX)] = 0
    digest: str = ""
    runs_max: Count = 0
    may_queue: bool = False


class StateSource(Struct):
    """The shard that has the state of partitions (bits, as in `Holding`) whose primary lacks it."""

    shard: str
    partitions: bytes


class ResumeRun(Command):
    """Resumes a run in the view of this epoch, from the end of a tick that is held for every partition.

    The tick was made in the epoch `origin`. Some member has seen tick `reached` committed, so no stop ends the run
    before it reaches that tick again.
    """

    run: str
    epoch: Count
    tick: Tick
    sources: tuple[StateSource, ...]
    reached: Tick = 0
    origin: Count = 0


class StopRun(Command):
    """Ends a run after its next tick; with force, also in the middle of a phase that takes longer than a moment."""

    run: str
    by_force: bool = False


class EndRun(Command):
    """Ends a run after `tick` ticks: every member has reported its end, or one that it has failed.

    `figures` are the aggregates that its program shows, as JSON. Its result takes `result_bytes` on the disk of the
    member that holds most of it.
    """

    run: str
    outcome: str
    tick: Tick
    failure: str
    cross_bytes: Count
    figures: str = ""
    result_bytes: Count = 0


class ExpireResults(Command):
    """Expires the results of these finished runs, for lack of room: all shards delete their states."""

    runs: tuple[str, ...]


class KeptRun(Struct):
    """A run of another cluster, as a backup has it: finished, or to be resumed."""

    number: Count
    start: StartRun
    state: str
    tick: Tick
    failure: str
    cross_bytes: Count
    started_unix_ns: Count
    ended_unix_ns: Count
    figures: str = ""
    result_bytes: Count = 0


class Restore(Command):
    """Adds everything that a backup holds, at once; it is already on the disks of the view's members.

    Each graph carries the content of an `AddGraph` of its own, and run numbers continue after `runs_begun`. Only a
    backup's file holds `programs`: the log has each by an `AddProgram`, because together they would be too large an
    entry.
    """

    graphs: tuple[AddGraph, ...]
    runs: tuple[KeptRun, ...]
    runs_begun: Count
    programs: tuple[ProgramVersion, ...] = ()


class RaiseVersion(Command):
    """Raises the cluster version: every member can read what is new in it, so it may be written from here on."""

    version: Annotated[int, Meta(ge=FIRST, le=INT_MAX)]


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

"""The log's commands about views, graphs, runs and programs, and the values in them. No graph data, no ticks.

The envelope (`envelope`) tells who proposed a command, and when. The tables of tags are in the modules that apply them.
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
    """A shard in one of its lives: each start raises the generation."""

    name: str
    generation: Count

    def __str__(self) -> str:
        return f"{self.name}/{self.generation}"


class FormView(Command):
    """Sets the members that hold the graphs from this epoch on, in order, and the number of replicas."""

    epoch: Count
    members: tuple[Identity, ...]
    virtual_nodes: Count
    replicas: Count


class Holding(Struct):
    """Partitions of a loaded graph (or of a run's state), as bits: partition p is bit p % 8 of byte p // 8."""

    load: str
    partitions: bytes


class HoldParts(Command):
    """Records the partitions that are durable on a shard's disk.

    With `is_whole`, as at each start, they are all that it holds; otherwise those that it gained. `disk` is the disk's
    number: from then on, this disk must remember this life. A shard takes part in a view only after this command in its
    present life.
    """

    shard: Identity
    holdings: tuple[Holding, ...]
    is_whole: bool
    disk: Number = 0


class DropParts(Command):
    """Asks to delete partitions that others hold by now; the shard deletes them once this is decided."""

    shard: Identity
    holding: Holding


class Drain(Command):
    """Moves everything away from a shard that is going to stop; if not `is_on`, ends that."""

    shard: str
    is_on: bool


class Settled(Command):
    """A member has looked for every result that it should hold but lacks, in the view of this epoch.

    Proposed only while a shard is draining: what nobody has fetched by then is lost with it.
    """

    shard: Identity
    epoch: Count


class AddGraph(Command):
    """Adds a graph whose load is complete at every member of the view; it exists from this command on.

    Edges are counted as given; each edge of an undirected graph is stored in both directions.
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
    """Drops a graph with its runs and their results; with force, also unfinished runs.

    `load` identifies the intended graph: another one may have taken its name since.
    """

    name: str
    load: str
    by_force: bool = False


class ProgramVersion(Struct):
    """A deployed program: its source, and its description as JSON. The registry fills in the digest.

    It also fills in the time, unless the program comes from a backup and so was deployed before. A version that is not
    current can't be started; it is kept for runs that have used it.
    """

    name: str
    source: bytes
    described: str
    added_unix_ns: Count
    is_current: bool = True
    digest: str = ""


class AddProgram(Command):
    """Deploys a program on every shard, so that runs may name it. It replaces another version of that name."""

    version: ProgramVersion


class DropProgram(Command):
    """Removes a program: runs may no longer name it."""

    name: str


class StartRun(Command):
    """Starts a program on a graph.

    `params` are names and JSON values; `interval_ns` 0 means as fast as possible. `load` identifies the intended graph:
    another one may have taken its name since. With `runs_max` runs active already (0: any number), the run is rejected
    or, with `may_queue`, queued.

    A paced run executes a tick on request. `phases` has a bit for each phase that the program uses. The run's state is
    checkpointed every `checkpoint_ticks`; 0: by time; -1: only at its end. `digest` is that of the program's source: a
    shard with another source fails the run; "" if unknown.
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
    """A shard with the state of partitions (bits, as in `Holding`) that their primary lacks."""

    shard: str
    partitions: bytes


class ResumeRun(Command):
    """Resumes a run in the view of this epoch, from the end of a tick whose state is held for every partition.

    The tick was made in the epoch `origin`. Some member has seen tick `reached` committed, so a stop does not end the
    run before it reaches that tick again.
    """

    run: str
    epoch: Count
    tick: Tick
    sources: tuple[StateSource, ...]
    reached: Tick = 0
    origin: Count = 0


class StopRun(Command):
    """Ends a run after its next tick; with force, also within a phase that takes too long."""

    run: str
    by_force: bool = False


class EndRun(Command):
    """Ends a run after `tick` ticks: every member has reported its end, or one member its failure.

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
    """Expires the results of these finished runs to free space: all shards delete their states."""

    runs: tuple[str, ...]


class KeptRun(Struct):
    """Another cluster's run in a backup: finished, or to be resumed."""

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
    """Adds everything in a backup, at once; the view's members already have it on disk.

    Each graph carries the content of its own `AddGraph`, and run numbers continue after `runs_begun`. Only a backup's
    file holds `programs`: the log gets each of them by an `AddProgram`, because together they would make too large an
    entry.
    """

    graphs: tuple[AddGraph, ...]
    runs: tuple[KeptRun, ...]
    runs_begun: Count
    programs: tuple[ProgramVersion, ...] = ()


class RaiseVersion(Command):
    """Raises the cluster version, which every member supports: shards may write what is new in it from here on."""

    version: Annotated[int, Meta(ge=FIRST, le=INT_MAX)]


def to_bits(partitions: Iterable[int]) -> bytes:
    """Encodes a set of partitions for the log and the wire.

    >>> from_bits(to_bits({0, 9})) == {0, 9}
    True
    """
    number = 0
    for partition in partitions:
        number |= 1 << partition
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def from_bits(bits: bytes) -> frozenset[int]:
    """Decodes a set of partitions; any bytes are valid."""
    return frozenset(8 * i + k for i, byte in enumerate(bits) if byte for k in range(8) if byte >> k & 1)

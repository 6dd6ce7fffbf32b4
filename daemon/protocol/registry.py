"""The replicated state machine: views, graphs, who holds what, and runs, as the log decides them.

Every member applies the same commands in the same order and so holds the same registry. It never looks at a clock, a
socket or a part of a graph; what follows from a change it announces, and the shard acts on it.

An epoch has one placement of each graph, worked out when its view is formed (or when the graph comes) from what the
members hold by then; what they come to hold later counts in the next epoch. A run belongs to the epoch in which it
began or was resumed; with a new view every run waits until the log says from which tick it goes on.

A command that makes no sense any more when its turn comes (two loads raced for one name) is declined, the same
everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar, assert_never

from daemon.protocol.decisions import (
    AddGraph,
    AddProgram,
    Decision,
    Drain,
    DropGraph,
    DropParts,
    DropProgram,
    EndRun,
    FormView,
    Holding,
    HoldParts,
    Identity,
    ProgramVersion,
    Restore,
    ResumeRun,
    Settled,
    StartRun,
    StopRun,
    from_bits,
    to_bits,
)
from daemon.protocol.placement import Placed, actual, ideal
from daemon.protocol.programs import DeployedPrograms, ProgramDeclined
from daemon.protocol.records import ACTIVE, OUTCOMES, Disk, begun, restored

# Values of the registry's; whoever has to do with it finds them here too.
from daemon.protocol.records import COMPLETED as COMPLETED
from daemon.protocol.records import FAILED as FAILED
from daemon.protocol.records import RUNNING as RUNNING
from daemon.protocol.records import STOPPED as STOPPED
from daemon.protocol.records import STOPPING as STOPPING
from daemon.protocol.records import RunRecord as RunRecord
from daemon.protocol.records import View as View
from daemon.wire import Codec, WireLimits

T = TypeVar("T")

REQUESTS_REMEMBERED = 4096
RUNS_REMEMBERED = 1000
SNAPSHOT_BYTES_MAX = 16 << 20
VIRTUAL_NODES_MAX, PARTITIONS_MAX = 10_000, 65_536


@dataclass(frozen=True, slots=True)
class ViewInstalled:
    view: View


@dataclass(frozen=True, slots=True)
class GraphInstalled:
    graph: AddGraph


@dataclass(frozen=True, slots=True)
class GraphRemoved:
    graph: AddGraph


@dataclass(frozen=True, slots=True)
class ProgramDeployed:
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class ProgramRemoved:
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class RunBegun:
    """A run begins in the view of this epoch, for the first time or again."""

    run: RunRecord


@dataclass(frozen=True, slots=True)
class HoldingsChanged:
    """Somebody holds more, or less, than before, or is to be drained."""


@dataclass(frozen=True, slots=True)
class RunsWaiting:
    """Runs have come that began elsewhere: they go on in this view once its members have said what states they have."""


@dataclass(frozen=True, slots=True)
class RunStopping:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunEnded:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a proposal: an empty `error` means that it took effect; `name` is that of what it was about."""

    request: str
    error: str
    name: str


Announcement: TypeAlias = (
    ViewInstalled
    | GraphInstalled
    | GraphRemoved
    | ProgramDeployed
    | ProgramRemoved
    | RunBegun
    | RunsWaiting
    | RunStopping
    | RunEnded
    | HoldingsChanged
    | Decided
)


@dataclass(frozen=True, slots=True)
class _FrozenDisk:
    shard: Identity
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class _Frozen:
    """A snapshot of everything that the log has decided."""

    cluster: str
    view: View | None
    graphs: tuple[AddGraph, ...]
    placements: tuple[Placed, ...]
    disks: tuple[_FrozenDisk, ...]
    draining: tuple[str, ...]
    settled: tuple[str, ...]
    runs: tuple[RunRecord, ...]
    runs_begun: int
    recent: tuple[str, ...]
    programs: tuple[ProgramVersion, ...]


@cache
def _frozen_codec() -> Codec:
    return Codec("log", {1: _Frozen}, WireLimits(header_bytes_max=SNAPSHOT_BYTES_MAX))


class Declined(Exception):
    """The command makes no sense any more; its text is for the one who asked."""


@dataclass
class Registry:
    """The state that the log has decided so far. `cluster` was made up by the founders, for this cluster alone."""

    cluster: str = ""
    view: View | None = None
    graphs: dict[str, AddGraph] = field(default_factory=dict)
    placements: dict[str, Placed] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    """Members that have looked for the results that they lacked, in the present epoch."""
    runs: dict[str, RunRecord] = field(default_factory=dict)
    runs_begun: int = 0
    programs: DeployedPrograms = field(default_factory=DeployedPrograms)
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=REQUESTS_REMEMBERED))
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def epoch(self) -> int:
        """The view's; 0 before the first."""
        return self.view.epoch if self.view else 0

    def active_runs(self) -> list[RunRecord]:
        """Runs that go on, in the order in which they began."""
        return [run for run in self.runs.values() if run.active]

    def waiting_runs(self) -> list[RunRecord]:
        """Active runs that the present view has not resumed yet, on graphs that are whole."""
        return [run for run in self.active_runs() if run.epoch != self.epoch and not self.lost(run.graph)]

    # -- who holds what --------------------------------------------------------------------------------------------

    def holds(self, name: str, load: str, partition: int) -> bool:
        """Whether a member of the view has a partition on its disk, in the life that the view knows."""
        disk = self.disks.get(name)
        return disk is not None and disk.has(load, partition) and self.has_member(Identity(name, disk.generation))

    def has_member(self, shard: Identity) -> bool:
        """Whether that very life of a shard is a member of the view."""
        return self.view is not None and self.view.has(shard)

    def ideal(self, graph: AddGraph) -> Placed:
        """Who should hold each partition of a graph."""
        return self._worked_out("ideal", graph.load, lambda: self._ideal(graph))

    def placeable(self, graph: AddGraph) -> Placed:
        """Who would serve each partition if a view of the same members were formed now."""
        return self._worked_out("placeable", graph.load, lambda: self._placeable(graph))

    def _ideal(self, graph: AddGraph) -> Placed:
        view = self._need_view()
        return ideal(view.names, view.virtual_nodes, graph.partition_count, view.replicas, self.draining)

    def _placeable(self, graph: AddGraph) -> Placed:
        view = self._need_view()
        return actual(
            view.names,
            view.virtual_nodes,
            graph.partition_count,
            view.replicas,
            self.draining,
            lambda name, partition: self.holds(name, graph.load, partition),
        )

    def lost(self, graph: str) -> list[int]:
        """The partitions of a graph that nobody in the view holds; the graph waits for one who does."""
        placed = self.placements.get(graph, ())
        return self._worked_out("lost", graph, lambda: [p for p, holders in enumerate(placed) if not holders])

    def _worked_out(self, what: str, of: str, work: Callable[[], T]) -> T:
        """Many ask between two commands of the log, and a graph may have thousands of partitions."""
        if (what, of) not in self._known:
            self._known[what, of] = work()
        return self._known[what, of]  # type: ignore[no-any-return]

    def last_holders(self, graph: str) -> list[str]:
        """Who is known to have had partitions of a graph that are lost now."""
        load, lost = self.graphs[graph].load, self.lost(graph)
        return sorted(name for name, disk in self.disks.items() if any(disk.has(load, p) for p in lost))

    # -- the log ---------------------------------------------------------------------------------------------------

    def apply(self, decision: Decision) -> list[Announcement]:
        """Apply the next command of the log."""
        if decision.request in self._recent:
            return []
        self._recent.append(decision.request)
        try:
            name, announcements = self._apply(decision)
        except Declined as declined:
            return [Decided(decision.request, str(declined), "")]
        finally:
            self._known.clear()
        return [*announcements, Decided(decision.request, "", name)]

    def freeze(self) -> bytes:
        """The whole registry as a snapshot's bytes."""
        frozen = _Frozen(
            self.cluster,
            self.view,
            tuple(self.graphs.values()),
            tuple(self.placements[name] for name in self.graphs),
            tuple(_freeze_disk(name, self.disks[name]) for name in sorted(self.disks)),
            tuple(sorted(self.draining)),
            tuple(sorted(self.settled)),
            tuple(self.runs.values()),
            self.runs_begun,
            tuple(self._recent),
            tuple(self.programs.versions.values()),
        )
        (header,) = _frozen_codec().encode(0, "log", 0, frozen)
        return bytes(header)

    def restore(self, data: bytes) -> list[Announcement]:
        """Take over a snapshot, a leader's or our own disk's, and announce what is new in it. Raises `Rejected`."""
        frozen: _Frozen = _frozen_codec().decode([data]).message
        before = (self.view, self.graphs, self.runs)
        self.cluster, self.view, self.runs_begun = frozen.cluster, frozen.view, frozen.runs_begun
        self.graphs = {graph.name: graph for graph in frozen.graphs}
        self.placements = {graph.name: placed for graph, placed in zip(frozen.graphs, frozen.placements, strict=True)}
        self.disks = {disk.shard.name: _thaw_disk(disk) for disk in frozen.disks}
        self.draining, self.settled = set(frozen.draining), set(frozen.settled)
        self.runs = {run.name: run for run in frozen.runs}
        self._recent = deque(frozen.recent, maxlen=REQUESTS_REMEMBERED)
        self.programs = DeployedPrograms({(one.name, one.digest): one for one in frozen.programs})
        self._known.clear()
        return self._news(*before)

    def _news(self, view: View | None, graphs: dict[str, AddGraph], runs: dict[str, RunRecord]) -> list[Announcement]:
        news: list[Announcement] = []
        if self.view is not None and self.view != view:
            news.append(ViewInstalled(self.view))
        news += [GraphRemoved(graph) for name, graph in graphs.items() if self.graphs.get(name) != graph]
        news += [GraphInstalled(graph) for name, graph in self.graphs.items() if graphs.get(name) != graph]
        news.append(HoldingsChanged())
        for name, run in self.runs.items():
            before = runs.get(name)
            if run.active and run.epoch == self.epoch and (before is None or before.epoch != run.epoch):
                news.append(RunBegun(run))
            if run.state == STOPPING and (before is None or before.state == RUNNING):
                news.append(RunStopping(run))
            if before is not None and before.active and not run.active:
                news.append(RunEnded(run))
        news += [RunEnded(run) for name, run in runs.items() if run.active and name not in self.runs]
        if self.view == view and any(run.name not in runs for run in self.waiting_runs()):
            news.append(RunsWaiting())
        return news

    def _apply(self, decision: Decision) -> tuple[str, list[Announcement]]:
        match decision:
            case FormView():
                return self._form_view(decision)
            case AddGraph():
                return self._add_graph(decision)
            case DropGraph():
                return self._drop_graph(decision)
            case StartRun():
                return self._start_run(decision)
            case StopRun():
                return self._stop_run(decision)
            case EndRun():
                return self._end_run(decision)
            case HoldParts():
                return self._hold_parts(decision)
            case DropParts():
                return self._drop_parts(decision)
            case Drain():
                return self._drain(decision)
            case ResumeRun():
                return self._resume_run(decision)
            case Settled():
                return self._settle(decision)
            case Restore():
                return self._take_backup(decision)
            case AddProgram():
                return self._add_program(decision)
            case DropProgram():
                return self._drop_program(decision)
            case _:
                assert_never(decision)

    def _form_view(self, decision: FormView) -> tuple[str, list[Announcement]]:
        if decision.epoch != self.epoch + 1:
            raise Declined(f"epoch {decision.epoch} does not follow epoch {self.epoch}")
        names = {member.name for member in decision.members}
        if not names or len(names) != len(decision.members):
            raise Declined("a view needs members, and each of them once")
        if not 1 <= decision.virtual_nodes <= VIRTUAL_NODES_MAX or decision.replicas < 1:
            raise Declined(f"a view needs 1 to {VIRTUAL_NODES_MAX} virtual nodes of each member, and a holder at least")
        self.view = View(decision.epoch, decision.members, decision.virtual_nodes, decision.replicas)
        self._known.clear()
        self.settled.clear()
        self.placements = {name: self.placeable(graph) for name, graph in self.graphs.items()}
        self.runs = {name: replace(run, epoch=0) if run.active else run for name, run in self.runs.items()}
        return "", [ViewInstalled(self.view)]

    def _hold_parts(self, decision: HoldParts) -> tuple[str, list[Announcement]]:
        name, generation = decision.shard.name, decision.shard.generation
        before = self.disks.get(name, Disk(0, {}))
        if generation < before.generation or (generation > before.generation and not decision.is_whole):
            raise Declined(f"shard '{name}' has begun another life since")
        if generation == before.generation and decision.is_whole:
            raise Declined(f"shard '{name}' has said so before: this one comes late, and it may hold less by now")
        disk = Disk(generation, {} if decision.is_whole else before.loads)
        counts = {graph.load: graph.partition_count for graph in self.graphs.values()}
        for holding in decision.holdings:
            said = from_bits(holding.partitions) & frozenset(range(counts.get(holding.load, 0)))
            disk = disk.with_load(holding.load, disk.loads.get(holding.load, frozenset()) | said)
        self.disks[name] = disk
        if generation > before.generation:
            self.draining.discard(name)
        return "", [HoldingsChanged()]

    def _drop_parts(self, decision: DropParts) -> tuple[str, list[Announcement]]:
        """Only what the epoch's placement does not count on, and only while all who should hold it do."""
        disk = self.disks.get(decision.shard.name)
        graph = next((graph for graph in self.graphs.values() if graph.load == decision.holding.load), None)
        if disk is None or graph is None or disk.generation != decision.shard.generation:
            raise Declined("it is not held any more")
        going, placed, wanted = from_bits(decision.holding.partitions), self.placements[graph.name], self.ideal(graph)
        for partition in going & frozenset(range(graph.partition_count)):
            holders = placed[partition]
            if decision.shard.name in holders or holders != wanted[partition]:
                raise Declined(f"partition {partition} of '{graph.name}' is still needed")
        kept = disk.loads.get(graph.load, frozenset()) - going
        self.disks[decision.shard.name] = disk.with_load(graph.load, kept)
        return "", [HoldingsChanged()]

    def _settle(self, decision: Settled) -> tuple[str, list[Announcement]]:
        if decision.epoch != self.epoch or not self.has_member(decision.shard):
            raise Declined(f"shard '{decision.shard.name}' is no member in epoch {decision.epoch}")
        self.settled.add(decision.shard.name)
        return "", [HoldingsChanged()]

    def _drain(self, decision: Drain) -> tuple[str, list[Announcement]]:
        if decision.shard not in self.disks:
            raise Declined(f"no shard is called '{decision.shard}'")
        if decision.is_on:
            self.draining.add(decision.shard)
        else:
            self.draining.discard(decision.shard)
        return decision.shard, [HoldingsChanged()]

    def _add_graph(self, decision: AddGraph) -> tuple[str, list[Announcement]]:
        if decision.name in self.graphs:
            raise Declined(f"a graph called '{decision.name}' is loaded already: drop it, or choose another name")
        if decision.epoch != self.epoch:
            raise Declined(f"the view changed while '{decision.name}' was loading: load it again")
        if any(graph.load == decision.load for graph in self.graphs.values()):
            raise Declined(f"load '{decision.load}' is a graph already")
        if not 1 <= decision.partition_count <= PARTITIONS_MAX:
            raise Declined(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {decision.partition_count}")
        view = self._need_view()
        again = [m.name for m in view.members if m.name in self.disks and self.disks[m.name].generation != m.generation]
        if again:
            raise Declined(f"{', '.join(again)} started again while '{decision.name}' was loading: load it again")
        placed = self.placements[decision.name] = ideal(
            view.names, view.virtual_nodes, decision.partition_count, view.replicas
        )
        for member in view.members:
            held = frozenset(p for p, holders in enumerate(placed) if member.name in holders)
            disk = self.disks.get(member.name, Disk(member.generation, {}))
            self.disks[member.name] = disk.with_load(decision.load, held)
        self.graphs[decision.name] = decision
        return decision.name, [GraphInstalled(decision), HoldingsChanged()]

    def _drop_graph(self, decision: DropGraph) -> tuple[str, list[Announcement]]:
        self._need_graph(decision.name)
        using = [run.name for run in self.active_runs() if run.graph == decision.name]
        if using:
            raise Declined(f"graph '{decision.name}' is in use by {', '.join(using)}: stop that first")
        graph = self.graphs.pop(decision.name)
        del self.placements[decision.name]
        self.disks = {name: disk.with_load(graph.load, frozenset()) for name, disk in self.disks.items()}
        return decision.name, [GraphRemoved(graph)]

    def _add_program(self, decision: AddProgram) -> tuple[str, list[Announcement]]:
        try:
            version = self.programs.add(decision, self.runs.values())
        except ProgramDeclined as declined:
            raise Declined(str(declined)) from declined
        return version.name, [ProgramDeployed(version)]

    def _drop_program(self, decision: DropProgram) -> tuple[str, list[Announcement]]:
        try:
            version = self.programs.drop(decision.name, self.runs.values())
        except ProgramDeclined as declined:
            raise Declined(str(declined)) from declined
        return version.name, [ProgramRemoved(version)]

    def _start_run(self, decision: StartRun) -> tuple[str, list[Announcement]]:
        self._need_graph(decision.graph)
        self._need_whole(decision.graph)
        self.runs_begun += 1
        run = begun(decision, self.runs_begun, self.epoch)
        self.runs[run.name] = run
        self._forget_old_runs()
        return run.name, [RunBegun(run)]

    def _stop_run(self, decision: StopRun) -> tuple[str, list[Announcement]]:
        run = self._need_run(decision.run)
        if not run.active:
            raise Declined(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")
        self.runs[run.name] = run = replace(run, state=STOPPING, is_forced=run.is_forced or decision.by_force)
        return run.name, [RunStopping(run)]

    def _end_run(self, decision: EndRun) -> tuple[str, list[Announcement]]:
        run = self._need_run(decision.run)
        if not run.active or decision.outcome not in OUTCOMES:
            raise Declined(f"run '{run.name}' is over already" if not run.active else "that is no way for a run to end")
        if decision.outcome != FAILED and run.epoch != self.epoch:
            raise Declined(f"run '{run.name}' goes on in another view, whose holders do not all have its last tick")
        self.runs[run.name] = run = replace(
            run,
            state=decision.outcome,
            tick=decision.tick,
            failure=decision.failure,
            cross_bytes=decision.cross_bytes,
            ended_unix_ns=decision.ended_unix_ns,
            figures=decision.figures,
        )
        return run.name, [RunEnded(run)]

    def _resume_run(self, decision: ResumeRun) -> tuple[str, list[Announcement]]:
        run = self._need_run(decision.run)
        if not run.active or decision.epoch != self.epoch or run.epoch == self.epoch:
            raise Declined(f"run '{run.name}' does not wait in epoch {decision.epoch}")
        self._need_whole(run.graph)
        run = replace(run, epoch=self.epoch, resumed=decision.tick, sources=decision.sources, reached=decision.reached)
        self.runs[run.name] = run
        return run.name, [RunBegun(run)]

    def _take_backup(self, decision: Restore) -> tuple[str, list[Announcement]]:
        """All or nothing: a cluster that has a part of what it had before would be taken for a whole one."""
        if self.graphs or self.runs_begun:
            raise Declined("this cluster has graphs or runs of its own: a backup is restored into a new one")
        runs = [restored(run) for run in decision.runs]
        names = {graph.name for graph in decision.graphs}
        if any(run.state not in (*ACTIVE, *OUTCOMES) or run.graph not in names or run.number < 1 for run in runs):
            raise Declined("the backup has runs that no cluster has had")
        if len({run.number for run in runs}) != len(runs):
            raise Declined("the backup has two runs of one number")
        before, news = dict(self.disks), list[Announcement]()
        try:
            for graph in decision.graphs:
                news += self._add_graph(graph)[1]
        except Declined:
            self.graphs, self.placements, self.disks = {}, {}, before
            raise
        self.runs = {run.name: run for run in sorted(runs, key=lambda run: run.number)}
        self.runs_begun = max(decision.runs_begun, *(run.number for run in runs), 0)
        return "", [*news, RunsWaiting()] if self.active_runs() else news

    def _need_view(self) -> View:
        if self.view is None:
            raise Declined("there is no view yet")
        return self.view

    def _need_whole(self, graph: str) -> None:
        lost = self.lost(graph)
        if lost:
            shards = ", ".join(self.last_holders(graph)) or "nobody who is known"
            raise Declined(f"graph '{graph}' is halted: {len(lost)} of its partitions are lost; {shards} had them")

    def _need_graph(self, name: str) -> AddGraph:
        if name not in self.graphs:
            known = ", ".join(sorted(self.graphs)) or "none yet"
            raise Declined(f"no graph is called '{name}'; loaded: {known}")
        return self.graphs[name]

    def _need_run(self, name: str) -> RunRecord:
        if name not in self.runs:
            raise Declined(f"there is no run '{name}': see `run list`")
        return self.runs[name]

    def _forget_old_runs(self) -> None:
        over = [name for name, run in self.runs.items() if not run.active]
        for name in over[: max(0, len(self.runs) - RUNS_REMEMBERED)]:
            del self.runs[name]


def _freeze_disk(name: str, disk: Disk) -> _FrozenDisk:
    holdings = tuple(Holding(load, to_bits(disk.loads[load])) for load in sorted(disk.loads))
    return _FrozenDisk(Identity(name, disk.generation), holdings)


def _thaw_disk(frozen: _FrozenDisk) -> Disk:
    return Disk(frozen.shard.generation, {held.load: from_bits(held.partitions) for held in frozen.holdings})

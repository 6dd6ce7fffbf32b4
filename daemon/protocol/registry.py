"""The replicated state machine: views, graphs and runs, as the log decides them.

Every member applies the same commands in the same order and so holds the same registry. It never looks at a clock, a
socket or a part of a graph; what follows from a change it announces, and the shard acts on it.

A command that makes no sense any more when its turn comes (two loads raced for one name) is declined, the same
everywhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeAlias, assert_never

from daemon.protocol.decisions import (
    AddGraph,
    Decision,
    DropGraph,
    EndRun,
    FormView,
    Identity,
    StartRun,
    StopRun,
)
from daemon.wire import Codec, WireLimits
from shoal.phase import Phase
from shoal.ring import HashRing

REQUESTS_REMEMBERED = 4096
RUNS_REMEMBERED = 1000
SNAPSHOT_BYTES_MAX = 16 << 20
RUNNING, STOPPING, COMPLETED, STOPPED, FAILED = "running", "stopping", "completed", "stopped", "failed"
ACTIVE = (RUNNING, STOPPING)


@dataclass(frozen=True, slots=True)
class View:
    """An epoch and its members, in order; placement follows from it through the ring."""

    epoch: int
    members: tuple[Identity, ...]
    virtual_nodes: int

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in order."""
        return tuple(member.name for member in self.members)

    def has(self, shard: Identity) -> bool:
        """Whether that very life of a shard is a member."""
        return shard in self.members

    def placement(self, partitions: int) -> tuple[tuple[str, ...], ...]:
        """For each partition its primary, and then, once there are any, its replicas."""
        return HashRing(self.names, self.virtual_nodes).placement(partitions, replicas=0)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, from the decision to start it to the decision that it is over."""

    name: str
    number: int
    program: str
    graph: str
    params: tuple[tuple[str, str], ...]
    ticks: int
    interval_ns: int
    paced: bool
    phases: tuple[Phase, ...]
    columns: tuple[str, ...]
    started_unix_ns: int
    state: str = RUNNING
    tick: int = 0
    failure: str = ""
    cross_bytes: int = 0
    ended_unix_ns: int = 0

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.state in ACTIVE


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
class RunBegun:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunStopping:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunEnded:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a proposal: an empty `error` means that it took effect; `name` is the run's or graph's."""

    request: str
    error: str
    name: str


Announcement: TypeAlias = ViewInstalled | GraphInstalled | GraphRemoved | RunBegun | RunStopping | RunEnded | Decided


@dataclass(frozen=True, slots=True)
class _Frozen:
    """A snapshot of everything that the log has decided."""

    view: View | None
    graphs: tuple[AddGraph, ...]
    runs: tuple[RunRecord, ...]
    runs_begun: int
    recent: tuple[str, ...]


@cache
def _frozen_codec() -> Codec:
    return Codec("log", {1: _Frozen}, WireLimits(header_bytes_max=SNAPSHOT_BYTES_MAX))


class Declined(Exception):
    """The command makes no sense any more; its text is for the one who asked."""


@dataclass
class Registry:
    """The state that the log has decided so far."""

    view: View | None = None
    graphs: dict[str, AddGraph] = field(default_factory=dict)
    runs: dict[str, RunRecord] = field(default_factory=dict)
    runs_begun: int = 0
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=REQUESTS_REMEMBERED))

    @property
    def epoch(self) -> int:
        """The view's; 0 before the first."""
        return self.view.epoch if self.view else 0

    def active_runs(self) -> list[RunRecord]:
        """Runs that go on, in the order in which they began."""
        return [run for run in self.runs.values() if run.active]

    def apply(self, decision: Decision) -> list[Announcement]:
        """Apply the next command of the log."""
        if decision.request in self._recent:
            return []
        self._recent.append(decision.request)
        try:
            name, announcements = self._apply(decision)
        except Declined as declined:
            return [Decided(decision.request, str(declined), "")]
        return [*announcements, Decided(decision.request, "", name)]

    def freeze(self) -> bytes:
        """The whole registry as a snapshot's bytes."""
        frozen = _Frozen(
            self.view,
            tuple(self.graphs.values()),
            tuple(self.runs.values()),
            self.runs_begun,
            tuple(self._recent),
        )
        (header,) = _frozen_codec().encode(0, "log", 0, frozen)
        return bytes(header)

    def restore(self, data: bytes) -> list[Announcement]:
        """Take over a snapshot that a leader sent, and announce what is new in it."""
        frozen: _Frozen = _frozen_codec().decode([data]).message
        before = (self.view, self.graphs, self.runs)
        self.view, self.runs_begun = frozen.view, frozen.runs_begun
        self.graphs = {graph.name: graph for graph in frozen.graphs}
        self.runs = {run.name: run for run in frozen.runs}
        self._recent = deque(frozen.recent, maxlen=REQUESTS_REMEMBERED)
        return self._news(*before)

    def _news(self, view: View | None, graphs: dict[str, AddGraph], runs: dict[str, RunRecord]) -> list[Announcement]:
        news: list[Announcement] = []
        if self.view is not None and self.view != view:
            news.append(ViewInstalled(self.view))
        news += [GraphRemoved(graph) for name, graph in graphs.items() if self.graphs.get(name) != graph]
        news += [GraphInstalled(graph) for name, graph in self.graphs.items() if graphs.get(name) != graph]
        for name, run in self.runs.items():
            before = runs.get(name)
            if before is None and run.active:
                news.append(RunBegun(run))
            if run.state == STOPPING and (before is None or before.state == RUNNING):
                news.append(RunStopping(run))
            if before is not None and before.active and not run.active:
                news.append(RunEnded(run))
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
            case _:
                assert_never(decision)

    def _form_view(self, decision: FormView) -> tuple[str, list[Announcement]]:
        if decision.epoch != self.epoch + 1:
            raise Declined(f"epoch {decision.epoch} does not follow epoch {self.epoch}")
        self.view = View(decision.epoch, decision.members, decision.virtual_nodes)
        return "", [ViewInstalled(self.view)]

    def _add_graph(self, decision: AddGraph) -> tuple[str, list[Announcement]]:
        if decision.name in self.graphs:
            raise Declined(f"a graph called '{decision.name}' is loaded already: drop it, or choose another name")
        if decision.epoch != self.epoch:
            raise Declined(f"the view changed while '{decision.name}' was loading: load it again")
        self.graphs[decision.name] = decision
        return decision.name, [GraphInstalled(decision)]

    def _drop_graph(self, decision: DropGraph) -> tuple[str, list[Announcement]]:
        self._need_graph(decision.name)
        using = [run.name for run in self.active_runs() if run.graph == decision.name]
        if using:
            raise Declined(f"graph '{decision.name}' is in use by {', '.join(using)}: stop that first")
        return decision.name, [GraphRemoved(self.graphs.pop(decision.name))]

    def _start_run(self, decision: StartRun) -> tuple[str, list[Announcement]]:
        self._need_graph(decision.graph)
        self.runs_begun += 1
        run = RunRecord(
            name=f"{decision.program}-{self.runs_begun}",
            number=self.runs_begun,
            program=decision.program,
            graph=decision.graph,
            params=decision.params,
            ticks=decision.ticks,
            interval_ns=decision.interval_ns,
            paced=decision.paced,
            phases=tuple(phase for phase in Phase if decision.phases >> phase & 1 or phase is Phase.ADVANCE),
            columns=decision.columns,
            started_unix_ns=decision.started_unix_ns,
        )
        self.runs[run.name] = run
        self._forget_old_runs()
        return run.name, [RunBegun(run)]

    def _stop_run(self, decision: StopRun) -> tuple[str, list[Announcement]]:
        run = self._need_run(decision.run)
        if not run.active:
            raise Declined(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")
        self.runs[run.name] = run = replace(run, state=STOPPING)
        return run.name, [RunStopping(run)]

    def _end_run(self, decision: EndRun) -> tuple[str, list[Announcement]]:
        run = self._need_run(decision.run)
        if not run.active:
            raise Declined(f"run '{run.name}' is over already")
        self.runs[run.name] = run = replace(
            run,
            state=decision.outcome,
            tick=decision.tick,
            failure=decision.failure,
            cross_bytes=decision.cross_bytes,
            ended_unix_ns=decision.ended_unix_ns,
        )
        return run.name, [RunEnded(run)]

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

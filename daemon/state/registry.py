"""The registry: what the log has decided of views, disks, graphs and runs so far, and queries of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from daemon.state.commands import AddGraph, Identity
from daemon.state.machine import CommandRejected
from daemon.state.placement import Placed, actual, ideal
from daemon.state.records import QUEUED, Disk, RunRecord, View
from shoal.api.struct import Struct

T = TypeVar("T")

RUNS_REMEMBERED = 1000


class DroppedRun(Struct):
    """A run that was dropped with its graph: enough to report that to a client that asks for it."""

    name: str
    graph: str
    load: str
    had_result: bool

    @property
    def told(self) -> str:
        """In a sentence."""
        graph = f"graph '{self.graph}', which was dropped, and its runs with it"
        return f"there is no run '{self.name}' any more: it belonged to {graph}"


@dataclass
class Registry:
    """The state of the machine `cluster`. `cluster` was made up by the founders, for this cluster alone."""

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
    cluster_version: int = 0
    """What may be written into the log and to peers (`wire/version`); 0 until the founders have agreed on one."""
    dropped: dict[str, DroppedRun] = field(default_factory=dict)
    """The last runs that went with their graphs, by name."""
    _worked_out: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def epoch(self) -> int:
        """The view's; 0 before the first."""
        return self.view.epoch if self.view else 0

    def active_runs(self) -> list[RunRecord]:
        """Runs that go on, in the order in which they began."""
        return [run for run in self.runs.values() if run.active]

    def queued_runs(self) -> list[RunRecord]:
        """Runs that wait for their turn, the next one first."""
        return [run for run in self.runs.values() if run.state == QUEUED]

    def runs_on(self, load: str) -> list[RunRecord]:
        """All that is known of runs on a load of a graph."""
        return [run for run in self.runs.values() if run.load == load]

    def kept_results(self) -> list[RunRecord]:
        """Runs whose results are kept, those first that ended first."""
        kept = (run for run in self.runs.values() if run.has_result)
        return sorted(kept, key=lambda run: (run.ended_unix_ns, run.number))

    def graph_of(self, load: str) -> AddGraph | None:
        """The graph that a load has become, if it is there."""
        return next((graph for graph in self.graphs.values() if graph.load == load), None)

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
        return self._work_out("ideal", graph.load, lambda: self._ideal(graph))

    def placeable(self, graph: AddGraph) -> Placed:
        """Who would serve each partition if a view of the same members were formed now."""
        return self._work_out("placeable", graph.load, lambda: self._placeable(graph))

    def _ideal(self, graph: AddGraph) -> Placed:
        view = self.need_view()
        return ideal(view.names, view.virtual_nodes, graph.partition_count, view.replicas, self.draining)

    def _placeable(self, graph: AddGraph) -> Placed:
        view = self.need_view()
        return actual(
            view.names,
            view.virtual_nodes,
            graph.partition_count,
            view.replicas,
            self.draining,
            lambda name, partition: self.holds(name, graph.load, partition),
        )

    def lost(self, graph: str) -> list[int]:
        """Returns the partitions of a graph that no member of the view holds; the graph is halted until a holder is
        back.
        """
        placed = self.placements.get(graph, ())
        return self._work_out("lost", graph, lambda: [p for p, holders in enumerate(placed) if not holders])

    def _work_out(self, what: str, of: str, work: Callable[[], T]) -> T:
        """Many ask between two commands of the log, and a graph may have thousands of partitions."""
        if (what, of) not in self._worked_out:
            self._worked_out[what, of] = work()
        return self._worked_out[what, of]  # type: ignore[no-any-return]

    def last_holders(self, graph: str) -> list[str]:
        """Who is known to have had partitions of a graph that are lost now."""
        load, lost = self.graphs[graph].load, self.lost(graph)
        return sorted(name for name, disk in self.disks.items() if any(disk.has(load, p) for p in lost))

    # -- while a command is applied --------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """All that a command can change, to be put back; what the containers hold is never changed."""
        return {field.name: copy(getattr(self, field.name)) for field in fields(self) if field.name != "_worked_out"}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Take back what a command has changed."""
        for name, value in kept.items():
            setattr(self, name, value)
        self.changed()

    def changed(self) -> None:
        """What was worked out is void."""
        self._worked_out.clear()

    def need_view(self) -> View:
        """The view. Raises `CommandRejected`."""
        if self.view is None:
            raise CommandRejected("there is no view yet")
        return self.view

    def need_graph(self, name: str) -> AddGraph:
        """A graph that there is. Raises `CommandRejected`."""
        if name not in self.graphs:
            known = ", ".join(sorted(self.graphs)) or "none yet"
            raise CommandRejected(f"no graph is called '{name}'; loaded: {known}")
        return self.graphs[name]

    def need_load(self, name: str, load: str) -> AddGraph:
        """The same, if it is still the one that was meant. Raises `CommandRejected`."""
        graph = self.need_graph(name)
        if graph.load != load:
            raise CommandRejected(
                f"graph '{name}' was dropped, and another one was loaded under its name: check it and try again"
            )
        return graph

    def need_whole(self, graph: str) -> None:
        """Every partition of a graph has a holder. Raises `CommandRejected`."""
        lost = self.lost(graph)
        if lost:
            shards = ", ".join(self.last_holders(graph)) or "no known shard"
            raise CommandRejected(
                f"graph '{graph}' is halted: {len(lost)} of its partitions are lost; {shards} had them"
            )

    def need_run(self, name: str) -> RunRecord:
        """A run that is remembered. Raises `CommandRejected`."""
        if name in self.dropped:
            raise CommandRejected(self.dropped[name].told)
        if name not in self.runs:
            raise CommandRejected(f"there is no run '{name}': see `run list`")
        return self.runs[name]

    def drop_runs(self, runs: Iterable[RunRecord]) -> None:
        """They go with their graph, and are remembered for a while."""
        for run in runs:
            del self.runs[run.name]
            self.dropped[run.name] = DroppedRun(run.name, run.graph, run.load, run.has_result)
        for name in list(self.dropped)[:-RUNS_REMEMBERED]:
            del self.dropped[name]

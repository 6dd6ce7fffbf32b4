"""The registry: the log's decisions about views, disks, graphs and runs so far, with queries."""

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
    """A run that was dropped with its graph: enough to tell that to a client that asks for it."""

    name: str
    graph: str
    load: str
    had_result: bool

    @property
    def told(self) -> str:
        """The record as a sentence."""
        graph = f"graph '{self.graph}', which was dropped, and its runs with it"
        return f"there is no run '{self.name}' any more: it belonged to {graph}"


@dataclass
class Registry:
    """The state of the machine `cluster`. The attribute `cluster` is the id that the founders chose."""

    cluster: str = ""
    view: View | None = None
    graphs: dict[str, AddGraph] = field(default_factory=dict)
    placements: dict[str, Placed] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    """Members that have looked for missing results, in the present epoch."""
    runs: dict[str, RunRecord] = field(default_factory=dict)
    runs_begun: int = 0
    cluster_version: int = 0
    """Bounds what may be written to the log and to peers (`wire/version`); 0 until the founders have agreed on one."""
    dropped: dict[str, DroppedRun] = field(default_factory=dict)
    """The runs dropped last with their graphs, by name."""
    _worked_out: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def epoch(self) -> int:
        """The view's epoch; 0 before the first view."""
        return self.view.epoch if self.view else 0

    def active_runs(self) -> list[RunRecord]:
        """Returns the active runs, in the order in which they began."""
        return [run for run in self.runs.values() if run.active]

    def queued_runs(self) -> list[RunRecord]:
        """Returns the queued runs, the next one first."""
        return [run for run in self.runs.values() if run.state == QUEUED]

    def runs_on(self, load: str) -> list[RunRecord]:
        """Returns all known runs on a load of a graph."""
        return [run for run in self.runs.values() if run.load == load]

    def kept_results(self) -> list[RunRecord]:
        """Returns the runs whose results are kept, in the order in which they ended."""
        kept = (run for run in self.runs.values() if run.has_result)
        return sorted(kept, key=lambda run: (run.ended_unix_ns, run.number))

    def graph_of(self, load: str) -> AddGraph | None:
        """Returns the graph of a load, if it exists."""
        return next((graph for graph in self.graphs.values() if graph.load == load), None)

    def waiting_runs(self) -> list[RunRecord]:
        """Returns active runs on whole graphs that the present view has not resumed yet."""
        return [run for run in self.active_runs() if run.epoch != self.epoch and not self.lost(run.graph)]

    # -- holdings --------------------------------------------------------------------------------------------------

    def holds(self, name: str, load: str, partition: int) -> bool:
        """Whether a member of the view, in the view's life of it, holds a partition."""
        disk = self.disks.get(name)
        return disk is not None and disk.has(load, partition) and self.has_member(Identity(name, disk.generation))

    def has_member(self, shard: Identity) -> bool:
        """Whether a shard, in this life, is a member of the view."""
        return self.view is not None and self.view.has(shard)

    def ideal(self, graph: AddGraph) -> Placed:
        """Returns the wanted holders of each partition of a graph."""
        return self._work_out("ideal", graph.load, lambda: self._ideal(graph))

    def placeable(self, graph: AddGraph) -> Placed:
        """Returns the holders that would serve each partition if a view of the same members were formed now."""
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
        """Returns the partitions of a graph that no member of the view holds; without them the graph is halted."""
        placed = self.placements.get(graph, ())
        return self._work_out("lost", graph, lambda: [p for p, holders in enumerate(placed) if not holders])

    def _work_out(self, what: str, of: str, work: Callable[[], T]) -> T:
        """Caches a result until the next command: callers ask often, and a graph may have thousands of partitions."""
        if (what, of) not in self._worked_out:
            self._worked_out[what, of] = work()
        return self._worked_out[what, of]  # type: ignore[no-any-return]

    def last_holders(self, graph: str) -> list[str]:
        """Returns the shards known to hold partitions of a graph that are lost now."""
        load, lost = self.graphs[graph].load, self.lost(graph)
        return sorted(name for name, disk in self.disks.items() if any(disk.has(load, p) for p in lost))

    # -- applying commands -----------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """Copies all that a command can change, for `put_back`; the containers' items are immutable."""
        return {field.name: copy(getattr(self, field.name)) for field in fields(self) if field.name != "_worked_out"}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Undoes a command's changes."""
        for name, value in kept.items():
            setattr(self, name, value)
        self.changed()

    def changed(self) -> None:
        """Invalidates the cached results."""
        self._worked_out.clear()

    def need_view(self) -> View:
        """Returns the view. Raises `CommandRejected` if there is none."""
        if self.view is None:
            raise CommandRejected("there is no view yet")
        return self.view

    def need_graph(self, name: str) -> AddGraph:
        """Returns an existing graph. Raises `CommandRejected`."""
        if name not in self.graphs:
            known = ", ".join(sorted(self.graphs)) or "none yet"
            raise CommandRejected(f"no graph is called '{name}'; loaded: {known}")
        return self.graphs[name]

    def need_load(self, name: str, load: str) -> AddGraph:
        """Returns an existing graph if it has this load. Raises `CommandRejected`."""
        graph = self.need_graph(name)
        if graph.load != load:
            raise CommandRejected(
                f"graph '{name}' was dropped, and another one was loaded under its name: check it and try again"
            )
        return graph

    def need_whole(self, graph: str) -> None:
        """Requires every partition of a graph to have a holder. Raises `CommandRejected`."""
        lost = self.lost(graph)
        if lost:
            shards = ", ".join(self.last_holders(graph)) or "no known shard"
            raise CommandRejected(
                f"graph '{graph}' is halted: {len(lost)} of its partitions are lost; {shards} had them"
            )

    def need_run(self, name: str) -> RunRecord:
        """Returns a known run. Raises `CommandRejected`."""
        if name in self.dropped:
            raise CommandRejected(self.dropped[name].told)
        if name not in self.runs:
            raise CommandRejected(f"there is no run '{name}': see `run list`")
        return self.runs[name]

    def drop_runs(self, runs: Iterable[RunRecord]) -> None:
        """Drops runs with their graph, and remembers them for a while."""
        for run in runs:
            del self.runs[run.name]
            self.dropped[run.name] = DroppedRun(run.name, run.graph, run.load, run.has_result)
        for name in list(self.dropped)[:-RUNS_REMEMBERED]:
            del self.dropped[name]

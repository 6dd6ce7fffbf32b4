"""Applies the log's commands that add and drop graphs."""

from __future__ import annotations

from typing import Final

from daemon.state.announcements import GraphInstalled, GraphRemoved, HoldingsChanged, RunEnded
from daemon.state.commands import AddGraph, DropGraph
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.placement import ideal
from daemon.state.queue import begin_queued
from daemon.state.records import QUEUED, Disk, with_its_graph
from daemon.state.registry import Registry

PARTITIONS_MAX = 65_536
NAME_CHARACTERS_MAX = 63


def is_graph_name(name: str) -> bool:
    """Whether a graph may have this name; `shoal.client.session` is stricter about names that users choose."""
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()


def add_graph(registry: Registry, command: AddGraph, at: Applied) -> Outcome:
    """Adds a graph; its loader has ensured that all members hold their partitions."""
    if not is_graph_name(command.name):
        raise CommandRejected(f"{command.name[:80]!r} is no name for a graph")
    if command.name in registry.graphs:
        raise CommandRejected(f"a graph called '{command.name}' is already loaded: drop it, or choose another name")
    if command.epoch != registry.epoch:
        raise CommandRejected(f"the view changed while '{command.name}' was loading: load it again")
    if registry.graph_of(command.load) is not None:
        raise CommandRejected(f"load '{command.load}' is a graph already")
    if not 1 <= command.partition_count <= PARTITIONS_MAX:
        raise CommandRejected(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {command.partition_count}")
    view = registry.need_view()
    again = [
        m.name for m in view.members if m.name in registry.disks and registry.disks[m.name].generation != m.generation
    ]
    if again:
        raise CommandRejected(f"{', '.join(again)} started again while '{command.name}' was loading: load it again")
    placed = registry.placements[command.name] = ideal(
        view.names, view.virtual_nodes, command.partition_count, view.replicas
    )
    for member in view.members:
        held = frozenset(p for p, holders in enumerate(placed) if member.name in holders)
        disk = registry.disks.get(member.name, Disk(member.generation, {}))
        registry.disks[member.name] = disk.with_load(command.load, held)
    registry.graphs[command.name] = command
    return Outcome(command.name, [GraphInstalled(command), HoldingsChanged()])


def drop_graph(registry: Registry, command: DropGraph, at: Applied) -> Outcome:
    """Drops a graph with all its runs; while some of them are not over, only by force."""
    graph = registry.need_load(command.name, command.load)
    runs = registry.runs_on(graph.load)
    using = [run for run in runs if not run.is_over]
    if using and not command.by_force:
        told = ", ".join(run.name + (" (queued)" if run.state == QUEUED else "") for run in using)
        raise CommandRejected(
            f"graph '{graph.name}' is in use by {told}: stop them first, or drop the graph by force (--force)"
        )
    del registry.graphs[graph.name], registry.placements[graph.name]
    registry.disks = {name: disk.with_load(graph.load, frozenset()) for name, disk in registry.disks.items()}
    registry.drop_runs(runs)
    ended = [RunEnded(with_its_graph(run)) for run in using]
    return Outcome(graph.name, [*ended, GraphRemoved(graph, tuple(runs)), *begin_queued(registry, at.time_ns)])


COMMANDS: Final = (
    handler(2, AddGraph, add_graph),
    handler(3, DropGraph, drop_graph),
)

"""Applies the log's commands about graphs: they are added and dropped."""

from __future__ import annotations

from daemon.state.announcements import GraphInstalled, GraphRemoved, HoldingsChanged, Outcome, RunEnded
from daemon.state.commands import AddGraph, CommandRejected, DropGraph
from daemon.state.placement import ideal
from daemon.state.queue import begin_queued
from daemon.state.records import QUEUED, Disk, with_its_graph
from daemon.state.registry import Registry

PARTITIONS_MAX = 65_536
NAME_CHARACTERS_MAX = 63


def is_graph_name(name: str) -> bool:
    """Whether a graph can be called so: `shoal.client.session` says it more narrowly, to whoever chooses one."""
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()


def add_graph(registry: Registry, decision: AddGraph) -> Outcome:
    """All members hold their share of it by now: whoever loads it has seen to that."""
    if not is_graph_name(decision.name):
        raise CommandRejected(f"{decision.name[:80]!r} is no name for a graph")
    if decision.name in registry.graphs:
        raise CommandRejected(f"a graph called '{decision.name}' is loaded already: drop it, or choose another name")
    if decision.epoch != registry.epoch:
        raise CommandRejected(f"the view changed while '{decision.name}' was loading: load it again")
    if registry.graph_of(decision.load) is not None:
        raise CommandRejected(f"load '{decision.load}' is a graph already")
    if not 1 <= decision.partition_count <= PARTITIONS_MAX:
        raise CommandRejected(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {decision.partition_count}")
    view = registry.need_view()
    again = [
        m.name for m in view.members if m.name in registry.disks and registry.disks[m.name].generation != m.generation
    ]
    if again:
        raise CommandRejected(f"{', '.join(again)} started again while '{decision.name}' was loading: load it again")
    placed = registry.placements[decision.name] = ideal(
        view.names, view.virtual_nodes, decision.partition_count, view.replicas
    )
    for member in view.members:
        held = frozenset(p for p, holders in enumerate(placed) if member.name in holders)
        disk = registry.disks.get(member.name, Disk(member.generation, {}))
        registry.disks[member.name] = disk.with_load(decision.load, held)
    registry.graphs[decision.name] = decision
    return decision.name, [GraphInstalled(decision), HoldingsChanged()]


def drop_graph(registry: Registry, decision: DropGraph) -> Outcome:
    """With all its runs. If some of them are not over, only by force."""
    graph = registry.need_load(decision.name, decision.load)
    runs = registry.runs_on(graph.load)
    using = [run for run in runs if not run.is_over]
    if using and not decision.by_force:
        told = ", ".join(run.name + (" (queued)" if run.state == QUEUED else "") for run in using)
        raise CommandRejected(
            f"graph '{graph.name}' is in use by {told}: stop that first, or drop it by force (--force)"
        )
    del registry.graphs[graph.name], registry.placements[graph.name]
    registry.disks = {name: disk.with_load(graph.load, frozenset()) for name, disk in registry.disks.items()}
    registry.drop_runs(runs)
    ended = [RunEnded(with_its_graph(run)) for run in using]
    return graph.name, [*ended, GraphRemoved(graph, tuple(runs)), *begin_queued(registry)]

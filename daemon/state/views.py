"""Applies the log's commands about views: their members, and which of them drain."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from daemon.membership.names import is_name
from daemon.state.announcements import HoldingsChanged, ViewInstalled
from daemon.state.commands import Drain, FormView, Settled
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.records import View
from daemon.state.registry import Registry

VIRTUAL_NODES_MAX = 10_000
POSITIONS_MAX = 1 << 20
"""Limit on ring positions of all members together: placing a graph on so many takes a second."""


def mistake_in(view: View) -> str:
    """Returns why a view can't be formed; empty if it can."""
    names = set(view.names)
    if not names or len(names) != len(view.members):
        return "a view needs members, and each of them once"
    if not all(map(is_name, names)):
        return "a view has members that are no shards"
    if not 1 <= view.virtual_nodes <= VIRTUAL_NODES_MAX or view.replicas < 1:
        return f"a view needs 1 to {VIRTUAL_NODES_MAX} virtual nodes of each member, and a holder at least"
    if view.virtual_nodes * len(names) > POSITIONS_MAX:
        return f"a view of {len(names)} members has at most {POSITIONS_MAX // len(names)} virtual nodes of each"
    return ""


def form_view(registry: Registry, command: FormView, at: Applied) -> Outcome:
    """Forms a view. Every run waits from now on, until the log decides from which tick it resumes."""
    if command.epoch != registry.epoch + 1:
        raise CommandRejected(f"epoch {command.epoch} does not follow epoch {registry.epoch}")
    view = View(command.epoch, command.members, command.virtual_nodes, command.replicas)
    mistake = mistake_in(view)
    if mistake:
        raise CommandRejected(mistake)
    registry.view = view
    registry.changed()
    registry.settled.clear()
    registry.placements = {name: registry.placeable(graph) for name, graph in registry.graphs.items()}
    registry.runs = {name: replace(run, epoch=0) if run.active else run for name, run in registry.runs.items()}
    return Outcome("", [ViewInstalled(registry.view)])


def drain(registry: Registry, command: Drain, at: Applied) -> Outcome:
    """Marks a shard as draining, or ends that."""
    if command.shard not in registry.disks:
        raise CommandRejected(f"no shard is called '{command.shard}'")
    if command.is_on:
        registry.draining.add(command.shard)
    else:
        registry.draining.discard(command.shard)
    return Outcome(command.shard, [HoldingsChanged()])


def settle(registry: Registry, command: Settled, at: Applied) -> Outcome:
    """Notes that a member has looked for its missing results, so it no longer needs the draining shards."""
    if command.epoch != registry.epoch or not registry.has_member(command.shard):
        raise CommandRejected(f"shard '{command.shard.name}' is no member in epoch {command.epoch}")
    registry.settled.add(command.shard.name)
    return Outcome("", [HoldingsChanged()])


COMMANDS: Final = (
    handler(1, FormView, form_view),
    handler(9, Drain, drain),
    handler(12, Settled, settle),
)

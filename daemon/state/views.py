"""Applies the log's commands about views: their members, and which of them are to be drained."""

from __future__ import annotations

from dataclasses import replace

from daemon.membership.names import is_name
from daemon.state.announcements import HoldingsChanged, Outcome, ViewInstalled
from daemon.state.commands import CommandRejected, Drain, FormView, Settled
from daemon.state.records import View
from daemon.state.registry import Registry

VIRTUAL_NODES_MAX = 10_000
POSITIONS_MAX = 1 << 20
"""On the ring, of all members together: it takes a second to work out where a graph lies."""


def mistake_in(view: View) -> str:
    """Why a view is none that can be formed; empty if it is one."""
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


def form_view(registry: Registry, decision: FormView) -> Outcome:
    """Every run waits from now on, until the log says from which tick it goes on."""
    if decision.epoch != registry.epoch + 1:
        raise CommandRejected(f"epoch {decision.epoch} does not follow epoch {registry.epoch}")
    view = View(decision.epoch, decision.members, decision.virtual_nodes, decision.replicas)
    mistake = mistake_in(view)
    if mistake:
        raise CommandRejected(mistake)
    registry.view = view
    registry.changed()
    registry.settled.clear()
    registry.placements = {name: registry.placeable(graph) for name, graph in registry.graphs.items()}
    registry.runs = {name: replace(run, epoch=0) if run.active else run for name, run in registry.runs.items()}
    return "", [ViewInstalled(registry.view)]


def drain(registry: Registry, decision: Drain) -> Outcome:
    """A shard is to hold nothing, or is to hold its share again."""
    if decision.shard not in registry.disks:
        raise CommandRejected(f"no shard is called '{decision.shard}'")
    if decision.is_on:
        registry.draining.add(decision.shard)
    else:
        registry.draining.discard(decision.shard)
    return decision.shard, [HoldingsChanged()]


def settle(registry: Registry, decision: Settled) -> Outcome:
    """A member has looked for the results that it lacked, so nothing waits for it any more."""
    if decision.epoch != registry.epoch or not registry.has_member(decision.shard):
        raise CommandRejected(f"shard '{decision.shard.name}' is no member in epoch {decision.epoch}")
    registry.settled.add(decision.shard.name)
    return "", [HoldingsChanged()]

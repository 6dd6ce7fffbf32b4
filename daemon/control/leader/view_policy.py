"""Decides the next view that the tick leader proposes: its members, and when to form it.

A shard can be a member once the log has its holdings in its present life. The policy excludes at once a member that is
certainly gone (confirmed dead, left, or drained and no longer needed). It waits, within a bound, for one that is
returning: alive in a new life that has not reported its holdings yet, or not heard from since this leader began (after
a power cut all return, one after the other). Each view interrupts all runs, and moving a partition costs more than a
moment's patience.

It readmits a flapping member only once that has stayed up for a while (`flapping`), but at once if a graph is halted
without that member's partitions.

It forms a view of the same members when that improves placement: once every partition is where the ring wants it, or
when a lost partition is back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from daemon.control.leader.flapping import Flapping, FlappingLimits
from daemon.state import Registry
from daemon.state.commands import AddGraph, FormView, Identity
from daemon.state.placement import staying


@dataclass(frozen=True, slots=True)
class Sight:
    """What membership observes: the generations of live members, which members are certainly gone, and the highest
    cluster version that all members and servers support (0: unknown).
    """

    alive: Mapping[str, int]
    gone: Collection[str]
    version: int = 0


class Views:
    """The members that the leader waits for, and every shard's record of flapping members.

    `held_back` maps members not readmitted yet to the number of recent departures and the time until which they wait.
    """

    def __init__(self, virtual_nodes: int, replicas: int, patience_ns: int, flapping: FlappingLimits) -> None:
        self._virtual_nodes, self._replicas, self._patience_ns = virtual_nodes, replicas, patience_ns
        self._awaited: dict[str, int] = {}
        self._flapping = Flapping(flapping)
        self.held_back: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Discards the waiting times: the next leader starts them anew."""
        self._awaited.clear()
        self.held_back = {}

    def look(self, registry: Registry, sight: Sight, now: int) -> None:
        """Updates the record of flapping members."""
        self._flapping.look(sight.alive, registry.draining, now)

    def next(self, registry: Registry, sight: Sight, founders: Collection[str], now: int) -> FormView | None:
        """Returns the view to propose now, or None. `founders` matter only for the first view."""
        self.look(registry, sight, now)
        ready = {
            name: Identity(name, generation)
            for name, generation in sight.alive.items()
            if name in registry.disks and registry.disks[name].generation == generation
        }
        self.held_back = self._held_back(registry, ready, now)
        expected = registry.view.names if registry.view is not None else tuple(founders)
        pending = [name for name in expected if name not in ready and name not in sight.gone]
        self._awaited = {name: self._awaited.get(name, now) for name in pending}
        patient = any(now < since + self._patience_ns for since in self._awaited.values())
        ready = {name: shard for name, shard in ready.items() if name not in self.held_back}
        members = tuple(ready[name] for name in sorted(ready) if not _may_go(registry, name, ready))
        if registry.view is None:
            return self._form(registry, members) if members and not patient else None
        if not members or (patient and not _lacks(registry, sight)):
            return None
        if members == registry.view.members:
            return self._form(registry, members) if _is_better(registry) else None
        return self._form(registry, members)

    def _held_back(self, registry: Registry, ready: Mapping[str, Identity], now: int) -> dict[str, tuple[int, int]]:
        """Returns the ready members that have left too often to be admitted now."""
        held: dict[str, tuple[int, int]] = {}
        if registry.view is None:
            return held
        for name, shard in ready.items():
            wait_ns = self._flapping.wait_ns(name, now)
            if wait_ns and not registry.has_member(shard) and not _is_missed(registry, name):
                held[name] = (self._flapping.departures(name, now), now + wait_ns)
        return held

    def _form(self, registry: Registry, members: tuple[Identity, ...]) -> FormView:
        epoch = registry.epoch + 1
        return FormView(epoch, members, self._virtual_nodes, self._replicas)


def _is_missed(registry: Registry, name: str) -> bool:
    """Whether only this shard holds a partition that the view lost: the graph is halted anyway."""
    return any(
        registry.disks[name].has(graph.load, partition)
        for graph in registry.graphs.values()
        for partition in registry.lost(graph.name)
    )


def _lacks(registry: Registry, sight: Sight) -> bool:
    """Whether a member of the view is gone while others live on: runs are halted already."""
    assert registry.view is not None
    lives = any(sight.alive.get(member.name) == member.generation for member in registry.view.members)
    return lives and any(name in sight.gone for name in registry.view.names)


def _may_go(registry: Registry, name: str, ready: Mapping[str, Identity]) -> bool:
    """Whether a draining shard is no longer needed, because other shards hold its partitions.

    It first stays for a view in which the remaining shards serve, so that they can fetch missing results from it.
    """
    if name not in registry.draining:
        return False
    others = [other for other in ready if other not in registry.draining]
    if not others or still_needed(registry, name, others):
        return False
    if registry.view is None or not registry.has_member(ready[name]):
        return True
    heirs = [other for other in others if registry.has_member(ready[other])]
    if not heirs or any(heir not in registry.settled for heir in heirs):
        return False
    return all(_is_served(registry, graph) for graph in registry.graphs.values())


def _is_served(registry: Registry, graph: AddGraph) -> bool:
    """Whether all wanted holders of a graph's partitions serve them; lost partitions don't count."""
    placed, wanted = registry.placements[graph.name], registry.ideal(graph)
    return all(not holders or set(holders) >= set(should) for holders, should in zip(placed, wanted, strict=True))


def still_needed(registry: Registry, name: str, staying: Collection[str]) -> int:
    """Counts a shard's partitions, in all graphs, that the remaining shards don't hold often enough."""
    needed = 0
    for graph in registry.graphs.values():
        wanted = min(registry.view.replicas, len(staying)) if registry.view else 1
        for partition in range(graph.partition_count):
            if not registry.disks[name].has(graph.load, partition):
                continue  # it may be lost, and staying would not restore it
            needed += sum(registry.disks[other].has(graph.load, partition) for other in staying) < wanted
    return needed


def _is_as_wanted(holders: Sequence[str], wanted: Sequence[str], stays: Collection[str]) -> bool:
    """Whether the wanted holders serve a partition, with or without draining members behind them."""
    return not holders or {name for name in holders if name in stays} == set(wanted)


def _is_better(registry: Registry) -> bool:
    """Whether a new epoch of the same members would serve more partitions, or all just as the ring wants."""
    stays = staying(registry.need_view().names, registry.draining)
    for name, graph in registry.graphs.items():
        placed, placeable = registry.placements[name], registry.placeable(graph)
        if placeable == placed:
            continue
        if all(_is_as_wanted(*both, stays) for both in zip(placeable, registry.ideal(graph), strict=True)):
            return True
        if sum(not holders for holders in placeable) < sum(not holders for holders in placed):
            return True
    return False

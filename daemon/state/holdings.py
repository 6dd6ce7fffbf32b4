"""Applies the log's commands about disks: which partitions a shard holds, and which it may delete."""

from __future__ import annotations

from typing import Final

from daemon.membership.names import is_name
from daemon.state.announcements import HoldingsChanged
from daemon.state.commands import DropParts, HoldParts, from_bits
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.records import Disk
from daemon.state.registry import Registry


def hold_parts(registry: Registry, command: HoldParts, at: Applied) -> Outcome:
    """Records holdings: the first command of a shard's life lists all of them, later ones what is new."""
    name, generation = command.shard.name, command.shard.generation
    if not is_name(name):
        raise CommandRejected(f"{name[:80]!r} is no name for a shard")
    before = registry.disks.get(name, Disk(0, {}))
    if generation < before.generation or (generation > before.generation and not command.is_whole):
        raise CommandRejected(f"shard '{name}' has restarted since")
    if generation == before.generation and command.is_whole:
        raise CommandRejected(f"shard '{name}' has sent a later report, so this one is ignored")
    disk = Disk(generation, {} if command.is_whole else before.loads, command.disk)
    counts = {graph.load: graph.partition_count for graph in registry.graphs.values()}
    for holding in command.holdings:
        said = from_bits(holding.partitions) & frozenset(range(counts.get(holding.load, 0)))
        disk = disk.with_load(holding.load, disk.loads.get(holding.load, frozenset()) | said)
    registry.disks[name] = disk
    if generation > before.generation:
        registry.draining.discard(name)
    return Outcome("", [HoldingsChanged()])


def drop_parts(registry: Registry, command: DropParts, at: Applied) -> Outcome:
    """Allows a deletion only of partitions outside the epoch's placement, while all wanted holders serve them."""
    disk = registry.disks.get(command.shard.name)
    graph = registry.graph_of(command.holding.load)
    if disk is None or graph is None or disk.generation != command.shard.generation:
        raise CommandRejected("it is no longer held")
    going, placed, wanted = (
        from_bits(command.holding.partitions),
        registry.placements[graph.name],
        registry.ideal(graph),
    )
    for partition in going & frozenset(range(graph.partition_count)):
        holders = placed[partition]
        if command.shard.name in holders or set(holders) != set(wanted[partition]):
            raise CommandRejected(f"partition {partition} of '{graph.name}' is still needed")
    kept = disk.loads.get(graph.load, frozenset()) - going
    registry.disks[command.shard.name] = disk.with_load(graph.load, kept)
    return Outcome("", [HoldingsChanged()])


COMMANDS: Final = (
    handler(7, HoldParts, hold_parts),
    handler(8, DropParts, drop_parts),
)

"""Tracks the partitions that this shard holds, wants and has in surplus: its side of re-replication.

    disk --hold parts--> the log --wants--> fetched from their holders --hold parts--> the log --> a better view
                                 --surplus--> drop parts --> the log says yes --> deleted

The log comes first in both directions: nobody relies on a partition before its holder has reported it as durable, and
no shard deletes one before the log has confirmed that others hold it. A shard keeps a surplus for a while (`grace`),
because a run may have ended there whose result the new holders have yet to fetch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.state import Registry
from daemon.state.commands import DropParts, Holding, HoldParts, Identity, to_bits

ENTRY_BYTES_MAX, OVERHEAD_BYTES, HOLDINGS_MAX = 512 << 10, 16, 10_000
"""Limits on the holdings in one log entry, which takes at most a megabyte."""


@dataclass(frozen=True, slots=True)
class Want:
    """A partition that this shard should hold, and its present holders."""

    graph: str
    load: str
    partition: int
    sources: tuple[str, ...]


class Holdings:
    """The record of one shard's partitions: held, wanted and surplus."""

    def __init__(self, shard: Identity, held: Mapping[str, frozenset[int]], grace_ns: int, disk: int = 0) -> None:
        self._shard, self._grace_ns, self._disk = shard, grace_ns, disk
        self.held: dict[str, frozenset[int]] = dict(held)
        """Partitions on disk, by load."""
        self._found = frozenset(held)
        self._surplus_ns: int | None = None
        self.asked: HoldParts | DropParts | None = None
        """The proposal that the log has not answered yet."""

    # -- the disk --------------------------------------------------------------------------------------------------

    def gained(self, load: str, partitions: frozenset[int]) -> None:
        """Notes that partitions have been written."""
        self.held[load] = self.held.get(load, frozenset()) | partitions

    def installed(self, load: str, registry: Registry) -> None:
        """Notes the partitions of a new graph: each member of the view had reported its piece as durable."""
        disk = registry.disks.get(self._shard.name)
        if disk is not None and disk.generation == self._shard.generation and load in disk.loads:
            self.gained(load, disk.loads[load])

    def deleted(self, load: str, partitions: frozenset[int]) -> None:
        """Notes that partitions are deleted, or about to be."""
        left = self.held.pop(load, frozenset()) - partitions
        if left:
            self.held[load] = left

    # -- the log ---------------------------------------------------------------------------------------------------

    def next_request(self, registry: Registry, now: int) -> HoldParts | DropParts | None:
        """Returns the next proposal, one at a time, or None."""
        if self.asked is not None or not registry.cluster:
            return None
        disk = registry.disks.get(self._shard.name)
        if disk is not None and disk.generation > self._shard.generation:
            return None  # a later life of this shard speaks for it
        if disk is None or disk.generation < self._shard.generation:
            self.asked = HoldParts(self._shard, _holdings(self.held), is_whole=True, disk=self._disk)
        else:
            gained = {}
            for graph in registry.graphs.values():
                news = self.held.get(graph.load, frozenset()) - disk.loads.get(graph.load, frozenset())
                if news:
                    gained[graph.load] = news
            if gained:
                self.asked = HoldParts(self._shard, _holdings(gained), is_whole=False, disk=self._disk)
            else:
                self.asked = self._surplus(registry, now)
        return self.asked

    def answered(self, error: str) -> DropParts | None:
        """Clears the pending proposal; returns what may be deleted now."""
        asked, self.asked = self.asked, None
        return asked if isinstance(asked, DropParts) and not error else None

    def wants(self, registry: Registry) -> tuple[Want, ...]:
        """Returns the partitions that this shard should hold but does not."""
        if not registry.has_member(self._shard):
            return ()
        me, wants = self._shard.name, []
        for graph in registry.graphs.values():
            held, placed = self.held.get(graph.load, frozenset()), registry.placements[graph.name]
            for partition, holders in enumerate(registry.ideal(graph)):
                if me in holders and partition not in held and placed[partition]:
                    wants.append(Want(graph.name, graph.load, partition, placed[partition]))
        return tuple(wants)

    def unknown_loads(self, registry: Registry) -> list[str]:
        """Returns loads found on disk at the start that the log does not know; none until the log knows this life."""
        disk = registry.disks.get(self._shard.name)
        if disk is None or disk.generation != self._shard.generation:
            return []
        known = {graph.load for graph in registry.graphs.values()}
        return sorted(load for load in self.held if load in self._found and load not in known)

    # -- within ----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When a surplus may be given up."""
        return self._surplus_ns if self.asked is None else None

    def _surplus(self, registry: Registry, now: int) -> DropParts | None:
        found = self._find_surplus(registry)
        if found is None:
            self._surplus_ns = None
            return None
        if self._surplus_ns is None:
            self._surplus_ns = now + self._grace_ns
        if now < self._surplus_ns:
            return None
        self._surplus_ns = None
        return DropParts(self._shard, found)

    def _find_surplus(self, registry: Registry) -> Holding | None:
        for graph in registry.graphs.values():
            placed, wanted = registry.placements[graph.name], registry.ideal(graph)
            surplus = [
                partition
                for partition in self.held.get(graph.load, ())
                if self._shard.name not in placed[partition] and set(placed[partition]) == set(wanted[partition])
            ]
            if surplus:
                return Holding(graph.load, to_bits(surplus))
        return None


def _holdings(held: Mapping[str, frozenset[int]]) -> tuple[Holding, ...]:
    """Returns as many holdings as fit into a log entry; the next proposal reports the rest as gained."""
    said, size = list[Holding](), 0
    for load in sorted(held):
        said.append(Holding(load, to_bits(held[load])))
        size += len(load) + len(said[-1].partitions) + OVERHEAD_BYTES
        if size > ENTRY_BYTES_MAX or len(said) >= HOLDINGS_MAX:
            break
    return tuple(said)

"""Looks after the partitions on this shard's disk: what to report to the log, to fetch and to delete.

Drives `control/holdings`: turns what it wants into effects, and remembers what the host has already been asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.control.effects import DeleteParts, Effect, MendHoldings
from daemon.control.holdings import Holdings, Want
from daemon.state import Registry
from daemon.state.commands import DropParts, HoldParts, Identity, from_bits

QUESTION = "holdings"
"""The name of what is asked of the log: one question at a time."""


class Custody:
    """One shard's custody of its partitions. `is_due` says that something has changed and `tend` should be called."""

    def __init__(self, shard: Identity, held: Mapping[str, frozenset[int]], disk: int, grace_ns: int) -> None:
        self.holdings = Holdings(shard, held, grace_ns, disk)
        self.is_due = False
        self._wanted: tuple[Want, ...] = ()

    @property
    def deadline(self) -> int | None:
        """When something may be given up."""
        return self.holdings.deadline

    def wake(self, now: int) -> None:
        """Look at the time."""
        deadline = self.deadline
        self.is_due = self.is_due or (deadline is not None and now >= deadline)

    def gained(self, registry: Registry, load: str, partitions: frozenset[int]) -> list[Effect]:
        """Partitions are durable here; nobody needs them if the graph is dropped by now."""
        if registry.graph_of(load) is None:
            return [DeleteParts(load, partitions)]
        self.holdings.gained(load, partitions)
        self.is_due = True
        return []

    def forget(self, load: str) -> list[Effect]:
        """A graph is gone; what was still to be fetched of it is not wanted any more."""
        self.holdings.deleted(load, self.holdings.held.get(load, frozenset()))
        self.is_due = True
        return [DeleteParts(load, None)]

    def answered(self, request: str, error: str) -> list[Effect]:
        """The log has answered a proposal of ours, or nobody will."""
        self.is_due = True
        dropped = self.holdings.answered(error) if request == QUESTION else None
        if dropped is None:
            return []
        partitions = from_bits(dropped.holding.partitions)
        self.holdings.deleted(dropped.holding.load, partitions)
        return [DeleteParts(dropped.holding.load, partitions)]

    def question(self, registry: Registry, now: int) -> HoldParts | DropParts | None:
        """What to ask the log now, if it has answered the last question."""
        return self.holdings.next_request(registry, now) if self.holdings.asked is None else None

    def tend(self, registry: Registry) -> list[Effect]:
        """What the host is to delete, and what to fetch if that has changed."""
        self.is_due = False
        effects: list[Effect] = []
        for load in self.holdings.unknown_loads(registry):
            effects += self.forget(load)
        wants = self.holdings.wants(registry)
        if wants != self._wanted:
            self._wanted = wants
            effects.append(MendHoldings(wants))
        return effects

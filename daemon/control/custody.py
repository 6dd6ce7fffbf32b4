"""Looks after the partitions on this shard's disk: what to report to the log, to fetch and to delete.

Drives `control/holdings`: turns what it wants into effects, and remembers what the host has already been asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.control.effects import DeleteParts, Effect, MendHoldings
from daemon.control.holdings import Holdings, Want
from daemon.state import Registry
from daemon.state.commands import Identity, Settled, from_bits
from daemon.state.machine import Command

QUESTION = "holdings"
"""The name of what is asked of the log: one question at a time."""
SETTLED = "holdings-settled"
"""The beginning of the name of what is said of an epoch."""


class Custody:
    """One shard's custody of its partitions. Whenever something has changed, `tend` should be called."""

    def __init__(self, shard: Identity, held: Mapping[str, frozenset[int]], disk: int, grace_ns: int) -> None:
        self.holdings = Holdings(shard, held, grace_ns, disk)
        self._shard = shard
        self._wanted: tuple[Want, ...] = ()
        self._looked = 0

    @property
    def deadline(self) -> int | None:
        """When something may be given up."""
        return self.holdings.deadline

    def gained(self, registry: Registry, load: str, partitions: frozenset[int]) -> list[Effect]:
        """Partitions are durable here; nobody needs them if the graph is dropped by now."""
        if registry.graph_of(load) is None:
            return [DeleteParts(load, partitions)]
        self.holdings.gained(load, partitions)
        return []

    def forget(self, load: str) -> list[Effect]:
        """A graph is gone; what was still to be fetched of it is not wanted any more."""
        self.holdings.deleted(load, self.holdings.held.get(load, frozenset()))
        return [DeleteParts(load, None)]

    def answered(self, request: str, error: str) -> list[Effect]:
        """The log has answered a proposal of ours, or nobody will."""
        dropped = self.holdings.answered(error) if request == QUESTION else None
        if dropped is None:
            return []
        partitions = from_bits(dropped.holding.partitions)
        self.holdings.deleted(dropped.holding.load, partitions)
        return [DeleteParts(dropped.holding.load, partitions)]

    def looked_for_results(self, epoch: int) -> None:
        """In the view of this epoch, the results that this shard should have were looked for, all of them."""
        self._looked = epoch

    def questions(self, registry: Registry, now: int) -> list[tuple[str, Command]]:
        """What to ask the log now, by name; what is asked already need not be asked again."""
        questions: list[tuple[str, Command]] = []
        if self._has_settled(registry):
            questions.append((f"{SETTLED}-{registry.epoch}", Settled(self._shard, registry.epoch)))
        asked = self.holdings.next_request(registry, now) if self.holdings.asked is None else None
        return [*questions, (QUESTION, asked)] if asked is not None else questions

    def _has_settled(self, registry: Registry) -> bool:
        """Whether somebody is being drained, and the log does not say yet that nothing here waits for it any more."""
        return (
            bool(registry.draining)
            and self._looked == registry.epoch
            and registry.has_member(self._shard)
            and self._shard.name not in registry.settled
        )

    def tend(self, registry: Registry) -> list[Effect]:
        """What the host is to delete, and what to fetch if that has changed."""
        effects: list[Effect] = []
        for load in self.holdings.unknown_loads(registry):
            effects += self.forget(load)
        wants = self.holdings.wants(registry)
        if wants != self._wanted:
            self._wanted = wants
            effects.append(MendHoldings(wants))
        return effects

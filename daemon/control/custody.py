"""Looks after the partitions on this shard's disk: what to report to the log, to fetch and to delete.

Turns the wants of `control/holdings` into effects, and remembers what the host has already been asked to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.control.effects import DeleteParts, Effect, MendHoldings
from daemon.control.holdings import Holdings, Want
from daemon.state import Registry
from daemon.state.commands import Identity, Settled, from_bits
from daemon.state.machine import Command

QUESTION = "holdings"
"""The request name of proposals about holdings: one at a time."""
SETTLED = "holdings-settled"
"""Prefix of the request name that reports an epoch as settled."""


class Custody:
    """One shard's custody of its partitions. Call `tend` after every change."""

    def __init__(self, shard: Identity, held: Mapping[str, frozenset[int]], disk: int, grace_ns: int) -> None:
        self.holdings = Holdings(shard, held, grace_ns, disk)
        self._shard = shard
        self._wanted: tuple[Want, ...] = ()
        self._looked = 0

    @property
    def deadline(self) -> int | None:
        """When a surplus may be given up."""
        return self.holdings.deadline

    def gained(self, registry: Registry, load: str, partitions: frozenset[int]) -> list[Effect]:
        """Takes note of durable partitions; deletes them if their graph has been dropped meanwhile."""
        if registry.graph_of(load) is None:
            return [DeleteParts(load, partitions)]
        self.holdings.gained(load, partitions)
        return []

    def forget(self, load: str) -> list[Effect]:
        """Deletes all of a dropped graph; nothing more of it is fetched."""
        self.holdings.deleted(load, self.holdings.held.get(load, frozenset()))
        return [DeleteParts(load, None)]

    def answered(self, request: str, error: str) -> list[Effect]:
        """Processes the log's answer to one of this shard's proposals, or its failure."""
        dropped = self.holdings.answered(error) if request == QUESTION else None
        if dropped is None:
            return []
        partitions = from_bits(dropped.holding.partitions)
        self.holdings.deleted(dropped.holding.load, partitions)
        return [DeleteParts(dropped.holding.load, partitions)]

    def looked_for_results(self, epoch: int) -> None:
        """Notes that this shard has looked for all results that it should have, in the view of this epoch."""
        self._looked = epoch

    def questions(self, registry: Registry, now: int) -> list[tuple[str, Command]]:
        """Returns what to propose now, by request name; the caller skips names that are already pending."""
        questions: list[tuple[str, Command]] = []
        if self._has_settled(registry):
            questions.append((f"{SETTLED}-{registry.epoch}", Settled(self._shard, registry.epoch)))
        asked = self.holdings.next_request(registry, now) if self.holdings.asked is None else None
        return [*questions, (QUESTION, asked)] if asked is not None else questions

    def _has_settled(self, registry: Registry) -> bool:
        """Whether a member is draining and nothing here waits for it any more, and the log has yet to record that."""
        return (
            bool(registry.draining)
            and self._looked == registry.epoch
            and registry.has_member(self._shard)
            and self._shard.name not in registry.settled
        )

    def tend(self, registry: Registry) -> list[Effect]:
        """Returns what the host should delete, and what it should fetch if that has changed."""
        effects: list[Effect] = []
        for load in self.holdings.unknown_loads(registry):
            effects += self.forget(load)
        wants = self.holdings.wants(registry)
        if wants != self._wanted:
            self._wanted = wants
            effects.append(MendHoldings(wants))
        return effects

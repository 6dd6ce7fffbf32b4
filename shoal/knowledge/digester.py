"""Digesters: they treat documents as macrophages treat bacteria."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Final

from shoal.colony import Agent, AgentContext, Place

if TYPE_CHECKING:
    from shoal.knowledge.colony import Knowledge

BROOD: Final = 20
"""Documents after which a digester divides."""
RESTLESS: Final = 2
"""Idle ticks after which it moves on."""


class Digester(Agent):
    """Engulfs documents, and presents their terms one tick later."""

    idle_max: ClassVar[int | None] = 12
    meals = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.engulfed: list[int] = []

    def act(self, here: AgentContext) -> None:
        colony: Knowledge = here.colony
        for ordinal in self.engulfed:
            self._digest(here, colony, Place.node(ordinal))
        self._engulf(here, colony)
        if here.did == 0 and self.idle >= RESTLESS:
            self._wander(here)

    def _digest(self, here: AgentContext, colony: Knowledge, document: Place) -> None:
        terms = colony.terms_of(document)
        for term in terms:
            concept = here.present(term)
            here.emit("presented", at=concept)
            here.leave("mention", at=concept, author=document.ordinal)
        for one, other in combinations(terms, 2):
            here.wire(one, other)
        colony.digested(document)
        here.count("documents_digested")
        self.meals += 1
        if self.meals % BROOD == 0 and colony.may_divide(here.partition):
            here.spawn(Digester)

    def _engulf(self, here: AgentContext, colony: Knowledge) -> None:
        self.engulfed = []
        for _ in range(colony.documents_a_tick):
            document = colony.document(here.partition, here.counted("documents_engulfed"))
            if document is None:
                return
            here.count("documents_engulfed")
            self.engulfed.append(document.ordinal)
            here.move(document)

    def _wander(self, here: AgentContext) -> None:
        """Moves along an edge of a concept that is discussed here, towards where there may be documents."""
        talked = here.around("presented")
        if not talked:
            return
        place, _ = here.choose(talked)
        paths = here.neighbours(place)
        if paths:
            here.move(here.choose(paths).place)

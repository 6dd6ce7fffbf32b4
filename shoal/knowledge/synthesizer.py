"""Synthesizers: quorum sensing, as in bacteria that glow only when there are enough of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from shoal.colony import Agent, AgentContext, Place

if TYPE_CHECKING:
    from shoal.knowledge.colony import Knowledge

INSIGHTS_A_TICK: Final = 10
NEIGHBOURS_WIRED: Final = 3


class Synthesizer(Agent):
    """Turns a concept into an insight once enough documents have presented it in a short time."""

    idle_max: ClassVar[int | None] = 100

    def act(self, here: AgentContext) -> None:
        colony: Knowledge = here.colony
        loud = [place for place, _ in here.around("presented", colony.quorum) if not here.traces("bridged", place)]
        made = 0
        for place in loud:
            documents = here.traces("mention", place)
            if documents >= colony.quorum_documents and made < INSIGHTS_A_TICK:
                self._conclude(here, place, documents)
                made += 1

    def _conclude(self, here: AgentContext, place: Place, documents: int) -> None:
        insight = here.present(f"bridge:{place.key}", "insight", f"{place.key} joins {documents} documents")
        here.wire(insight, place)
        nearest = sorted(here.neighbours(place), key=lambda end: (-end.weight, end.place))
        for end in nearest[:NEIGHBOURS_WIRED]:
            here.wire(insight, end.place)
        here.leave("bridged", place)
        here.count("insights")

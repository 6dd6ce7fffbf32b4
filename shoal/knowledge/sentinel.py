"""Sentinels: negative selection, as in T cells. What is present while they mature is self; everything else is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.colony import Agent, AgentContext, Place

if TYPE_CHECKING:
    from shoal.knowledge.colony import Knowledge


class Sentinel(Agent):
    """Raises alarms about concepts of its partition, and receives those about its partition's documents."""

    def act(self, here: AgentContext) -> None:
        colony: Knowledge = here.colony
        if here.tick <= colony.training:
            return
        for place, document in here.fresh("mention"):
            concept = colony.sight.concept_at(place)
            if concept is not None and concept.created > colony.training:
                here.emit("alarm", at=Place.node(document))
        for place, alarms in here.around("alarm", 1.0):
            terms = len(colony.terms_of(place))
            if alarms >= max(1.0, colony.alien * terms) and not here.traces("flagged", place):
                label = f"{round(alarms)} of {terms} terms are not self"
                here.present(f"anomaly:{colony.sight.node_id(place)}", "anomaly", label)
                here.leave("flagged", place)
                here.count("anomalies")

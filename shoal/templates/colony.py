"""A colony: agents that sense, act and age at their places. See docs/colony.md.

In this example, scouts walk along the graph's edges and wire the topics that they pass one after the other. Connections
that are used often stay, the rest fade. Run it:

    python FILE
"""

from __future__ import annotations

import shoal
from shoal import Param
from shoal.colony import Agent, AgentContext, Colony, PartitionContext, Signal


class Scout(Agent):
    """Walks, and remembers the last topic."""

    # Ticks in a row that it may be idle before it dies. An agent that only moves is idle.
    idle_max = 3

    # Attributes are an agent's memory: numbers, strings, bytes, booleans, None, and lists and dicts of those.
    last = ""
    energy = 10

    def sense(self, here: AgentContext) -> None:
        """Observes its partition as the last tick left it. Changes nothing that others see."""
        self.crowded = here.signal("scent") > here.colony.crowd

    def act(self, here: AgentContext) -> None:
        """Acts: here, or at any other place."""
        topic = str(here.value("topic"))
        if topic != self.last:
            here.present(topic)  # creates a concept, or accesses it once more
            if self.last:
                here.wire(self.last, topic)  # creates their edge, or strengthens it
            here.count("steps")
        self.last = topic
        here.emit("scent")  # accumulates at this place, and fades
        paths = here.neighbours()
        if paths and not self.crowded:
            here.move(here.choose(paths).place)  # possibly to another shard
        if self.energy == 5:
            here.spawn(Scout, energy=4)

    def decay(self, here: AgentContext) -> None:
        """Processes what the tick brought, and ages."""
        self.energy -= 1
        if self.energy == 0:
            here.die()


class Template(Colony):
    """Scouts wire the topics that they come by."""  # the first line is what `program list` shows

    name = "template"

    agents = (Scout,)

    # Signals that agents can emit. A signal loses the share `decay` each tick and ends below `threshold`.
    signals = (Signal("scent", decay=0.5, threshold=0.1),)

    # Counters of this colony, shown as figures of the run beside those that every colony has.
    counters_shown = ("steps",)

    # Pass it as `--param crowd=2` or `graph.run(..., crowd=2)`; read it as `here.colony.crowd`. The rules for
    # fading and pruning edges are parameters as well: see docs/colony.md.
    crowd = Param(2.0, "scent at which a scout stays where it is", least=0.0)

    def populate(self, ground: PartitionContext) -> None:
        """Creates the first agents; called for each partition, before the first tick."""
        for place in ground.nodes:
            ground.spawn(Scout, place)


if __name__ == "__main__":
    topics = ["tea", "milk", "tea", "sugar"]
    data = shoal.from_arrays(list("abcd"), list("bcda"), nodes=list("abcd"), node_columns={"topic": topics})
    for shards in (1, 3):  # the result does not depend on their number
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, ticks=20)
            print(shards, run.show()["figures"]["steps"], sorted(run.table_rows("edges")))

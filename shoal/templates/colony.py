"""A colony: agents that look around, act and age where they are. See docs/colony.md.

As it stands, scouts walk along the graph's edges and wire the topics that they come by one after the other; what is
walked often stays, the rest is forgotten. Try it:

    python FILE
"""

from __future__ import annotations

import shoal
from shoal import Param
from shoal.colony import Agent, AgentContext, Colony, PartitionContext, Signal


class Scout(Agent):
    """Walks, and remembers what it came by last."""

    # Ticks in a row in which it may do nothing (walking is nothing) before it dies.
    idle_max = 3

    # What an agent remembers are its attributes: numbers, text, bytes, None, and lists and dicts of those.
    last = ""
    energy = 10

    def sense(self, here: AgentContext) -> None:
        """Look around, at its partition as the last tick has left it. Nothing that others see changes."""
        self.crowded = here.signal("scent") > here.colony.crowd

    def act(self, here: AgentContext) -> None:
        """Do something: here, or at any other place."""
        topic = str(here.value("topic"))
        if topic != self.last:
            here.present(topic)  # a concept: made, or accessed once more
            if self.last:
                here.wire(self.last, topic)  # their edge begins, or grows stronger
            here.count("steps")
        self.last = topic
        here.emit("scent")  # adds up at this place, and fades
        paths = here.neighbours()
        if paths and not self.crowded:
            here.move(here.choose(paths).place)  # to another shard, perhaps
        if self.energy == 5:
            here.spawn(Scout, energy=4)

    def decay(self, here: AgentContext) -> None:
        """Take in what the tick has brought, and age."""
        self.energy -= 1
        if self.energy == 0:
            here.die()


class Template(Colony):
    """Scouts wire the topics that they come by."""  # the first line is what `program list` shows

    name = "template"

    agents = (Scout,)

    # What can be emitted; each tick, it loses the share `decay`, and below `threshold` it is gone.
    signals = (Signal("scent", decay=0.5, threshold=0.1),)

    # Counters of one's own: figures of the run, beside those that every colony has.
    counters_shown = ("steps",)

    # Given as `--param crowd=2`, or `graph.run(..., crowd=2)`, and read as `here.colony.crowd`. How edges fade and are
    # pruned are parameters, too: see docs/colony.md.
    crowd = Param(2.0, "scent at which a scout stays where it is", least=0.0)

    def populate(self, ground: PartitionContext) -> None:
        """Before the first tick, for each partition: who is there."""
        for place in ground.nodes:
            ground.spawn(Scout, place)


if __name__ == "__main__":
    topics = ["tea", "milk", "tea", "sugar"]
    data = shoal.from_arrays(list("abcd"), list("bcda"), nodes=list("abcd"), node_columns={"topic": topics})
    for shards in (1, 3):  # the answer does not depend on them
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, ticks=20)
            print(shards, run.show()["figures"]["steps"], sorted(run.table_rows("edges")))

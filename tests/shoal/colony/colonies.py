"""Colonies for the tests."""

from __future__ import annotations

from shoal.colony import Agent, AgentContext, Colony, PartitionContext, Signal, Trace


class Walker(Agent):
    """Walks the graph, leaves scent and words, has children and dies."""

    idle_max = 2
    steps = 0
    seen: float = 0.0

    def sense(self, here: AgentContext) -> None:
        self.heard = here.signal("scent")
        self.paths = len(here.neighbours())
        self.others = [other.id for other in here.others()]
        self.strong = [place.name for place, _ in here.around("scent", 1.0)]
        self.fresh = [author for _, author in here.fresh("step")]

    def act(self, here: AgentContext) -> None:
        paths = here.neighbours()
        if here.place.is_node:
            here.present(f"word-{here.place.ordinal % 5}", label="a word" if self.steps else "")
            here.wire(f"word-{here.place.ordinal % 5}", f"word-{5 + (here.place.ordinal + here.tick) % 7}")
            here.leave("step", paths[0].place if paths else None)
        if here.random() < 0.3:
            return
        here.emit("scent", 0.1 + here.random())
        here.count("steps")
        if here.random() < 0.2 and here.tick < 4:
            here.spawn(Walker, steps=self.steps)
        if paths:
            here.move(here.choose(paths).place)
        elif here.random() < 0.5:
            here.move(here.present("word-1").__class__.concept("word-1"))
        self.steps += 1

    def decay(self, here: AgentContext) -> None:
        self.seen += here.signal("scent")
        self.known = [[n.weight, n.concept.accesses if n.concept else -1] for n in here.neighbours()]
        if self.steps > 6:
            here.die()


class Walkers(Colony):
    """Everything that a colony may do, in a small space."""

    name = "trial-walkers"
    agents = (Walker,)
    signals = (Signal("scent", decay=0.3, threshold=0.2), Signal("other"))
    traces = (Trace("step", decay=0.5, threshold=0.3),)
    counters_shown = ("steps",)

    def populate(self, ground: PartitionContext) -> None:
        for place in ground.nodes:
            ground.spawn(Walker, place)

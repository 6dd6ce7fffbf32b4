"""Agents in a colony: the third style of program, beside columns and messages.

A colony is a `Colony` with `Agent`s of its own. An agent is at a place: a node of the graph or a concept of the colony.
It observes (`sense`), acts (`act`) and ages (`decay`). Signals and traces fade; edges between concepts grow
with use and are pruned without it::

    class Ant(Agent):
        idle_max = 20

        def act(self, here):
            paths = here.neighbours()
            if paths:
                here.emit("scent")
                here.move(here.choose(paths).place)

    class Ants(Colony):
        name = "ants"
        agents = (Ant,)
        signals = (Signal("scent", decay=0.1),)

        def populate(self, ground):
            for place in ground.nodes[:2]:
                ground.spawn(Ant, place)

Results are bit-identical on any number of shards, as for any program: agents see their own partition, and their actions
elsewhere are mailed there.
"""

from shoal.colony.agent_context import AgentContext, PartitionContext
from shoal.colony.agents import Agent
from shoal.colony.colony import Colony
from shoal.colony.crossings import cross_shard_edges
from shoal.colony.local_view import Concept, Neighbour
from shoal.colony.places import Place
from shoal.colony.substrate import Signal, Trace

__all__ = [
    "Agent",
    "AgentContext",
    "Colony",
    "Concept",
    "Neighbour",
    "PartitionContext",
    "Place",
    "Signal",
    "Trace",
    "cross_shard_edges",
]

"""The context of an agent, `here`: what it sees and can do.

An agent sees its own partition, as the last tick left it, and can act anywhere: each action is mailed to the partition
of the place that it affects, and applied in the same tick's Decay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shoal.colony.agents import Agent
from shoal.colony.local_view import Concept, Neighbour
from shoal.colony.places import Place
from shoal.program import randomness

if TYPE_CHECKING:
    from shoal.colony.colony import Colony


class AgentContext:
    """One agent's view of its place, for one phase.

    Methods with `at` raise `ValueError` if they look at a place outside the partition. Methods that act raise
    `RuntimeError` outside `act`. An undeclared signal, trace, counter, kind or column raises `UnknownColumn`.
    """

    def __init__(self, colony: Colony, agent: Agent, partition: int, *, acts: bool) -> None:
        self._colony, self._agent, self._acts = colony, agent, acts
        self.partition = partition
        self.place = agent.place
        self.did = 0
        """The number of its actions."""
        self._draws = 0

    # -- seeing: itself --------------------------------------------------------------------------------------------

    @property
    def colony(self) -> Any:
        """The colony: its parameters and methods."""
        return self._colony

    @property
    def tick(self) -> int:
        """The current tick."""
        return self._colony.tick

    def random(self) -> float:
        """Returns a random number in [0, 1), determined by the run's seed, the tick and the agent."""
        self._draws += 1
        return randomness.draw(self._colony.seed, self.tick, self._agent.id, self._draws)

    def choose(self, among: Sequence[Any]) -> Any:
        """Returns a random element of a sequence."""
        return among[int(self.random() * len(among))]

    # -- seeing: the place -----------------------------------------------------------------------------------------

    @property
    def node(self) -> int | str:
        """The id of the node at which the agent is."""
        return self._colony.sight.node_id(self.place)

    def value(self, column: str) -> Any:
        """Returns the value in a column of the graph of the node at which the agent is."""
        return self._colony.sight.node_value(self.place, column)

    @property
    def concept(self) -> Concept | None:
        """The concept at which the agent is; None if no agent has presented it."""
        return self._colony.sight.concept_at(self.place)

    def signal(self, kind: str, at: Place | None = None) -> float:
        """Returns the intensity of a signal at a place of this partition, by default the agent's own."""
        return self._colony.sight.signal_at(kind, self._mine(at))

    def traces(self, kind: str, at: Place | None = None) -> int:
        """Returns the number of authors with a trace at a place of this partition."""
        return self._colony.sight.traces_at(kind, self._mine(at))

    def neighbours(self, at: Place | None = None) -> list[Neighbour]:
        """Returns the other ends of a node's out-edges in the graph or of a concept's edges in the colony, by name."""
        return self._colony.sight.neighbours(self._mine(at))

    def others(self) -> list[Agent]:
        """Returns the other agents at the place, by id. Read only: no agent sees a change that is made to them."""
        return [agent for agent in self._colony.sight.agents_at(self.partition, self.place) if agent is not self._agent]

    # -- seeing: the partition -------------------------------------------------------------------------------------

    def around(self, kind: str, least: float = 0.0) -> list[tuple[Place, float]]:
        """Returns the places of this partition where a signal has at least the intensity `least`, by name."""
        return self._colony.sight.signals_of(kind, self.partition, least)

    def fresh(self, kind: str) -> list[tuple[Place, int]]:
        """Returns the traces left in this partition in the last tick: places and authors, by name and author."""
        return self._colony.sight.fresh_traces(kind, self.partition)

    def counted(self, counter: str) -> int:
        """Returns the value of a counter of this partition."""
        return self._colony.counters[counter].get(self.partition, 0)

    # -- doing -----------------------------------------------------------------------------------------------------

    def present(self, key: str, kind: str = "concept", label: str = "") -> Place:
        """Presents a concept, which creates it or counts one more access, and returns its place."""
        place = Place.concept(key)
        self._do()
        self._colony.mail_out.concept(self.partition, place.name, self._colony.kind_number(kind), label.encode())
        return place

    def wire(self, one: str | Place, other: str | Place, times: int = 1) -> None:
        """Records that two concepts were active together: creates their edge or strengthens it.

        Raises `ValueError` for a node, the same concept twice, or `times` below 1.
        """
        left, right = self._concept(one), self._concept(other)
        if left == right or times < 1:
            raise ValueError(f"an edge joins two concepts, at least once: {one!r}, {other!r}, {times}")
        self._do()
        self._colony.mail_out.wire(self.partition, left.name, right.name, times)

    def emit(self, kind: str, intensity: float = 1.0, at: Place | None = None) -> None:
        """Adds to a signal at a place."""
        self._do()
        number = self._colony.signal_number(kind)
        self._colony.mail_out.signal(self.partition, (at or self.place).name, number, float(intensity))

    def leave(self, kind: str, at: Place | None = None, author: int | None = None) -> None:
        """Leaves a trace at a place, the agent's own or that of another author (any integer)."""
        self._do()
        number = self._colony.trace_number(kind)
        by = self._agent.id if author is None else int(author)
        self._colony.mail_out.trace(self.partition, (at or self.place).name, number, by)

    def count(self, counter: str, times: int = 1) -> None:
        """Adds to a counter of this partition."""
        self._do()
        self._colony.count(counter, self.partition, times)

    def move(self, to: Place) -> None:
        """Moves to another place, possibly on another shard. An agent that only moves is idle."""
        self._may()
        self._agent.place = to

    def spawn(self, kind: type[Agent], at: Place | None = None, **memory: Any) -> None:
        """Creates an agent with the attributes `memory`. Raises `ValueError` for an undeclared kind."""
        self._do()
        self._colony.bear(kind, at or self.place, self.partition, memory)

    def die(self) -> None:
        """Ends the agent after this phase. Agents may also call it in `decay`."""
        self._colony.dying.add(self._agent.id)

    def _mine(self, place: Place | None) -> Place:
        """Restricts agents to their own partition: what else is on the shard depends on the number of shards."""
        if place is None or self._colony.partition_of(place) == self.partition:
            return place or self.place
        raise ValueError(f"{place} is not in partition {self.partition}: an agent has to move there to look")

    def _do(self) -> None:
        self._may()
        self.did += 1

    def _may(self) -> None:
        if not self._acts:
            raise RuntimeError("agents may act only in `act`; in `sense` and `decay` they may only look")

    @staticmethod
    def _concept(given: str | Place) -> Place:
        place = Place.concept(given) if isinstance(given, str) else given
        if place.is_node:
            raise ValueError(f"edges join concepts: {place} is a node of the graph")
        return place


class PartitionContext:
    """A partition before the first tick, for `Colony.populate`."""

    def __init__(self, colony: Colony, partition: int, nodes: Iterable[int]) -> None:
        self._colony = colony
        self.partition = partition
        self.nodes = [Place.node(ordinal) for ordinal in nodes]
        """The partition's nodes, by ordinal."""

    def spawn(self, kind: type[Agent], at: Place, **memory: Any) -> None:
        """Creates an agent at a place. Raises `ValueError` for a place outside this partition."""
        self._colony.bear(kind, at, self.partition, memory)

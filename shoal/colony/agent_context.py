"""What an agent sees and can do: `here`.

It sees its own partition, as the last tick left it, and can act anywhere: what is done is mailed to the partition of
the place that it is done to, and is there in the same tick's Decay.
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
    """One agent's view of its place, for one phase."""

    def __init__(self, colony: Colony, agent: Agent, partition: int, *, acts: bool) -> None:
        self._colony, self._agent, self._acts = colony, agent, acts
        self.partition = partition
        self.place = agent.place
        self.did = 0
        """How many things it has done."""
        self._draws = 0

    # -- seeing: itself --------------------------------------------------------------------------------------------

    @property
    def colony(self) -> Any:
        """The colony: its parameters, and what it does for its agents."""
        return self._colony

    @property
    def tick(self) -> int:
        """The tick that is being worked on."""
        return self._colony.tick

    def random(self) -> float:
        """A number from 0 up to 1 that follows from the run's seed, the tick and the agent."""
        self._draws += 1
        return randomness.draw(self._colony.seed, self.tick, self._agent.id, self._draws)

    def choose(self, among: Sequence[Any]) -> Any:
        """One of several, at random."""
        return among[int(self.random() * len(among))]

    # -- seeing: the place -----------------------------------------------------------------------------------------

    @property
    def node(self) -> int | str:
        """The id of the node that it is at."""
        return self._colony.sight.node_id(self.place)

    def value(self, column: str) -> Any:
        """What the node that it is at has in a column of the graph."""
        return self._colony.sight.node_value(self.place, column)

    @property
    def concept(self) -> Concept | None:
        """The concept that it is at; None if nobody has presented it."""
        return self._colony.sight.concept_at(self.place)

    def signal(self, kind: str, at: Place | None = None) -> float:
        """How much of a signal there is at a place of this partition: its own, if no other is given."""
        return self._colony.sight.signal_at(kind, self._mine(at))

    def traces(self, kind: str, at: Place | None = None) -> int:
        """How many authors' traces there are."""
        return self._colony.sight.traces_at(kind, self._mine(at))

    def neighbours(self, at: Place | None = None) -> list[Neighbour]:
        """Where an edge leads: of a node the graph's edges that leave it, of a concept the colony's; by name."""
        return self._colony.sight.neighbours(self._mine(at))

    def others(self) -> list[Agent]:
        """The other agents at its place, by id. To look at; what is done to them is not seen by anybody."""
        return [agent for agent in self._colony.sight.agents_at(self.partition, self.place) if agent is not self._agent]

    # -- seeing: the partition -------------------------------------------------------------------------------------

    def around(self, kind: str, least: float = 0.0) -> list[tuple[Place, float]]:
        """The places of this partition that have so much of a signal, by name."""
        return self._colony.sight.signals_of(kind, self.partition, least)

    def fresh(self, kind: str) -> list[tuple[Place, int]]:
        """Traces that were left in this partition in the last tick: places and authors, by name and author."""
        return self._colony.sight.fresh_traces(kind, self.partition)

    def counted(self, counter: str) -> int:
        """A counter of this partition, with all that was counted so far."""
        return self._colony.counters[counter].get(self.partition, 0)

    # -- doing -----------------------------------------------------------------------------------------------------

    def present(self, key: str, kind: str = "concept", label: str = "") -> Place:
        """Present a concept: it is made, or has been accessed once more. Gives its place."""
        place = Place.concept(key)
        self._do()
        self._colony.mail_out.concept(self.partition, place.name, self._colony.kind_number(kind), label.encode())
        return place

    def wire(self, one: str | Place, other: str | Place, times: int = 1) -> None:
        """Two concepts were active together: their edge grows stronger, or begins."""
        left, right = self._concept(one), self._concept(other)
        if left == right or times < 1:
            raise ValueError(f"an edge joins two concepts, at least once: {one!r}, {other!r}, {times}")
        self._do()
        self._colony.mail_out.wire(self.partition, left.name, right.name, times)

    def emit(self, kind: str, intensity: float = 1.0, at: Place | None = None) -> None:
        """Add to a signal at a place."""
        self._do()
        number = self._colony.signal_number(kind)
        self._colony.mail_out.signal(self.partition, (at or self.place).name, number, float(intensity))

    def leave(self, kind: str, at: Place | None = None, author: int | None = None) -> None:
        """Leave a trace at a place: its own, or in another author's name (any number)."""
        self._do()
        number = self._colony.trace_number(kind)
        by = self._agent.id if author is None else int(author)
        self._colony.mail_out.trace(self.partition, (at or self.place).name, number, by)

    def count(self, counter: str, times: int = 1) -> None:
        """Add to a counter of this partition."""
        self._do()
        self._colony.count(counter, self.partition, times)

    def move(self, to: Place) -> None:
        """Go to another place: on another shard, perhaps. Who does nothing but that is idle."""
        self._may()
        self._agent.place = to

    def spawn(self, kind: type[Agent], at: Place | None = None, **memory: Any) -> None:
        """Bring another agent into the world."""
        self._do()
        self._colony.bear(kind, at or self.place, self.partition, memory)

    def die(self) -> None:
        """End after this phase. Agents may do that in Decay, too."""
        self._colony.dying.add(self._agent.id)

    def _mine(self, place: Place | None) -> Place:
        """Who could see what happens to be on the same shard would see something else on another number of shards."""
        if place is None or self._colony.partition_of(place) == self.partition:
            return place or self.place
        raise ValueError(f"{place} is not in partition {self.partition}: go there, to see what is there")

    def _do(self) -> None:
        self._may()
        self.did += 1

    def _may(self) -> None:
        if not self._acts:
            raise RuntimeError(
                "agents look in `sense`, and in `decay` at what has come: what they do, they do in `act`"
            )

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
        """Put an agent at a place; of this partition, for nothing travels yet."""
        self._colony.bear(kind, at, self.partition, memory)

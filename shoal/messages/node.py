"""A node and its edges, as a program of messages sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.graph.shard_graph import Adjacency, Direction
from shoal.messages.envelopes import MESSAGE
from shoal.messages.shared import EVERY_WAY, Shared

OUT, IN = Direction.OUT, Direction.IN


class Node:
    """One node: its attributes, memory, columns and edges, and the methods that send messages.

    `class_of_run` creates a class for each run, with a slot for each attribute of the program. Nodes therefore need no
    reference to the state that they share, and access to an attribute is as fast as in any object.
    """

    __slots__ = ("_index", "_memory", "out_degree")

    _shared: ClassVar[Shared]
    _fast: ClassVar[type]
    """The type of messages that need no check."""
    _add_sender: ClassVar[Any]
    _add_value: ClassVar[Any]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The program's attributes."""

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, index: int, out_degree: int) -> None:
        self._index = index
        self._memory: dict[Any, Any] | None = None
        self.out_degree: int = out_degree

    def __repr__(self) -> str:
        return f"<node {self.id!r}>"

    @property
    def id(self) -> int | str:
        """The node's id."""
        return self._shared.delivery.ids[self._index]  # type: ignore[no-any-return]

    @property
    def memory(self) -> dict[Any, Any]:
        """A dict that survives ticks, beside the attributes: plain values, and lists and dicts of those."""
        if self._memory is None:
            self._memory = {}
            self._shared.remembers = True
        return self._memory

    def __getitem__(self, column: str) -> Any:
        """Returns the node's value of a column that was loaded with the graph. Raises `UnknownColumn`."""
        return self._shared.value("node", column, self._index)

    @property
    def in_degree(self) -> int:
        """The number of incoming edges, counting parallel edges."""
        indptr = self._shared.part.in_edges.indptr
        return int(indptr[self._index + 1] - indptr[self._index])

    @property
    def out_edges(self) -> list[Edge]:
        """The outgoing edges, by the ordinal of their target."""
        return self._edges(self._shared.part.out_edges)

    @property
    def in_edges(self) -> list[Edge]:
        """The incoming edges, by the ordinal of their source."""
        return self._edges(self._shared.part.in_edges)

    def _edges(self, edges: Adjacency) -> list[Edge]:
        first, last = int(edges.indptr[self._index]), int(edges.indptr[self._index + 1])
        ends = zip(edges.neighbours[first:last].tolist(), edges.edges[first:last].tolist(), strict=True)
        return [Edge(self, neighbour, row) for neighbour, row in ends]

    def send(
        self,
        value: Any,
        *,
        to: int | str | Sequence[int | str] | None = None,
        via: str | int | Sequence[str | int] = EVERY_WAY,
        direction: Direction = OUT,
    ) -> None:
        """Sends a message that arrives in the next tick: `to` the node (or nodes) with an id, or along edges.

        `via="*"` selects all edges, another string those whose column `type` equals it, a list those of any of several
        types. `direction` is along the edges, against them (`Direction.IN`), or both. Each parallel edge carries the
        message. Raises `ValueError` for both `to` and `via`, `TypeError` for a value that is not plain.
        """
        if type(value) is not self._fast:
            value = self._shared.message(value)
        if to is None and via == EVERY_WAY and direction is OUT:
            self._add_sender(self._index)
            self._add_value(value)
            return
        self._shared.send(self._index, value, to, via, direction)

    def broadcast(self, value: Any) -> None:
        """Sends a message to every node of the graph, including this one."""
        self._shared.outbox.say(self._index, self._shared.message(value), MESSAGE, None)

    def request(
        self,
        value: Any,
        *,
        to: int | str | Sequence[int | str] | None = None,
        via: str | int | Sequence[str | int] = EVERY_WAY,
        direction: Direction = OUT,
    ) -> None:
        """Sends a request: the receivers' `on_request` answers in the next tick, `on_replies` runs in the one after."""
        self._shared.request(self._index, value, to, via, direction)

    def contribute(self, aggregate: str, value: float | int) -> None:
        """Contributes a value to an aggregate of this tick; `NodeProgram.total` returns the result in the next."""
        self._shared.contribute(aggregate, self._index, value)

    def halt(self) -> None:
        """Puts the node to sleep until something arrives. The run is over when all nodes sleep and no message is under
        way."""
        self._shared.awake[self._index] = 0


class Edge:
    """One edge, seen from one of its ends."""

    __slots__ = ("_neighbour", "_node", "_row")

    def __init__(self, node: Node, neighbour: int, row: int) -> None:
        self._node, self._neighbour, self._row = node, neighbour, row

    def __repr__(self) -> str:
        return f"<edge of {self._node!r}>"

    @property
    def id(self) -> int | str:
        """The id of the node at the other end; available from the first tick on."""
        return self._node._shared.name(self._neighbour)

    @property
    def type(self) -> Any:
        """The edge's value of column `type`."""
        return self["type"]

    @property
    def weight(self) -> Any:
        """The edge's value of column `weight`."""
        return self["weight"]

    def __getitem__(self, column: str) -> Any:
        """Returns the edge's value of a column that was loaded with the graph. Raises `UnknownColumn`."""
        return self._node._shared.value("edge", column, self._row)

    def send(self, value: Any) -> None:
        """Sends a message to the node at the other end."""
        node = self._node
        if type(value) is not node._fast:
            value = node._shared.message(value)
        outbox = node._shared.outbox
        outbox.where[len(outbox.senders)] = self._neighbour
        node._add_sender(node._index)
        node._add_value(value)


RESERVED = frozenset(name for name in dir(Node) if not name.startswith("__"))
"""Reserved names of attributes."""


def class_of_run(shared: Shared, attributes: Sequence[str]) -> type[Node]:
    """Returns the class of all nodes of a run on this shard."""
    outbox, combine = shared.outbox, shared.combine
    is_plain = combine is None or (combine.kind is float and not combine.exact)
    members = {
        "__slots__": tuple(attributes),
        "_shared": shared,
        "_fast": float if is_plain else Shared,
        "_add_sender": outbox.senders.append,
        "_add_value": outbox.values.append,
    }
    return type("Node", (Node,), members)

"""The base class of programs of messages: the methods that an author overrides, and the execution of a tick.

A tick is one Advance. `delivery` sorts the messages of the last tick by receiver, every node that is awake or received
something has its turn, and the messages that nodes sent leave with the exchange (`carrier`). Nodes see each other only
through messages, so the order of turns does not matter, and the order of a node's messages is canonical.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import Carrier
from shoal.engine.workspace import Workspace
from shoal.graph.ids import partition_of
from shoal.graph.shard_graph import ShardGraph
from shoal.messages import keeping
from shoal.messages.attribute import Attribute, Combine
from shoal.messages.carrier import MessageCarrier
from shoal.messages.delivery import Inbox
from shoal.messages.envelopes import REPLY, REQUEST, RETURNED, Letter, Sent
from shoal.messages.node import RESERVED, Node, class_of_run
from shoal.messages.requests import Asked, Replies, replies_to
from shoal.messages.shared import Shared
from shoal.messages.tally import tally
from shoal.messages.values import REMEMBERED, frozen, pack_memory
from shoal.program.declarations import Aggregate, Merge, Table
from shoal.program.kept_values import first_unkept
from shoal.program.naming import named_nodes
from shoal.program.program import Program

Array = NDArray[Any]
log = logging.getLogger("shoal.messages")

OWN = (
    Aggregate("under_way", Merge.SUM, np.int64, shown=True),
    Aggregate("awake", Merge.SUM, np.int64, shown=True),
    Aggregate("undelivered", Merge.SUM, np.int64, shown=True),
)
"""The messages sent in the tick; the nodes that have not halted; the messages to nodes that do not exist, since the run
began. In a run that was stopped or ran out of ticks, no node received the messages of `under_way`.
"""


class NodeProgram(Program):
    """Base class of programs of messages. The class declares attributes, aggregates, parameters and `combine`.

    A node has a turn in a tick if it is awake or something arrives, which wakes it. With `on_messages` or `on_tick`,
    all nodes are awake until they `halt`; with neither, nodes only react. The run is over when all nodes sleep and no
    message is under way.
    """

    aggregates: ClassVar[tuple[Aggregate, ...]] = OWN
    tables = (Table("undelivered", (("tick", "int64"), ("sender", "string"), ("to", "string"))),)
    saves = True
    combine: ClassVar[Combine | None] = None
    attributes: ClassVar[tuple[Attribute, ...]] = ()

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        found: dict[str, Attribute] = {}
        for base in reversed(cls.__mro__):
            found |= {name: each for name, each in vars(base).items() if isinstance(each, Attribute)}
        for name in sorted(RESERVED & found.keys()):
            raise TypeError(f"'{name}' is reserved by nodes: choose another name for the attribute")
        cls.attributes = tuple(found.values())
        cls.columns = tuple(each.column for each in cls.attributes)
        own = {each.name for each in OWN}
        theirs = tuple(each for each in cls.aggregates if each not in OWN)
        for name in sorted(own & {each.name for each in theirs}):
            raise TypeError(f"aggregate '{name}' is built into every message program")
        cls.aggregates = (*theirs, *OWN)
        if _overrides(cls, "on_message") and _overrides(cls, "on_messages"):
            raise TypeError("on_message takes one message, on_messages all of a tick: define one of them")

    # -- what an author overrides ----------------------------------------------------------------------------------

    def on_start(self, node: Node) -> None:
        """Called before the first tick, for every node."""

    def begin_tick(self) -> None:
        """Called before any node's turn in a tick: keep on `self` what depends on totals and parameters alone."""

    def on_message(self, node: Node, msg: Any) -> None:
        """Called for each message, in the order of the senders' ids and then as each sent them."""

    def on_messages(self, node: Node, msgs: list[Any]) -> None:
        """Called once for each node that is awake, with all messages of the tick, possibly none."""

    def on_tick(self, node: Node) -> None:
        """Called for each node that is awake, after its messages."""

    def on_request(self, node: Node, msg: Any) -> Any:
        """Returns the reply to a request."""
        raise NotImplementedError(f"program '{self.name}' sends requests but has no on_request to answer them")

    def on_replies(self, node: Node, replies: Replies) -> None:
        """Called with all replies to one request, two ticks after the node sent it."""

    def on_undeliverable(self, node: Node, to: int | str, msg: Any) -> None:
        """Called when a message that this node sent two ticks ago was addressed to a node that does not exist."""

    # -- what an author reads --------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """The current tick; 0 in `on_start`."""
        return self._ws.tick

    @property
    def node_count(self) -> int:
        """The number of nodes of the whole graph."""
        return self._ws.part.node_count

    @property
    def edge_count(self) -> int:
        """The number of edges of the whole graph."""
        return self._ws.part.edge_count

    def total(self, aggregate: str) -> Any:
        """Returns an aggregate over the whole graph, of the last tick; in `halted`, of this one."""
        return np.asarray(self._ws.total(aggregate)).item()

    # -- the program on its tick -----------------------------------------------------------------------------------

    def carriers(self, part: ShardGraph) -> Sequence[Carrier]:
        self._carrier = MessageCarrier(part, self.combine)
        return (self._carrier,)

    def prepare(self, ws: Workspace) -> None:
        self._ws, part = ws, ws.part
        vars(self).update({name: getattr(self, name) for name in self.parameters()})  # an attribute is found faster
        vars(self).update(named_nodes(part, self))  # ids as nodes have them
        self._shared = Shared(part, self._carrier, self.combine)
        self._shared.contributed = {each.name: ([], []) for each in self.aggregates if each not in OWN}
        make = class_of_run(self._shared, [each.name for each in self.attributes])
        self._nodes = list(map(make, range(part.size), part.out_degree.tolist()))
        self._lost = {partition: keeping.Undeliverable() for partition in part.partitions}
        self._batches, self._ticks = _overrides(type(self), "on_messages"), _overrides(type(self), "on_tick")
        self._returns = _overrides(type(self), "on_undeliverable")
        for each in self.attributes:
            for node in self._nodes:
                setattr(node, each.name, each.default)

    def start(self, ws: Workspace) -> None:
        self._shared.tick = 0
        if self._batches or self._ticks:
            self._shared.awake[:] = b"\1" * ws.part.size
        on_start = self.on_start
        with _AtNode() as at:
            for at.node in self._nodes:
                on_start(at.node)
        self._finish(ws, self._nodes, [])

    def resume(self, ws: Workspace) -> None:
        for each in self.attributes:
            for node, value in zip(self._nodes, each.loaded(ws.pending(each.name)), strict=True):
                setattr(node, each.name, value)

    def advance(self, ws: Workspace) -> None:
        self._shared.tick = ws.tick
        if ws.part.node_count:
            self.begin_tick()
        inbox = self._shared.delivery.sort_out(self._carrier.arrived)
        returned = self._give_back(inbox.missing)
        self._finish(ws, self._visit(inbox), returned)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("under_way")) == 0 and int(ws.total("awake")) == 0

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        return {each.name: each.stored(list(map(attrgetter(each.name), self._nodes))) for each in self.attributes}

    def save(self, ws: Workspace, partition: int) -> bytes:
        first, last = self._span(ws.part, partition)
        return keeping.pack(self._shared, self._nodes, first, last, self._lost[partition])

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        first, last = self._span(ws.part, partition)
        self._lost[partition] = keeping.unpack(state, self._shared, self._nodes, first, last)

    def difference(self, other: Program) -> str:
        assert isinstance(other, NodeProgram)
        for mine, theirs in zip(self._nodes, other._nodes, strict=True):
            if pack_memory(mine._memory or {}) != pack_memory(theirs._memory or {}):
                return f"the memory of node {mine.id!r} is {mine._memory}, and {theirs._memory} when resumed"
        return ""

    def rows(self, ws: Workspace, table: str, partition: int) -> Mapping[str, Any]:
        named = self._lost[partition].first
        return {
            "tick": np.array([tick for tick, _, _ in named], np.int64),
            "sender": [str(sender) for _, sender, _ in named],
            "to": [str(to) for _, _, to in named],
        }

    # -- within a tick ---------------------------------------------------------------------------------------------

    @staticmethod
    def _span(part: ShardGraph, partition: int) -> tuple[int, int]:
        place = part.partitions.index(partition)
        return int(part.starts[place]), int(part.starts[place + 1])

    def _visit(self, inbox: Inbox) -> list[Node]:
        """Gives every node that is awake or received something its turn, and returns these nodes."""
        due = self._shared.asked.pop(self._shared.tick, {})
        special = [*inbox.letters, *due]
        called = inbox.counts > 0
        called[special] = True
        if self._batches or self._ticks:
            awake = np.frombuffer(self._shared.awake, np.uint8)
            awake |= called
            called = awake > 0
        ends = np.cumsum(inbox.counts)
        if called.all():
            nodes, first, last = self._nodes, ends - inbox.counts, ends
        else:
            turns = np.flatnonzero(called)
            nodes = [self._nodes[turn] for turn in turns.tolist()]
            first, last = (ends - inbox.counts)[turns], ends[turns]
        if special or self._ticks or not self._batches:
            self._turns(nodes, first.tolist(), last.tolist(), inbox, due)
        else:
            messages, on_messages = inbox.messages, self.on_messages
            with _AtNode() as at:
                for node, begin, end in zip(nodes, first.tolist(), last.tolist(), strict=True):
                    at.node = node
                    on_messages(node, messages[begin:end])
        return nodes

    def _turns(
        self, nodes: list[Node], first: list[int], last: list[int], inbox: Inbox, due: Mapping[int, list[Asked]]
    ) -> None:
        """Executes the turns of nodes in a tick with more than `on_messages` alone."""
        messages, letters, awake = inbox.messages, inbox.letters, self._shared.awake
        special = letters.keys() | due.keys()
        on_message = _whole(self.on_messages) if self._batches else _single(self.on_message)
        on_tick, ticks = self.on_tick, self._ticks
        with _AtNode() as at:
            for node, begin, end in zip(nodes, first, last, strict=True):
                at.node = node
                if special and node._index in special:
                    self._answer(node, letters.get(node._index, ()), due.get(node._index, ()))
                on_message(node, messages[begin:end])
                if ticks and awake[node._index]:
                    on_tick(node)

    def _answer(self, node: Node, letters: Sequence[Letter], due: Sequence[Asked]) -> None:
        """Handles what arrived beside messages: undeliverable messages, then requests, then replies."""
        for letter in letters:
            if letter.kind == RETURNED and letter.note is not None and not letter.note[2]:
                self.on_undeliverable(node, letter.note[1], letter.value)
        for letter in letters:
            if letter.kind == REQUEST:
                reply = frozen(self.on_request(node, letter.value))
                self._shared.outbox.say(node._index, reply, REPLY, letter.sender, (letter.seq, node.id))
        for asked in due:
            self.on_replies(node, replies_to(asked, letters))

    def _give_back(self, missing: Sequence[Letter]) -> list[Letter]:
        """Records undeliverable messages; returns a letter to each sender that sent a request or wants to know."""
        returned, seqs = [], dict.fromkeys(self._lost, 0)
        for letter in missing:
            assert isinstance(letter.address, tuple)
            _, to, sender = letter.address
            partition = partition_of(to, self._ws.part.partition_count)
            if not any(lost.count for lost in self._lost.values()):
                log.warning("program '%s': node %r sent to %r, which does not exist", self.name, sender, to)
            self._lost[partition].add(self._shared.tick, sender, to)
            if letter.kind == REQUEST or self._returns:
                note = (letter.seq, to, letter.kind == REQUEST)
                seq, seqs[partition] = seqs[partition], seqs[partition] + 1
                returned.append(Letter(-1 - partition, seq, RETURNED, letter.sender, letter.value, note))
        return returned

    def _finish(self, ws: Workspace, visited: list[Node], returned: list[Letter]) -> None:
        """Hands over the messages that were sent and the contributions to aggregates."""
        shared, part = self._shared, ws.part
        said, seqs = shared.outbox.take(part, shared.ordinals)
        if returned:
            said = Sent(said.floats, said.ints, (*said.letters, *returned))
        self._carrier.leave(said)
        for node, place, letters, value in shared.asking:
            due = keeping.due_within(ws.tick)
            seq = int(seqs[place]) if letters else 0
            shared.asked.setdefault(due, {}).setdefault(node, []).append(Asked(due, seq, letters, value))
        shared.asking.clear()
        self._check(visited)
        self._contribute(ws, said)

    def _contribute(self, ws: Workspace, said: Sent) -> None:
        for aggregate in self.aggregates[: -len(OWN)]:
            nodes, values = (list(each) for each in self._shared.contributed[aggregate.name])
            for each in self._shared.contributed[aggregate.name]:
                each.clear()
            if aggregate.dtype is np.int64 and not set(map(type, values)) <= {int, bool, np.int64, np.bool_}:
                raise TypeError(f"aggregate '{aggregate.name}' is of integers")
            places = np.array(nodes, np.int64)
            order = np.argsort(places, kind="stable")
            ws.contribute(aggregate.name, np.array(values, aggregate.dtype)[order], nodes=places[order])
        awake = np.frombuffer(self._shared.awake, np.uint8) > 0
        for by_node in self._shared.asked.values():
            awake[list(by_node)] = True
        ws.contribute("awake", awake.astype(np.int64))
        ws.contribute_by_partition("under_way", tally(said, ws.part, self._shared.delivery))
        ws.contribute_by_partition("undelivered", [lost.count for lost in self._lost.values()])

    def _check(self, nodes: list[Node]) -> None:
        """Converts attributes to their types, and raises `TypeError` for memory that cannot be saved as it is."""
        for each in self.attributes:
            values = list(map(attrgetter(each.name), nodes))
            if each.fits(values):
                continue
            with _AtNode() as at:
                for at.node, value in zip(nodes, values, strict=True):
                    setattr(at.node, each.name, each.read(value))
        if self._shared.remembers:
            self._check_memories([node for node in nodes if node._memory is not None])

    @staticmethod
    def _check_memories(nodes: list[Node]) -> None:
        unkept = first_unkept(list(map(attrgetter("_memory"), nodes)), REMEMBERED, held=2)
        if unkept is not None:
            with _AtNode() as at:
                at.node = nodes[unkept.place]
                raise TypeError(f"node.memory{unkept.path} {unkept.why}")


class _AtNode:
    """Attaches the node's id to an exception that is raised within."""

    __slots__ = ("node",)

    def __init__(self) -> None:
        self.node: Node | None = None

    def __enter__(self) -> _AtNode:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self.node is not None and not hasattr(error, "shoal_node"):
            error.shoal_node = self.node.id  # type: ignore[attr-defined]


def _overrides(program: type[NodeProgram], name: str) -> bool:
    return getattr(program, name) is not getattr(NodeProgram, name)


def _single(on_message: Callable[[Node, Any], None]) -> Callable[[Node, list[Any]], None]:
    def each(node: Node, messages: list[Any]) -> None:
        for message in messages:
            on_message(node, message)

    return each


def _whole(on_messages: Callable[[Node, list[Any]], None]) -> Callable[[Node, list[Any]], None]:
    return on_messages

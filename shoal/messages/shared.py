"""The state that all nodes of a run on one shard share: the outbox, and data that nodes look up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn, did_you_mean
from shoal.graph import columns as col
from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.messages.attribute import Combine
from shoal.messages.carrier import MessageCarrier
from shoal.messages.delivery import Delivery
from shoal.messages.envelopes import ALONG, MESSAGE, NAMED, REQUEST, Address
from shoal.messages.outbox import Outbox, direction_code
from shoal.messages.requests import Asked
from shoal.messages.values import LEAST, MOST, frozen

Array = NDArray[Any]

EVERY_WAY = "*"


class Shared:
    """Created in `prepare`; only `awake` and `asked` outlive a tick."""

    def __init__(self, part: ShardGraph, carrier: MessageCarrier, combine: Combine | None) -> None:
        self.part, self.carrier, self.combine = part, carrier, combine
        self.delivery = Delivery(part, combine)
        self.ordinals = part.all_ordinals()
        self.outbox = Outbox()
        self.awake = bytearray(part.size)
        self.asking: list[tuple[int, int, int, Any]] = []
        """Requests of this tick: the node, the position of its first letter in the outbox, their number, and the value.
        """
        self.asked: dict[int, dict[int, list[Asked]]] = {}
        """Pending requests, by the node and the tick in which their replies are due."""
        self.contributed: dict[str, tuple[list[int], list[Any]]] = {}
        self.tick = 0
        self.remembers = False
        """Whether any node has a memory."""
        self._columns: dict[tuple[str, str], list[Any]] = {}
        self._ghost_ids: list[Any] | None = None

    # -- saying ----------------------------------------------------------------------------------------------------

    def message(self, value: Any) -> Any:
        """Returns a message as it travels. Raises `TypeError` and `ValueError`."""
        return frozen(value) if self.combine is None else self.combine.read(value)

    def send(self, sender: int, value: Any, to: Any, via: Any, direction: Direction) -> None:
        """Sends a message to other receivers than all out-neighbours."""
        for address in self._addresses(sender, to, via, direction):
            self.outbox.say(sender, value, MESSAGE, address)

    def request(self, sender: int, value: Any, to: Any, via: Any, direction: Direction) -> None:
        """Sends a request, and notes that it is open."""
        first, value = len(self.outbox.senders), frozen(value)
        for address in self._addresses(sender, to, via, direction):
            self.outbox.say(sender, value, REQUEST, address)
        self.asking.append((sender, first, len(self.outbox.senders) - first, value))

    def contribute(self, name: str, node: int, value: Any) -> None:
        """Contributes to an aggregate."""
        if name not in self.contributed:
            hint = did_you_mean(name, self.contributed)
            raise UnknownColumn(f"the program declares no aggregate '{name}'{hint}")
        nodes, values = self.contributed[name]
        nodes.append(node)
        values.append(value)

    def _addresses(self, sender: int, to: Any, via: Any, direction: Direction) -> Sequence[Address]:
        if to is None:
            return [(ALONG, direction_code(direction), self._types(via))]
        if via is not None and via != EVERY_WAY:
            raise ValueError("give either to=, an id, or via=, an edge type")
        name = self.delivery.ids[sender]
        return [(NAMED, _id(each), name) for each in (to if isinstance(to, list | tuple) else [to])]

    def _types(self, via: Any) -> tuple[Any, ...] | None:
        if via is None or via == EVERY_WAY:
            return None
        types = list(via) if isinstance(via, list | tuple) else [via]
        if not types or any(type(each) not in (str, int) for each in types):
            raise TypeError(f"via must be '*', an edge type or a list of edge types, not {via!r}")
        self.delivery.chosen(np.empty(0, np.int64), ())  # raises if edges have no types
        return tuple(sorted(set(types), key=lambda each: (isinstance(each, str), each)))

    # -- looking up ------------------------------------------------------------------------------------------------

    def name(self, local: int) -> int | str:
        """Returns the id of an own node or a ghost."""
        if self.tick == 0:
            raise RuntimeError("the ids of neighbours are available from the first tick on, not in on_start")
        if local < self.part.size:
            return self.delivery.ids[local]  # type: ignore[no-any-return]
        if self._ghost_ids is None:
            self._ghost_ids = [None] * self.part.ghost_count
            for peer, ids in self.carrier.ghost_ids.items():
                for node, name in zip(self.part.ghosts[peer].nodes.tolist(), ids, strict=True):
                    self._ghost_ids[node - self.part.size] = name
        return self._ghost_ids[local - self.part.size]  # type: ignore[no-any-return]

    def value(self, kind: str, name: str, row: int) -> Any:
        """Returns a value of a column loaded with the graph; `kind` is "node" or "edge"."""
        column = self._columns.get((kind, name))
        if column is None:
            known = self.part.node_columns if kind == "node" else self.part.edge_columns
            if name not in known:
                raise UnknownColumn.of_graph(kind, name, known)
            values = known[name]
            column = values.to_pylist() if col.is_string(values) else values.tolist()
            self._columns[kind, name] = column
        return column[row]


def _id(node: Any) -> int | str:
    if isinstance(node, np.integer):
        node = int(node)
    if type(node) not in (int, str):
        raise TypeError(f"a node's id must be an int or a str, or a list of these, not {node!r}")
    if type(node) is int and not LEAST <= node <= MOST:
        raise ValueError(f"{node} does not fit an integer of 64 bits, so it can't be a node's id")
    return frozen(node)  # type: ignore[no-any-return]

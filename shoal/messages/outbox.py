"""The messages that own nodes send during a tick, in plain lists: a message along all edges costs two appends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.messages.envelopes import ALONG, EVERY_EDGE, MESSAGE, OUT, Address, Letter, Numbers, Sent

Array = NDArray[Any]

ALONG_ALL = (ALONG, OUT, None)
_CODES: dict[type, int] = {float: 0, int: 1}


class Outbox:
    """`where` says of a message, by its place, the local index of its target, or -2 - its place in `special`; of those
    that simply go along all edges it says nothing.
    """

    __slots__ = ("senders", "special", "values", "where")

    def __init__(self) -> None:
        self.senders: list[int] = []
        self.where: dict[int, int] = {}
        self.values: list[Any] = []
        self.special: list[tuple[int, Address, tuple[Any, ...] | None]] = []

    def say(self, sender: int, value: Any, kind: int, address: Address, note: tuple[Any, ...] | None = None) -> None:
        """Queues anything but a plain message along all edges or along one."""
        self.where[len(self.senders)] = -2 - len(self.special)
        self.senders.append(sender)
        self.values.append(value)
        self.special.append((kind, address, note))

    def take(self, part: ShardGraph, ordinals: Array) -> tuple[Sent, Array]:
        """Returns all messages and their sequence numbers, and empties the outbox."""
        senders, where = np.array(self.senders, np.int64), np.full(len(self.senders), EVERY_EDGE)
        where[list(self.where)] = list(self.where.values())
        values, special = self.values[:], self.special[:]
        for each in (self.senders, self.values, self.special):
            each.clear()
        self.where.clear()
        seqs = _places(senders)
        order = np.arange(len(senders))
        if (senders[1:] < senders[:-1]).any():  # a message was sent for a node whose turn was over
            order = np.argsort(senders, kind="stable")
        codes = _codes(values)
        codes[where < EVERY_EDGE] = 2
        numbers = []
        for code, dtype in enumerate((np.float64, np.int64)):
            rows = order[codes[order] == code]
            numbers.append(_numbers(rows, senders, seqs, where, values, ordinals, dtype))
        letters = []
        for row in order[codes[order] == 2].tolist():
            kind, address, note = _addressed(int(where[row]), special, ordinals)
            sender = int(part.ordinals[senders[row]])
            letters.append(Letter(sender, int(seqs[row]), kind, address, values[row], note))
        return Sent(numbers[0], numbers[1], tuple(letters)), seqs


def _numbers(
    rows: Array, senders: Array, seqs: Array, where: Array, values: list[Any], ordinals: Array, kind: Any
) -> Numbers:
    if not len(rows):
        return Numbers.none(kind)
    whole = len(rows) == len(values)
    chosen = values if whole and (rows[1:] > rows[:-1]).all() else [values[row] for row in rows.tolist()]
    where = where[rows]
    targets = where if where.max() == EVERY_EDGE else np.where(where == EVERY_EDGE, EVERY_EDGE, ordinals[where])
    return Numbers(senders[rows], seqs[rows], targets, np.array(chosen, kind))


def _addressed(where: int, special: list[Any], ordinals: Array) -> tuple[int, Address, tuple[Any, ...] | None]:
    if where >= 0:
        return MESSAGE, int(ordinals[where]), None
    if where == EVERY_EDGE:
        return MESSAGE, ALONG_ALL, None
    kind, address, note = special[-2 - where]
    return kind, address, note


def _codes(values: list[Any]) -> Array:
    """Returns a code for each value: 0 for a float, 1 for an int, 2 for anything else."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return np.full(len(values), _CODES.get(kinds.pop(), 2), np.int8)
    return np.array([_CODES.get(type(value), 2) for value in values], np.int8)


def _places(senders: Array) -> Array:
    """Returns the place of each message among those of its sender."""
    if not len(senders) or (senders[1:] > senders[:-1]).all():
        return np.zeros(len(senders), np.int64)
    order = np.argsort(senders, kind="stable")
    ordered = senders[order]
    places = np.empty(len(senders), np.int64)
    places[order] = np.arange(len(senders)) - np.searchsorted(ordered, ordered)
    return places


def direction_code(direction: Direction | str) -> int:
    """Returns a direction as it is encoded in an address."""
    return list(Direction).index(Direction(direction))

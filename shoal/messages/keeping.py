"""The state of a partition's nodes in a checkpoint, besides attributes and messages in flight.

In msgpack: which nodes are awake, a bit each; what nodes remember, by their place in the partition, dicts in their own
order, for that is the order in which a program meets them; the requests that are out; and what could not be delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shoal.messages.node import Node
from shoal.messages.requests import TICKS, Asked
from shoal.messages.shared import Shared
from shoal.messages.values import pack_memory, pack_message, unpack_memory, unpack_message

NAMED_MAX = 10
"""The number of undeliverable messages per partition that are listed; all are counted."""


@dataclass(slots=True)
class Undeliverable:
    """Messages to missing nodes of a partition: their number, and the first few as (tick, sender, to)."""

    count: int = 0
    first: list[tuple[int, int | str, int | str]] = field(default_factory=list)

    def add(self, tick: int, sender: int | str, to: int | str) -> None:
        """Adds an undeliverable message."""
        self.count += 1
        if len(self.first) < NAMED_MAX:
            self.first.append((tick, sender, to))


def pack(shared: Shared, nodes: Sequence[Node], first: int, last: int, lost: Undeliverable) -> bytes:
    """Returns the state of the nodes from `first` to before `last`, which form a partition."""
    awake = np.packbits(np.frombuffer(shared.awake, np.uint8)[first:last]).tobytes()
    memories = [(i - first, node._memory) for i, node in enumerate(nodes[first:last], first) if node._memory]
    asked = [
        (due, node - first, each.seq, each.letters, pack_message(each.value))
        for due, by_node in sorted(shared.asked.items())
        for node, requests in sorted(by_node.items())
        if first <= node < last
        for each in requests
    ]
    return pack_memory([awake, [list(m) for m in memories], asked, lost.count, lost.first])


def unpack(state: memoryview, shared: Shared, nodes: Sequence[Node], first: int, last: int) -> Undeliverable:
    """Restores the state of the nodes. Raises `ValueError`."""
    found = unpack_memory(state)
    if not isinstance(found, list) or len(found) != 5:
        raise ValueError("what was kept of nodes does not have its five parts")
    awake, memories, asked, count, named = found
    if type(awake) is not bytes or len(awake) != (last - first + 7) // 8:
        raise ValueError("which nodes are awake is not told of all")
    shared.awake[first:last] = np.unpackbits(np.frombuffer(awake, np.uint8), count=last - first).tobytes()
    for place, memory in _pairs(memories):
        if not 0 <= place < last - first or type(memory) is not dict:
            raise ValueError(f"node {place} of the partition remembers {type(memory).__name__}")
        nodes[first + place]._memory = memory
        shared.remembers = True
    for entry in _list(asked):
        due, place, seq, letters, value = _request(entry, last - first)
        by_node = shared.asked.setdefault(due, {})
        by_node.setdefault(first + place, []).append(Asked(due, seq, letters, unpack_message(value)))
    if type(count) is not int or count < 0 or not all(_is_named(entry) for entry in _list(named)):
        raise ValueError("what could not be delivered is not told")
    return Undeliverable(count, named)


def due_within(tick: int) -> int:
    """Returns the tick in which replies to requests made now arrive."""
    return tick + TICKS


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError(f"a list was due, not {type(value).__name__}")
    return value


def _pairs(value: Any) -> list[Any]:
    if not all(type(pair) is list and len(pair) == 2 and type(pair[0]) is int for pair in _list(value)):
        raise ValueError("what nodes remember is not told by their places")
    return list(value)


def _request(entry: Any, nodes: int) -> tuple[int, int, int, int, bytes]:
    kinds = (int, int, int, int, bytes)
    if type(entry) is not tuple or tuple(map(type, entry)) != kinds or min(entry[:4]) < 0 or entry[1] >= nodes:
        raise ValueError("a request that is out is not told in full")
    return entry


def _is_named(entry: Any) -> bool:
    return type(entry) is tuple and len(entry) == 3 and all(type(part) in (int, str) for part in entry)

"""Counts the messages in flight by their senders' partitions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph.shard_graph import ShardGraph
from shoal.messages.delivery import Delivery
from shoal.messages.envelopes import ALONG, BOTH, EVERY_EDGE, IN, OUT, RETURNED, Letter, Sent

Array = NDArray[Any]


def tally(said: Sent, part: ShardGraph, delivery: Delivery) -> NDArray[np.int64]:
    """Counts messages by own partition; one along edges counts once per edge."""
    counts = np.zeros(len(part.partitions), np.int64)
    for numbers in (said.floats, said.ints):
        if len(numbers):
            edges = np.where(numbers.targets == EVERY_EDGE, part.out_degree[numbers.senders], 1)
            np.add.at(counts, _place(part, numbers.senders), edges)
    nodes = part.local_of(np.array([letter.sender for letter in said.letters], np.int64))
    places = _place(part, nodes).tolist()
    for letter, node, place in zip(said.letters, nodes.tolist(), places, strict=True):
        if letter.kind == RETURNED:
            counts[part.partitions.index(-1 - letter.sender)] += 1
        else:
            counts[place] += _receivers(letter, node, part, delivery)
    return counts


def _receivers(letter: Letter, node: int, part: ShardGraph, delivery: Delivery) -> int:
    if letter.address is None:
        return part.node_count
    if isinstance(letter.address, int) or letter.address[0] != ALONG:
        return 1
    _, direction, types = letter.address
    count = 0
    for side, edges in ((OUT, part.out_edges), (IN, part.in_edges)):
        if direction in (side, BOTH):
            first, last = int(edges.indptr[node]), int(edges.indptr[node + 1])
            count += last - first if types is None else int(delivery.chosen(edges.edges[first:last], types).sum())
    return count


def _place(part: ShardGraph, nodes: Array) -> Array:
    """Returns the place of each own node's partition among the own ones."""
    return np.searchsorted(part.starts, nodes, side="right") - 1

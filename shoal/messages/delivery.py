"""Sorts the messages of the last tick by receiver, in canonical order.

A value sent along all edges is stored once; receivers read it through their own edges, a shard at a time. If each node
sent at most one message, and all along all out-edges, the in-edges already are in canonical order and nothing is
sorted. Otherwise each message is a row (receiver, sender's ordinal, seq), and the rows are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn
from shoal.graph import columns as col
from shoal.graph.ids import partition_of
from shoal.graph.shard_graph import Adjacency, ShardGraph
from shoal.kernels.grouping import Grouping
from shoal.kernels.merging import merged_rows
from shoal.messages.attribute import Combine
from shoal.messages.envelopes import ALONG, BOTH, EVERY_EDGE, IN, MESSAGE, OUT, Letter, Numbers, Sent
from shoal.program.declarations import Merge
from shoal.program.ragged import spread

Array = NDArray[Any]


@dataclass(slots=True)
class Inbox:
    """The messages that arrived: their number for each own node, the messages by receiver, and letters of other kinds.

    `missing` are letters to nodes that would be on this shard but do not exist.
    """

    counts: Array
    messages: list[Any]
    letters: dict[int, list[Letter]] = field(default_factory=dict)
    missing: list[Letter] = field(default_factory=list)


class Delivery:
    """Delivers messages along the edges of one part."""

    def __init__(self, part: ShardGraph, combine: Combine | None) -> None:
        self._part, self._combine = part, combine

    def sort_out(self, arrived: Sequence[Sent]) -> Inbox:
        """Groups the messages of the last tick by receiver."""
        floats = Numbers.joined([said.floats for said in arrived], np.float64)
        ints = Numbers.joined([said.ints for said in arrived], np.int64)
        letters = [letter for said in arrived for letter in said.letters]
        if not letters:
            if not len(floats) and not len(ints):
                return Inbox(np.zeros(self._part.size, np.int64), [])
            only = floats if len(floats) else ints
            few = 4 * len(only) < self._part.size
            if (not len(floats) or not len(ints)) and only.once and not few:
                return self._through_edges(only)
        return self._through_rows(floats, ints, letters)

    # -- nothing to sort -------------------------------------------------------------------------------------------

    def _through_edges(self, numbers: Numbers) -> Inbox:
        part, width = self._part, self._part.size + self._part.ghost_count
        table, spoke = np.zeros(width, numbers.values.dtype), np.zeros(width, np.bool_)
        table[numbers.senders], spoke[numbers.senders] = numbers.values, True
        if self._combine is not None and self._combine.merge is Merge.SUM:
            counts = np.minimum(part.in_kernel.count(spoke), 1)
            return Inbox(counts, part.in_kernel.sum(table)[counts > 0].tolist())
        edges = part.in_edges
        heard = spoke[edges.neighbours]
        if heard.all():
            counts, values = part.in_degree, table[edges.neighbours]
        else:
            ends = np.concatenate([[0], np.cumsum(heard)])
            counts, values = np.diff(ends[edges.indptr]), table[edges.neighbours[heard]]
        if self._combine is None:
            return Inbox(counts, values.tolist())
        return self._combined(np.repeat(np.arange(part.size), counts), values)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _through_rows(self, floats: Numbers, ints: Numbers, letters: Sequence[Letter]) -> Inbox:
        missing: list[Letter] = []
        nodes, said = self._rows(floats, ints, letters, missing)
        ordinals, marks = self._ordinals, [letter[:2] for letter in letters]
        by_letter = np.array(marks, np.int64).reshape(-1, 2)
        senders = np.concatenate([ordinals[floats.senders], ordinals[ints.senders], by_letter[:, 0]])
        seqs = np.concatenate([floats.seqs, ints.seqs, by_letter[:, 1]])
        order = np.lexsort((seqs[said], senders[said], nodes))
        nodes, said = nodes[order], said[order]
        others: dict[int, list[Letter]] = {}
        if any(letter.kind != MESSAGE for letter in letters):
            first = len(floats) + len(ints)
            kinds = np.zeros(first + len(letters), np.int8)
            kinds[first:] = [letter.kind for letter in letters]
            apart = kinds[said] != MESSAGE
            for node, place in zip(nodes[apart].tolist(), said[apart].tolist(), strict=True):
                others.setdefault(node, []).append(letters[place - first])
            nodes, said = nodes[~apart], said[~apart]
        inbox = self._of_rows(nodes, said, floats, ints, letters)
        inbox.letters, inbox.missing = others, sorted(missing, key=lambda letter: letter[:2])
        return inbox

    def _of_rows(self, nodes: Array, said: Array, floats: Numbers, ints: Numbers, letters: Sequence[Letter]) -> Inbox:
        if self._combine is not None:
            kind = self._combine.dtype
            of_letters = [letter.value if letter.kind == MESSAGE else 0 for letter in letters]
            values = np.concatenate([floats.values.astype(kind), ints.values.astype(kind), np.array(of_letters, kind)])
            return self._combined(nodes, values[said])
        counts = np.bincount(nodes, minlength=self._part.size)
        if not letters and not (len(floats) and len(ints)):
            return Inbox(counts, (floats if len(floats) else ints).values[said].tolist())
        plain = [*floats.values.tolist(), *ints.values.tolist(), *(letter.value for letter in letters)]
        return Inbox(counts, [plain[place] for place in said.tolist()])

    def _combined(self, nodes: Array, values: Array) -> Inbox:
        """Returns one value per node, in order; floats are summed from left to right, as kernels do."""
        assert self._combine is not None
        counts = np.bincount(nodes, minlength=self._part.size)
        heard = counts > 0
        if not self._combine.exact:
            totals = np.bincount(nodes, values, minlength=self._part.size)[heard]
        else:
            starts = (np.cumsum(counts) - counts)[heard]
            totals = merged_rows(self._combine.merge.ufunc, values, starts) if len(starts) else values
        return Inbox(heard.astype(np.int64), totals.tolist())

    def _rows(
        self, floats: Numbers, ints: Numbers, letters: Sequence[Letter], missing: list[Letter]
    ) -> tuple[Array, Array]:
        """Returns the receivers, and the place of each message among floats, ints and letters."""
        rows, first = [], 0
        for numbers in (floats, ints):
            far = np.flatnonzero(numbers.targets >= 0)
            rows.append(self._to(numbers.targets[far], first + far))
            along = np.flatnonzero(numbers.targets == EVERY_EDGE)
            rows.append(self._along(numbers.senders[along], first + along, OUT, None))
            first += len(numbers)
        ways: dict[tuple[int, Any], list[int]] = {}
        single: list[int] = []
        for place, letter in enumerate(letters):
            address = letter.address
            if isinstance(address, int):
                single.append(place)
            elif address is not None and address[0] == ALONG:
                ways.setdefault(address[1:], []).append(place)
            else:
                nodes = self._called(letter, missing)
                rows.append((nodes, np.full(len(nodes), first + place)))
        targets = np.array([letters[place].address for place in single], np.int64)
        rows.append(self._to(targets, first + np.array(single, np.int64)))
        for (direction, types), places in ways.items():
            senders = np.array([letters[place].sender for place in places])
            rows.append(self._along(self._local(senders), first + np.array(places), direction, types))
        nodes, said = (np.concatenate(column) for column in zip(*rows, strict=True))
        return nodes, said

    def _to(self, targets: Array, places: Array) -> tuple[Array, Array]:
        """Keeps the messages that are addressed to own nodes."""
        local = self._part.local_of(targets)
        return local[local >= 0], places[local >= 0]

    def _along(
        self, senders: Array, places: Array, direction: int, types: tuple[Any, ...] | None
    ) -> tuple[Array, Array]:
        """Follows the senders' edges in a direction, which is the opposite one for receivers."""
        found = []
        for side, index in ((OUT, self._by_source), (IN, self._by_target)) if len(senders) else ():
            if direction not in (side, BOTH):
                continue
            edges, rows, order, starts = index
            degree = starts[senders + 1] - starts[senders]
            chosen = order[spread(starts[senders], degree)]
            said = np.repeat(places, degree)
            if types is not None:
                kept = self.chosen(edges.edges[chosen], types)
                chosen, said = chosen[kept], said[kept]
            found.append((rows[chosen], said))
        if len(found) == 1:
            return found[0]
        nothing = (np.empty(0, np.int64), np.empty(0, np.int64))
        nodes, said = (np.concatenate(column) for column in zip(nothing, *found, strict=True))
        return nodes, said

    def _called(self, letter: Letter, missing: list[Letter]) -> Array:
        """Returns the own nodes that a letter to everyone, or to one by its id, reaches."""
        if letter.address is None:
            return np.arange(self._part.size)
        assert isinstance(letter.address, tuple)
        node = letter.address[1]
        if node in self.by_id:
            return np.array([self.by_id[node]])
        if not self._part.owner_of_partition[partition_of(node, self._part.partition_count)]:
            missing.append(letter)
        return np.empty(0, np.int64)

    @cached_property
    def _by_source(self) -> tuple[Adjacency, Array, Array, Array]:
        return self._index(self._part.in_edges)

    @cached_property
    def _by_target(self) -> tuple[Adjacency, Array, Array, Array]:
        return self._index(self._part.out_edges)

    def _index(self, edges: Adjacency) -> tuple[Adjacency, Array, Array, Array]:
        """Returns the edges' rows, their places sorted by the node at the other end, and where each node's begin."""
        by_neighbour = Grouping(edges.neighbours, self._part.size + self._part.ghost_count)
        rows = np.repeat(np.arange(self._part.size), np.diff(edges.indptr))
        return edges, rows, by_neighbour.order(), by_neighbour.starts

    # -- types of edges --------------------------------------------------------------------------------------------

    def chosen(self, edges: Array, types: tuple[Any, ...]) -> Array:
        """Returns which of these edges are of these types. Raises `UnknownColumn`."""
        codes, names = self._types
        return np.isin(codes[edges], [code for code, name in enumerate(names) if name in types])

    @cached_property
    def _types(self) -> tuple[Array, list[Any]]:
        columns = self._part.edge_columns
        if "type" not in columns:
            raise UnknownColumn("the graph's edges have no column 'type', so via can only be \"*\"")
        if col.is_string(columns["type"]):
            codes, names = col.encoded(columns["type"])
            return codes, list(names.to_pylist())
        numbers, codes = np.unique(columns["type"], return_inverse=True)
        return codes, list(numbers.tolist())

    # -- who is who ------------------------------------------------------------------------------------------------

    @cached_property
    def ids(self) -> list[Any]:
        """The ids of own nodes."""
        ids = self._part.ids
        if ids is None:
            return list(self._part.ordinals.tolist())
        return list(ids.tolist() if isinstance(ids, np.ndarray) else ids.to_pylist())

    @cached_property
    def by_id(self) -> dict[Any, int]:
        """Own nodes by id."""
        return {node: local for local, node in enumerate(self.ids)}

    @cached_property
    def _ordinals(self) -> Array:
        return self._part.all_ordinals()

    def _local(self, ordinals: Array) -> Array:
        """Returns the local indices of own nodes, and of ghosts whose neighbours are addressed, from their ordinals."""
        return self._by_ordinal[np.searchsorted(self._sorted_ordinals, ordinals)]

    @cached_property
    def _by_ordinal(self) -> Array:
        return np.argsort(self._ordinals, kind="stable")

    @cached_property
    def _sorted_ordinals(self) -> Array:
        return self._ordinals[self._by_ordinal]

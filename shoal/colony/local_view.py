"""The view that agents have of the substrate: one partition at a time, independent of the placement."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn
from shoal.colony.agents import Agent
from shoal.colony.keyed_table import KeyedTable, left_of, pair, right_of
from shoal.colony.places import Place
from shoal.kernels.grouping import distinct

if TYPE_CHECKING:
    from shoal.colony.colony import Colony

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept: its `kind`, the number of `accesses`, and the tick in which it was `created`."""

    kind: str
    accesses: int
    created: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The other end of an edge. For concepts, `weight` is the strength of the edge and `together` the number of times
    that both ends were active together. `concept` is None for a node and for an unresolved ghost.
    """

    place: Place
    weight: float = 1.0
    together: int = 0
    concept: Concept | None = None


class LocalView:
    """The view on one shard; caches lookups during a phase."""

    def __init__(self, colony: Colony) -> None:
        self._colony, self.part, self.substrate = colony, colony.part, colony.substrate
        self._ordinals = colony.part.all_ordinals()
        self._seen: dict[Any, Any] = {}

    def forget(self) -> None:
        """Drops the cached view, before the substrate or the tick changes."""
        self._seen = {}

    def node_id(self, place: Place) -> int | str:
        """Returns the id of an own node."""
        found = self.part.ids[self.local(place)]
        return found.item() if isinstance(found, np.generic) else found.as_py()  # type: ignore[no-any-return]

    def node_value(self, place: Place, column: str) -> Any:
        """Returns an own node's value in a column of the graph."""
        columns = self.part.node_columns
        if column not in columns:
            raise UnknownColumn.of_graph("node", column, columns)
        values = columns[column]
        found = values[self.local(place)]
        return found.item() if isinstance(found, np.generic) else found.as_py()

    def concept_at(self, place: Place) -> Concept | None:
        """Returns a concept of an own partition."""
        return self._concept(self.substrate.concepts, np.array([self.substrate.names.known(place.name)]))

    def neighbours(self, place: Place) -> list[Neighbour]:
        """Returns the other ends of edges, by name; see `AgentContext.neighbours`."""
        if place.is_node:
            edges, local = self.part.out_edges, self.local(place)
            there = edges.neighbours[edges.indptr[local] : edges.indptr[local + 1]]
            ordinals = distinct(self._ordinals[there])
            return [Neighbour(Place.node(ordinal)) for ordinal in ordinals.tolist()]
        number, keys = self.substrate.names.known(place.name), self.substrate.halves.keys
        first, last = np.searchsorted(keys, [number << 32, (number + 1) << 32]).tolist()
        return self._ends(first, last) if number >= 0 else []

    def signal_at(self, kind: str, place: Place) -> float:
        """Returns a signal at an own place."""
        sheet = self.substrate.signals[self._colony.signal_number(kind)]
        (row,) = sheet.find(np.array([self.substrate.names.known(place.name)])).tolist()
        return float(sheet["intensity"][row]) if row >= 0 else 0.0

    def traces_at(self, kind: str, place: Place) -> int:
        """Returns the authors of traces at an own place."""
        number = self.substrate.names.known(place.name)
        keys = self.substrate.traces[self._colony.trace_number(kind)].keys
        first, last = np.searchsorted(keys, [number << 32, (number + 1) << 32]).tolist()
        return int(last - first) if number >= 0 else 0

    def signals_of(self, kind: str, partition: int, least: float) -> list[tuple[Place, float]]:
        """Returns the signals in an own partition."""
        known = self._seen.get(("signals", kind, least))
        if known is None:
            sheet = self.substrate.signals[self._colony.signal_number(kind)]
            rows = np.flatnonzero(sheet["intensity"] >= least)
            known = self._by_place(sheet.keys[rows], sheet["intensity"][rows].tolist())
            self._seen["signals", kind, least] = known
        return list(known.get(partition, ()))

    def fresh_traces(self, kind: str, partition: int) -> list[tuple[Place, int]]:
        """Returns the fresh traces in an own partition."""
        known = self._seen.get(("traces", kind))
        if known is None:
            sheet, authors = self.substrate.traces[self._colony.trace_number(kind)], self.substrate.authors.ids
            keys = sheet.keys[sheet["left"] == self._colony.tick - 1]
            known = self._by_place(left_of(keys), [authors[number] for number in right_of(keys).tolist()])
            self._seen["traces", kind] = known
        return list(known.get(partition, ()))

    def agents_at(self, partition: int, place: Place) -> list[Agent]:
        """Returns the agents at an own place, by id."""
        known = self._seen.get(("agents", partition))
        if known is None:
            known = self._seen["agents", partition] = {}
            for agent in self._colony.alive[partition].values():
                known.setdefault(agent.place, []).append(agent)
        return list(known.get(place, ()))

    def _ends(self, first: int, last: int) -> list[Neighbour]:
        """Returns the other ends of the halves in these rows, which share a near end. A far end in another partition is
        read from its ghost only, because the rest of this shard depends on the placement.
        """
        substrate, halves, names = self.substrate, self.substrate.halves, self.substrate.names
        near, far = left_of(halves.keys[first:last]), right_of(halves.keys[first:last])
        mine, theirs = names.partitions[near], names.partitions[far]
        ghosts = substrate.ghosts.find(pair(mine, far))
        ends = []
        for at, name in sorted(enumerate(names.names(far.tolist())), key=itemgetter(1)):
            row, concept = first + at, None
            if mine[at] == theirs[at]:
                concept = self._concept(substrate.concepts, far[at : at + 1])
            elif substrate.ghosts["resolved"][ghosts[at]] >= 0:
                concept = self._known_as(substrate.ghosts, int(ghosts[at]))
            weight, together = float(halves["weight"][row]), int(halves["together"][row])
            ends.append(Neighbour(Place(name), weight, together, concept))
        return ends

    def _concept(self, sheet: KeyedTable, key: Array) -> Concept | None:
        (row,) = sheet.find(key).tolist()
        return self._known_as(sheet, row) if row >= 0 else None

    def _known_as(self, sheet: KeyedTable, row: int) -> Concept:
        kind = self._colony.concept_kinds[int(sheet["kind"][row])]
        return Concept(kind, int(sheet["accesses"][row]), int(sheet["created"][row]))

    def _by_place(self, numbers: Array, values: list[Any]) -> dict[int, list[tuple[Place, Any]]]:
        """Returns what belongs to places, by partition, and there by name and value."""
        names, found = self.substrate.names, dict[int, list[tuple[Place, Any]]]()
        rows = zip(names.names(numbers.tolist()), values, names.partitions[numbers].tolist(), strict=True)
        for name, value, partition in sorted(rows):
            found.setdefault(partition, []).append((Place(name), value))
        return found

    def local(self, place: Place) -> int:
        """Returns the local index of an own node. Raises `ValueError` for any other node."""
        (local,) = self.part.local_of(np.array([place.ordinal])).tolist()
        if local < 0:
            raise ValueError(f"{place} is not on this shard")
        return int(local)

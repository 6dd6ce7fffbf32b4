"""The substrate of a shard's places: concepts, edges between them, signals, traces, and ghosts of remote concepts.

Everything belongs to the partition of its place, and changes only by mail to that partition or by time. A partition's
piece is therefore the same on any shard.

**Edges** join two concepts and have no direction. Each end keeps a *half*. Both ends receive the same mail in the
same tick and do the same arithmetic, so the halves always agree and need no further exchange. How an
edge changes in a tick, in this order (rates and bounds are the colony's parameters)::

    decay       w = w * (1 - min(rate, 1/2))        rate = edge_decay, while the edge is younger than `maturation`;
                                                    then edge_decay * (1 + staleness * idle/100 / (1 + together/2))
    pruning     removed if mature and w < prune_below
    bound       removed if either end drops it: each keeps its `degree_max` strongest, of equals those to lesser names
    Hebb        w = min(1, w + reinforcement * times)       for each time that its ends were active together; from 0 for
                                                            a new one

**Ghosts** are a partition's copies of concepts that its edges lead to and that belong to other partitions. A ghost is
unresolved until the owner's answer has come, and dropped with the last edge that leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shoal.colony.keyed_table import KeyedTable, left_of, pair, right_of
from shoal.colony.names import Names
from shoal.engine.exchange.mail import Records
from shoal.kernels.grouping import distinct
from shoal.program.ragged import Ragged

Array = NDArray[Any]
RATE_MAX: Final = 0.5
SPARE: Final = 1 << 16
"""The number of unused names and authors that are kept, in addition to as many as are in use."""


@dataclass(frozen=True)
class Fading:
    """A kind of signal or of trace, which agents leave at a place and which fades.

    Each tick its intensity loses the share `decay`; below `threshold` it is removed.
    """

    name: str
    decay: float
    threshold: float = 0.01


@dataclass(frozen=True)
class Signal(Fading):
    """An intensity at a place, to which agents add."""

    decay: float = 0.05


@dataclass(frozen=True)
class Trace(Fading):
    """A mark of an author at a place: one for each author, whose intensity is restored when it is left again."""

    decay: float = 0.02


@dataclass(frozen=True)
class Plasticity:
    """How edges change; see above."""

    decay: float
    prune_below: float
    maturation: int
    staleness: float
    degree_max: int
    reinforcement: float


class Authors:
    """Authors of traces, any integers of 64 bits, as small numbers of this shard's own."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.ids: list[int] = []

    def number(self, author: int) -> int:
        """Returns an author's number, a new one for an unknown author."""
        number = self._numbers.setdefault(author, len(self.ids))
        if number == len(self.ids):
            self.ids.append(author)
        return number

    def only(self, numbers: Array) -> Authors:
        """Keeps only these authors, renumbered in their old order."""
        chosen = Authors()
        for number in numbers.tolist():
            chosen.number(self.ids[number])
        return chosen

    def numbers(self, authors: Array) -> NDArray[np.int64]:
        """Returns the numbers of several authors."""
        return np.fromiter(map(self.number, authors.tolist()), np.int64, len(authors))


class Substrate:
    """The pieces of all own partitions, in one set of arrays."""

    def __init__(
        self,
        partition_of: Callable[[bytes], int],
        partition_count: int,
        signals: tuple[Signal, ...],
        traces: tuple[Trace, ...],
        plasticity: Plasticity,
    ) -> None:
        self.names, self.authors = Names(partition_of), Authors()
        self.partition_count, self.plasticity = partition_count, plasticity
        self.signal_kinds, self.trace_kinds = signals, traces
        self.concepts = KeyedTable(kind=np.int64, accesses=np.int64, created=np.int64)
        self.labels: dict[int, bytes] = {}
        """Labels of concepts, if they differ from the key."""
        self.halves = KeyedTable(
            weight=np.float64, together=np.int64, created=np.int64, activated=np.int64, lesser=np.bool_
        )
        """Halves by (near end, far end); the far end may be in another partition. `lesser` is set if the near end's
        name is.
        """
        self.signals = tuple(KeyedTable(intensity=np.float64) for _ in signals)
        self.traces = tuple(KeyedTable(intensity=np.float64, left=np.int64) for _ in traces)
        self.ghosts = KeyedTable(halves=np.int64, kind=np.int64, accesses=np.int64, created=np.int64, resolved=np.int64)
        """Ghosts by (partition, concept); `resolved` is the tick of the owner's answer, or -1."""
        self._names_max = self._authors_max = SPARE
        self.unasked: NDArray[np.int64] = np.empty(0, np.int64)
        """Ghosts of this tick."""

    # -- time ------------------------------------------------------------------------------------------------------

    def forget_names(self) -> None:
        """Drops unused names and authors once they are the majority."""
        traces = np.concatenate([sheet.keys for sheet in self.traces] or [np.empty(0, np.int64)])
        if len(self.authors.ids) > self._authors_max:
            used = distinct(right_of(traces))
            for sheet in self.traces:
                sheet.keys = pair(left_of(sheet.keys), np.searchsorted(used, right_of(sheet.keys)))
            self.authors = self.authors.only(used)
            self._authors_max = 2 * len(used) + SPARE
            self.forget_names()
        elif len(self.names) > self._names_max:
            ends = [left_of(self.halves.keys), right_of(self.halves.keys), right_of(self.ghosts.keys), left_of(traces)]
            used = distinct(np.concatenate([self.concepts.keys, *ends, *(sheet.keys for sheet in self.signals)]))
            self._renumber(used)
            self._names_max = 2 * len(used) + SPARE

    def _renumber(self, used: Array) -> None:
        """Renumbers names. The order of numbers is preserved, and with it that of all keys."""

        def new(numbers: Array) -> NDArray[np.int64]:
            return np.searchsorted(used, numbers)

        halves, ghosts = self.halves.keys, self.ghosts.keys
        self.halves.keys = pair(new(left_of(halves)), new(right_of(halves)))
        self.ghosts.keys = pair(left_of(ghosts), new(right_of(ghosts)))
        for sheet in (self.concepts, *self.signals):
            sheet.keys = new(sheet.keys)
        for sheet in self.traces:
            sheet.keys = pair(new(left_of(sheet.keys)), right_of(sheet.keys))
        numbers = new(np.array(list(self.labels), np.int64)).tolist()
        self.labels = dict(zip(numbers, self.labels.values(), strict=True))
        self.names = self.names.only(used)

    def fade(self) -> None:
        """Fades signals and traces."""
        kinds = zip((*self.signal_kinds, *self.trace_kinds), (*self.signals, *self.traces), strict=True)
        for kind, sheet in kinds:
            sheet["intensity"][:] *= 1.0 - kind.decay
            sheet.keep(sheet["intensity"] >= kind.threshold)

    def decay_edges(self, tick: int) -> NDArray[np.int64]:
        """Fades and prunes edges; returns the keys of the halves that are gone."""
        rule, halves = self.plasticity, self.halves
        mature = tick - halves["created"] >= rule.maturation
        idle = (tick - halves["activated"]) / 100.0
        rate = np.where(
            mature, rule.decay * (1.0 + rule.staleness * idle / (1.0 + halves["together"] / 2.0)), rule.decay
        )
        halves["weight"][:] *= 1.0 - np.minimum(rate, RATE_MAX)
        return self._drop(mature & (halves["weight"] < rule.prune_below))

    def beyond_the_bound(self) -> NDArray[np.int64]:
        """Returns the keys of the halves that their near end drops."""
        near = left_of(self.halves.keys)
        degree = np.bincount(near, minlength=len(self.names))
        rows = np.flatnonzero(degree[near] > self.plasticity.degree_max)
        if not len(rows):
            return np.empty(0, np.int64)
        near, far = near[rows], right_of(self.halves.keys[rows])
        order = np.lexsort((self.names.ranks[far], -self.halves["weight"][rows], near))
        near = near[order]
        place = np.arange(len(near)) - np.searchsorted(near, near)
        return self.halves.keys[rows[order[place >= self.plasticity.degree_max]]]

    # -- what arrives ----------------------------------------------------------------------------------------------

    def take_cuts(self, records: Records) -> NDArray[np.int64]:
        """Drops edges that an end has cut; returns the keys of the halves that are gone."""
        keys = self._pairs(records)
        gone = np.zeros(len(self.halves), np.bool_)
        rows = self.halves.find(keys)
        gone[rows[rows >= 0]] = True
        return self._drop(gone)

    def take_concepts(self, records: Records, tick: int) -> None:
        """Creates the concepts that were presented for the first time, and counts an access to the others."""
        numbers, kinds = self.names.numbers(_rows(records, "key")), np.asarray(records.fields["kind"])
        known, first = np.unique(numbers, return_index=True)
        new = self.concepts.find(known) < 0
        rows = self.concepts.ensure(numbers, {"created": tick})
        self.concepts["kind"][self.concepts.find(known[new])] = kinds[first[new]]
        labels = _rows(records, "label").to_bytes()
        for number, at in zip(known[new].tolist(), first[new].tolist(), strict=True):
            if labels[at] and labels[at] != self.names[number]:
                self.labels[number] = labels[at]
        np.add.at(self.concepts["accesses"], rows, 1)

    def take_wires(self, records: Records, tick: int) -> None:
        """Strengthens the edges whose ends were active together; creates missing concepts."""
        given = self._pairs(records)
        keys, place = np.unique(given, return_inverse=True)
        times = np.zeros(len(keys), np.int64)
        np.add.at(times, place, np.asarray(records.fields["times"]))
        self.concepts.ensure(distinct(left_of(keys)), {"created": tick})
        new = self.halves.missing(keys)
        rows = self.halves.ensure(keys, {"created": tick})
        halves = self.halves
        halves["weight"][rows] = np.minimum(1.0, halves["weight"][rows] + self.plasticity.reinforcement * times)
        halves["together"][rows] += times
        halves["activated"][rows] = tick
        halves["lesser"][halves.find(new)] = self.names.lesser(left_of(new), right_of(new))
        self._lead(new)

    def take_signals(self, records: Records) -> None:
        """Adds the signals that were emitted at own places, in the order of arrival."""
        places, kinds = self.names.numbers(_rows(records, "place")), np.asarray(records.fields["kind"])
        amounts = np.asarray(records.fields["intensity"])
        for kind, sheet in enumerate(self.signals):
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                rows = sheet.ensure(places[chosen])
                np.add.at(sheet["intensity"], rows, amounts[chosen])

    def take_traces(self, records: Records, tick: int) -> None:
        """Records the traces that were left at own places."""
        places, kinds = self.names.numbers(_rows(records, "place")), np.asarray(records.fields["kind"])
        authors = self.authors.numbers(np.asarray(records.fields["author"]))
        for kind, sheet in enumerate(self.traces):
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                rows = sheet.ensure(pair(places[chosen], authors[chosen]))
                sheet["intensity"][rows] = 1.0
                sheet["left"][rows] = tick

    def take_facts(self, records: Records, tick: int) -> None:
        """Records owners' answers about ghosts, except about those that have been dropped."""
        keys = pair(records.partitions, self.names.numbers(_rows(records, "key")))
        rows = self.ghosts.find(keys)
        known = rows >= 0
        for column in ("kind", "accesses", "created"):
            self.ghosts[column][rows[known]] = np.asarray(records.fields[column])[known]
        self.ghosts["resolved"][rows[known]] = tick

    # -- within ----------------------------------------------------------------------------------------------------

    def _pairs(self, records: Records) -> NDArray[np.int64]:
        return pair(self.names.numbers(_rows(records, "near")), self.names.numbers(_rows(records, "far")))

    def _drop(self, gone: Array) -> NDArray[np.int64]:
        keys = self.halves.keys[gone]
        self.halves.keep(~gone)
        rows, count = np.unique(self.ghosts.find(self._ghost_keys(keys)), return_counts=True)
        self.ghosts["halves"][rows] -= count
        self.ghosts.keep(self.ghosts["halves"] > 0)
        return keys

    def _lead(self, keys: Array) -> None:
        """Adds new halves that lead to these concepts."""
        ghosts, count = np.unique(self._ghost_keys(keys), return_counts=True)
        self.unasked = self.ghosts.missing(ghosts)
        rows = self.ghosts.ensure(ghosts, {"resolved": -1})
        self.ghosts["halves"][rows] += count

    def _ghost_keys(self, halves: Array) -> NDArray[np.int64]:
        """Returns the ghost keys of those halves that lead to another partition."""
        near, far = self.names.partitions[left_of(halves)], right_of(halves)
        leads = near != self.names.partitions[far]
        return pair(near[leads], far[leads])


def _rows(records: Records, field: str) -> Ragged:
    rows = records.fields[field]
    assert isinstance(rows, Ragged)
    return rows

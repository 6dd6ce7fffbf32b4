"""Encodes a partition's piece of the substrate, independently of the placement.

The names come first, in byte order. Every row then refers to its place by the name's position, and rows are sorted by
name. All numbers are little-endian: positions have 4 bytes, everything else 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shoal.colony.keyed_table import KeyedTable, left_of, pair, right_of
from shoal.colony.substrate import Substrate
from shoal.engine.exchange.carrier import BadState, pack_arrays, pack_sections, split_arrays, split_sections
from shoal.kernels.grouping import distinct
from shoal.program.ragged import Ragged

Array = NDArray[Any]
CONCEPT: Final = ("kind", "accesses", "created")
HALF: Final = ("weight", "together", "created", "activated")
GHOST: Final = ("kind", "accesses", "created", "resolved")


class Snapshot:
    """The substrate with its rows sorted by partition; `piece` returns one partition's."""

    def __init__(self, substrate: Substrate) -> None:
        self._of = substrate
        self._ranks, self._partitions = substrate.names.ranks, substrate.names.partitions
        self._order = np.argsort(self._ranks)
        self._sorted: dict[int, tuple[Array, Array]] = {}

    def piece(self, partition: int) -> bytes:
        """Returns a partition's piece."""
        of = self._of
        concepts, halves, ghosts = self.concepts(partition), self.halves(partition), self.ghosts(partition)
        number, far = of.concepts.keys[concepts], right_of(of.halves.keys[halves])
        near, ghost = left_of(of.halves.keys[halves]), right_of(of.ghosts.keys[ghosts])
        signals = [(sheet, self.signals(kind, partition)) for kind, sheet in enumerate(of.signals)]
        traces = [(sheet, self.traces(kind, partition)) for kind, sheet in enumerate(of.traces)]
        used = [number, near, far, ghost]
        used += [sheet.keys[rows] for sheet, rows in signals] + [left_of(sheet.keys[rows]) for sheet, rows in traces]
        listed = distinct(self._ranks[np.concatenate(used)])

        def at(numbers: Array) -> Array:
            return np.searchsorted(listed, self._ranks[numbers]).astype(np.int32)

        names = of.names.names(self._order[listed].tolist())
        sections = [
            _texts(names),
            pack_arrays([at(number), *(of.concepts[column][concepts] for column in CONCEPT)]),
            _texts([of.labels.get(n, b"") for n in number.tolist()] if of.labels else [b""] * len(number)),
            pack_arrays([at(near), at(far), *(of.halves[column][halves] for column in HALF)]),
            pack_arrays([at(ghost), *(of.ghosts[column][ghosts] for column in GHOST)]),
        ]
        sections += [pack_arrays([at(sheet.keys[rows]), sheet["intensity"][rows]]) for sheet, rows in signals]
        for sheet, rows in traces:
            columns = [self._authors(sheet, rows), sheet["intensity"][rows], sheet["left"][rows]]
            sections.append(pack_arrays([at(left_of(sheet.keys[rows])), *columns]))
        return pack_sections(sections)

    # -- rows of a partition, in the order of their names ----------------------------------------------------------

    def concepts(self, partition: int) -> Array:
        """Iterates by key."""
        return self._stretch(self._of.concepts, partition, lambda keys: (keys,))

    def halves(self, partition: int) -> Array:
        """Iterates by near end, then by far end."""
        return self._stretch(self._of.halves, partition, lambda keys: (left_of(keys), self._ranks[right_of(keys)]))

    def ghosts(self, partition: int) -> Array:
        """Iterates by concept."""
        sheet = self._of.ghosts
        found = np.flatnonzero(left_of(sheet.keys) == partition)
        return found[np.argsort(self._ranks[right_of(sheet.keys[found])])]

    def signals(self, kind: int, partition: int) -> Array:
        """Iterates by place."""
        return self._stretch(self._of.signals[kind], partition, lambda keys: (keys,))

    def traces(self, kind: int, partition: int) -> Array:
        """Iterates by place, then by author."""
        sheet = self._of.traces[kind]
        return self._stretch(sheet, partition, lambda keys: (left_of(keys), self._authors(sheet, np.arange(len(keys)))))

    def _stretch(self, sheet: KeyedTable, partition: int, keys_of: Callable[[Array], tuple[Array, ...]]) -> Array:
        """Returns the rows of a partition: all rows are sorted once, by partition, place name and the rest."""
        known = self._sorted.get(id(sheet))
        if known is None:
            numbers, *behind = keys_of(sheet.keys)
            held = self._partitions[numbers]
            order = np.lexsort((*behind, self._ranks[numbers], held))
            known = self._sorted[id(sheet)] = order, held[order]
        order, held = known
        first, last = np.searchsorted(held, [partition, partition + 1])
        return order[first:last]

    def _authors(self, sheet: KeyedTable, rows: Array) -> Array:
        numbers = right_of(sheet.keys[rows])
        return np.array(self._of.authors.ids, np.int64)[numbers] if len(numbers) else numbers


class Restoring:
    """Collects pieces one by one; `finish` builds the substrate from them."""

    def __init__(self, substrate: Substrate) -> None:
        self._of = substrate
        self._pieces: dict[int, list[tuple[Array, dict[str, Array]]]] = {}

    def take(self, partition: int, data: memoryview) -> None:
        """Adds a partition's piece. Raises `ValueError` if it is invalid."""
        of = self._of
        sections = iter(split_sections(data, 5 + len(of.signals) + len(of.traces)))
        numbers = self._names(next(sections))
        at, *columns = split_arrays(next(sections), [np.int32, *[np.int64] * 3])
        mine = self._mine(partition, numbers, at)
        self._add(of.concepts, mine, dict(zip(CONCEPT, columns, strict=True)))
        for number, label in zip(mine.tolist(), _strings(next(sections)), strict=True):
            if label:
                of.labels[number] = label
        near, far, *columns = split_arrays(next(sections), [np.int32, np.int32, np.float64, *[np.int64] * 3])
        columns = [*columns, near < far]  # the names are in order
        keys = pair(self._mine(partition, numbers, near), _taken(numbers, far))
        self._add(of.halves, keys, dict(zip((*HALF, "lesser"), columns, strict=True)))
        self._take_ghosts(partition, numbers, next(sections), keys)
        for sheet in of.signals:
            at, intensity = split_arrays(next(sections), [np.int32, np.float64])
            self._add(sheet, self._mine(partition, numbers, at), {"intensity": intensity})
        for sheet in of.traces:
            dtypes = [np.int32, np.int64, np.float64, np.int64]
            at, author, intensity, left = split_arrays(next(sections), dtypes)
            keys = pair(self._mine(partition, numbers, at), of.authors.numbers(author))
            self._add(sheet, keys, {"intensity": intensity, "left": left})

    def finish(self) -> None:
        """Builds the substrate once all pieces have arrived."""
        for sheet in (self._of.concepts, self._of.halves, self._of.ghosts, *self._of.signals, *self._of.traces):
            pieces = self._pieces.get(id(sheet), [])
            if pieces:
                columns = {name: np.concatenate([each[name] for _, each in pieces]) for name in sheet.columns}
                sheet.put(np.concatenate([keys for keys, _ in pieces]), columns)

    def _take_ghosts(self, partition: int, numbers: Array, section: memoryview, halves: Array) -> None:
        at, *columns = split_arrays(section, [np.int32, *[np.int64] * 4])
        ghosts, far = _taken(numbers, at), right_of(halves)
        count = np.bincount(far, minlength=len(self._of.names))[ghosts]
        columns = [*columns, count]
        self._add(
            self._of.ghosts,
            pair(np.full(len(ghosts), partition), ghosts),
            dict(zip((*GHOST, "halves"), columns, strict=True)),
        )

    def _names(self, section: memoryview) -> Array:
        return self._of.names.numbers(_strings(section))

    def _mine(self, partition: int, numbers: Array, at: Array) -> Array:
        taken = _taken(numbers, at)
        if (self._of.names.partitions[taken] != partition).any():
            raise BadState(f"partition {partition}: a place in its state belongs elsewhere")
        return taken

    def _add(self, sheet: KeyedTable, keys: Array, columns: Mapping[str, Array]) -> None:
        if any(len(column) != len(keys) for column in columns.values()) or len(distinct(keys)) != len(keys):
            raise BadState("rows of a colony's state are not what they should be")
        self._pieces.setdefault(id(sheet), []).append((keys, dict(columns)))


def _taken(numbers: Array, at: Array) -> Array:
    if len(at) and not 0 <= at.min() <= at.max() < len(numbers):
        raise BadState(f"a place that is none of the {len(numbers)} that are named")
    return numbers[at]


def _texts(texts: Sequence[bytes]) -> bytes:
    rows = Ragged.of_bytes(texts)
    return pack_arrays([rows.lengths, rows.values])


def _strings(section: memoryview) -> list[bytes]:
    lengths, values = split_arrays(section, [np.int64, np.uint8])
    if len(lengths) and int(lengths.min()) < 0:
        raise BadState("a length is negative")
    return Ragged.of_lengths(lengths, values).to_bytes()

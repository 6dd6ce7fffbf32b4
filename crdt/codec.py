"""Canonical bytes of this package's types: equal values have equal bytes, on any machine and at any time.

Purpose. Shards send states to each other and store them on disk, and compare, hash and deduplicate them as bytes. So
each value has one encoding, and the decoder accepts nothing else:

    decode(encode(x)) == x                 for every value
    encode(decode(data)) == data           for all bytes that are accepted; the others raise Malformed

Format. One flat MessagePack array (https://github.com/msgpack/msgpack/blob/master/spec.md), shortest forms only:

    [VERSION, tag, field, ...]

    counts     n, then n times: replica, count             ascending by replica, counts from 1
    dots       n, then n times: replica, counter           ascending
    stamp      wall_ns, logical, replica
    value      its frozen form (crdt.values) as bin        empty: no value

    tag 1  GCounter        counts
    tag 2  PNCounter       counts (positive), counts (negative)
    tag 3  VersionVector   counts
    tag 4  DotContext      counts (vector), dots (cloud)
    tag 5  Timestamp       stamp
    tag 6  LWWRegister     stamp, value
    tag 7  LWWMap          n, then n times: key (value), stamp, value      ascending by the key's bytes
    tag 8  ORSet           counts (vector), dots (cloud), n, then n times: element (value), dots

Why flat: a short message of nested arrays can cost a reader much memory before it is refused (crdt.values), and a flat
one needs no matching by depth. To accept nothing else, decode builds the value through its checking constructor,
encodes it again and compares the bytes. This doubles the cost of decoding, but "canonical" has only one definition.

A change of the format needs a new VERSION; the tests pin the bytes of this one.

>>> from crdt.counters import GCounter
>>> encode(GCounter({"a": 3})).hex()
'95010101a16103'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

from crdt.clocks import Dot, DotContext, Timestamp, VersionVector
from crdt.counters import GCounter, PNCounter
from crdt.maps import LWWMap
from crdt.registers import CLEARED, LWWRegister
from crdt.sets import ORSet
from crdt.values import Malformed, pack, thaw_strictly, unpack_flat

__all__ = ["BYTES_MAX", "VERSION", "Encodable", "Malformed", "decode", "encode"]

Encodable: TypeAlias = GCounter | PNCounter | VersionVector | DotContext | Timestamp | LWWRegister | LWWMap | ORSet
E = TypeVar("E", bound=Encodable)

VERSION = 1
BYTES_MAX = 2**20
"""The default limit of decode: one mebibyte, some ten thousand elements, which is a large state here."""


def encode(value: Encodable) -> bytes:
    """Returns the canonical bytes of `value`.

    >>> encode(VersionVector({"b": 1, "a": 2})) == encode(VersionVector({"a": 2}).merge(VersionVector({"b": 1})))
    True
    """
    try:
        tag, write = WRITERS[type(value)]
    except KeyError:
        raise TypeError(f"{type(value).__name__} has no encoding") from None
    return pack([VERSION, tag, *write(value)])


@overload
def decode(data: bytes, expect: type[E], bytes_max: int = BYTES_MAX) -> E: ...
@overload
def decode(data: bytes, expect: None = None, bytes_max: int = BYTES_MAX) -> Encodable: ...
def decode(data: bytes, expect: type[Any] | None = None, bytes_max: int = BYTES_MAX) -> Any:
    """Returns the value of `data`, of type `expect` if given. Raises Malformed for bytes that `encode` would not write.

    >>> decode(encode(Timestamp(1, 2, "a")), expect=Timestamp)
    Timestamp(wall_ns=1, logical=2, replica='a')
    >>> decode(b"anything")
    Traceback (most recent call last):
    crdt.values.Malformed: not an array
    """
    if len(data) > bytes_max:
        raise Malformed(f"{len(data)} bytes, of at most {bytes_max}")
    fields = _Fields(unpack_flat(data))
    version, tag = fields.integer(), fields.integer()
    if version != VERSION:
        raise Malformed(f"version {version}, not {VERSION}")
    if tag not in READERS:
        raise Malformed(f"unknown type tag {tag}")
    kind, read = READERS[tag]
    if expect is not None and kind is not expect:
        raise Malformed(f"a {kind.__name__}, where a {expect.__name__} was expected")
    try:
        value = read(fields)
    except Malformed:
        raise
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from error
    if encode(value) != data:
        raise Malformed(f"a {kind.__name__} that is not in its canonical form")
    return value


# Writing: each function returns the fields behind the tag. Values keep their parts sorted; only sets of dots need
# sorting here.


def _counts(entries: Mapping[str, int]) -> list[Any]:
    fields: list[Any] = [len(entries)]
    for entry in entries.items():
        fields += entry
    return fields


def _dots(dots: Iterable[Dot]) -> list[Any]:
    pairs = sorted((dot.replica, dot.counter) for dot in dots)
    return [len(pairs), *(part for pair in pairs for part in pair)]


def _stamp(stamp: Timestamp) -> list[Any]:
    return [stamp.wall_ns, stamp.logical, stamp.replica]


def _pn_counter(value: PNCounter) -> list[Any]:
    return _counts(value.positive.entries) + _counts(value.negative.entries)


def _context(value: DotContext) -> list[Any]:
    return _counts(value.vector.entries) + _dots(value.cloud)


def _register(value: LWWRegister) -> list[Any]:
    return [*_stamp(value.stamp), value.frozen]


def _map(value: LWWMap) -> list[Any]:
    fields: list[Any] = [len(value.cells)]
    for key, cell in value.cells.items():
        fields += [key, *_register(cell)]
    return fields


def _set(value: ORSet) -> list[Any]:
    fields: list[Any] = [*_context(value.context), len(value.entries)]
    for element, dots in value.entries.items():
        fields += [element, *_dots(dots)]
    return fields


# Reading: the mirror image. Encoding the result again detects fields that are out of order, duplicate or left over.


class _Fields:
    """Takes the fields of a message one by one. Raises Malformed if the next is missing or has another type."""

    def __init__(self, items: list[Any]) -> None:
        self._items = iter(items)

    def _take(self, kind: type) -> Any:
        item = next(self._items, self)
        if type(item) is not kind:
            found = "nothing" if item is self else f"a {type(item).__name__}"
            raise Malformed(f"{found}, where a {kind.__name__} was expected")
        return item

    def integer(self) -> int:
        result: int = self._take(int)
        return result

    def text(self) -> str:
        result: str = self._take(str)
        return result

    def frozen(self) -> bytes:
        """Takes the bytes of a frozen value."""
        result: bytes = self._take(bytes)
        thaw_strictly(result)
        return result

    def frozen_or_cleared(self) -> bytes:
        result: bytes = self._take(bytes)
        if result != CLEARED:
            thaw_strictly(result)
        return result

    def times(self) -> range:
        """Takes a count n, and returns range(n). An absurd count fails at the first missing field."""
        return range(self.integer())

    def counts(self) -> dict[str, int]:
        return {self.text(): self.integer() for _ in self.times()}

    def dots(self) -> frozenset[Dot]:
        return frozenset([Dot(self.text(), self.integer()) for _ in self.times()])

    def stamp(self) -> Timestamp:
        return Timestamp(self.integer(), self.integer(), self.text())

    def pn_counter(self) -> PNCounter:
        return PNCounter(GCounter(self.counts()), GCounter(self.counts()))

    def context(self) -> DotContext:
        return DotContext(VersionVector(self.counts()), self.dots())

    def register(self) -> LWWRegister:
        return LWWRegister(self.stamp(), self.frozen_or_cleared())

    def map(self) -> LWWMap:
        return LWWMap({self.frozen(): self.register() for _ in self.times()})

    def set(self) -> ORSet:
        context = self.context()
        return ORSet({self.frozen(): self.dots() for _ in self.times()}, context)


WRITERS: dict[type, tuple[int, Callable[[Any], list[Any]]]] = {
    GCounter: (1, lambda value: _counts(value.entries)),
    PNCounter: (2, _pn_counter),
    VersionVector: (3, lambda value: _counts(value.entries)),
    DotContext: (4, _context),
    Timestamp: (5, _stamp),
    LWWRegister: (6, _register),
    LWWMap: (7, _map),
    ORSet: (8, _set),
}

READERS: dict[int, tuple[type[Encodable], Callable[[_Fields], Encodable]]] = {
    1: (GCounter, lambda fields: GCounter(fields.counts())),
    2: (PNCounter, _Fields.pn_counter),
    3: (VersionVector, lambda fields: VersionVector(fields.counts())),
    4: (DotContext, _Fields.context),
    5: (Timestamp, _Fields.stamp),
    6: (LWWRegister, _Fields.register),
    7: (LWWMap, _Fields.map),
    8: (ORSet, _Fields.set),
}

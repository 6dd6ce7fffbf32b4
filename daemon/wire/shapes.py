"""How values of each field type travel: a `Shape` for each.

What a field may be: int, bool, float, str, bytes, None, IntEnum, StrEnum, Literal, `tuple[X, ...]`, `tuple[X, Y]`,
`frozenset[X]`, a frozen dataclass, and unions of those. On the wire (msgpack):

    int bool float str bytes None    themselves; ints within the range that is declared (`api/ranges`); a bool is
                                     no int
    IntEnum StrEnum Literal          their value
    tuple                            an array
    frozenset                        a sorted array without repeats: same content, same bytes
    dataclass                        an array of its fields, in order (`records`)
    union                            the member itself; of several dataclasses: [position in the union, fields]

A float field takes an int too, as Python's typing does. Lengths need no check here: the codec bounds every string and
array as it unpacks.

The unpackers raise `Rejected` and nothing else. The packers trust the types of their argument, which is our own, and
not its values: a number that a peer would refuse raises `Rejected`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from operator import attrgetter
from typing import Any

from daemon.wire.rejected import Reason, Rejected
from shoal.api.ranges import Within

Pack = Callable[[Any], Any]
Unpack = Callable[[Any], Any]

SCALARS = (int, bool, float, str, bytes)


class Unsupported(TypeError):
    """A message class that the codec cannot carry: a mistake in its definition."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How values of one type travel.

    `exact` is the type of what msgpack delivers in the usual case; `settled` says that a value of that type needs no
    other look. Both only speed up records of plain fields: `unpack` alone is always right. `within` is there for a
    number whose type and range are all that there is to look at: those of a record are looked at together.
    """

    pack: Pack | None  # None: the value goes as it is
    unpack: Unpack
    exact: type
    settled: bool
    within: Within | None = None


def refuse(expected: str, value: object) -> Rejected:
    return Rejected(Reason.MALFORMED, f"expected {expected}, got {type(value).__name__}")


def number(within: Within) -> Shape:
    least, most = within.least, within.most

    def unpack(value: Any) -> Any:
        if type(value) is not int:
            raise refuse("int", value)
        if not least <= value <= most:
            raise out_of_range(value, within)
        return value

    def pack(value: Any) -> Any:
        if not least <= value <= most:
            raise out_of_range(value, within)
        return value

    return Shape(pack, unpack, int, False, within)


def out_of_range(value: int, within: Within) -> Rejected:
    return Rejected(Reason.RANGE, f"a number of {value.bit_length()} bits is not from {within.least} to {within.most}")


def scalar(kind: type) -> Shape:
    def unpack(value: Any) -> Any:
        if type(value) is not kind:
            raise refuse(kind.__name__, value)
        return value

    def unpack_float(value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) is int:
            return float(value)
        raise refuse("float", value)

    return Shape(None, unpack_float if kind is float else unpack, kind, True)


def _unpack_none(value: Any) -> None:
    if value is not None:
        raise refuse("nothing", value)


def _unpack_frames(value: Any) -> Any:
    if type(value) is not tuple:  # the codec has put the frames in place of their lengths
        raise refuse("frames", value)
    return value


NONE = Shape(None, _unpack_none, type(None), True)
FRAMES = Shape(None, _unpack_frames, tuple, True)


def enum(kind: type[IntEnum] | type[StrEnum]) -> Shape:
    members = {member.value: member for member in kind}
    exact = int if issubclass(kind, IntEnum) else str

    def unpack(value: Any) -> Any:
        if type(value) is not exact or value not in members:
            raise refuse(kind.__name__, value)
        return members[value]

    return Shape(attrgetter("value"), unpack, exact, False)


def literal(values: tuple[Any, ...], where: str) -> Shape:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {int, str, bytes, bool}:
        raise Unsupported(f"{where}: a Literal of one plain type, please")
    exact = kinds.pop()

    def unpack(value: Any) -> Any:
        if type(value) is not exact or value not in values:
            raise refuse(f"one of {values}", value)
        return value

    return Shape(None, unpack, exact, False)


def sequence(item: Shape) -> Shape:
    pack_item, unpack_item = item.pack, item.unpack
    plain = {item.exact} if item.settled or item.within else set()

    def unpack(value: Any) -> Any:
        if type(value) is not list:
            raise refuse("an array", value)
        if plain.issuperset(map(type, value)):
            return tuple(value if item.within is None else _all_within(value, item.within))
        return tuple([unpack_item(one) for one in value])

    def pack(value: Any) -> Any:
        assert pack_item is not None
        return [pack_item(one) for one in value] if item.within is None else _all_within(value, item.within)

    return Shape(None if pack_item is None else pack, unpack, list, False)


def _all_within(values: Sequence[int], within: Within) -> Sequence[int]:
    for one in (min(values), max(values)) if values else ():
        if not within.least <= one <= within.most:
            raise out_of_range(one, within)
    return values


def fixed(items: list[Shape]) -> Shape:
    packs = [item.pack for item in items]
    unpacks = [item.unpack for item in items]

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != len(unpacks):
            raise refuse(f"an array of {len(unpacks)}", value)
        return tuple([one(part) for one, part in zip(unpacks, value, strict=True)])

    def pack(value: Any) -> Any:
        return [part if one is None else one(part) for one, part in zip(packs, value, strict=True)]

    return Shape(None if not any(packs) else pack, unpack, list, False)


def frozen_set(item: Shape) -> Shape:
    members_of = sequence(item)

    def unpack(value: Any) -> Any:
        members = members_of.unpack(value)
        try:
            ascending = all(one < other for one, other in pairwise(members))
        except TypeError:
            ascending = False
        if not ascending:
            raise Rejected(Reason.MALFORMED, "a set that is not sorted, or repeats a member")
        return frozenset(members)

    def pack(value: Any) -> Any:
        members = sorted(value)
        return members if members_of.pack is None else members_of.pack(members)

    return Shape(pack, unpack, list, False)


def tagged(classes: list[type], records: list[tuple[Pack, Unpack]]) -> Shape:
    position = {cls: number for number, cls in enumerate(classes)}
    packs, unpacks = [pack for pack, _ in records], [unpack for _, unpack in records]

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != 2:
            raise refuse("a tagged part", value)
        tag, body = value
        if type(tag) is not int or tag < 0:
            raise Rejected(Reason.MALFORMED, f"no part has the tag {tag!r:.40}")
        if tag >= len(records):
            raise Rejected(Reason.UNKNOWN_TYPE, f"no part has the tag {tag!r:.40}")
        return unpacks[tag](body)

    def pack(value: Any) -> Any:
        tag = position[type(value)]
        return [tag, packs[tag](value)]

    return Shape(pack, unpack, list, False)


def either(by_type: dict[type, Shape]) -> Shape:
    if float in by_type and int not in by_type:
        by_type[int] = by_type[float]

    def unpack(value: Any) -> Any:
        shape = by_type.get(type(value))
        if shape is None:
            raise refuse(" or ".join(sorted(kind.__name__ for kind in by_type)), value)
        return shape.unpack(value)

    def pack(value: Any) -> Any:
        shape = by_type.get(_wire_type(value))
        assert shape is not None, f"{value!r} is not one of {sorted(kind.__name__ for kind in by_type)}"
        return value if shape.pack is None else shape.pack(value)

    settled = [shape for kind, shape in by_type.items() if shape.settled and kind is not type(None)]
    packs = pack if any(shape.pack is not None for shape in by_type.values()) else None
    if settled:
        return Shape(packs, unpack, settled[0].exact, True)
    return Shape(packs, unpack, next(kind for kind in by_type if kind is not type(None)), False)


def _wire_type(value: object) -> type:
    """Returns the type under which a value of one of our types arrives at the peer."""
    if isinstance(value, IntEnum):
        return int
    if isinstance(value, StrEnum):
        return str
    if isinstance(value, (tuple, frozenset)) or is_dataclass(value):
        return list
    return type(value)

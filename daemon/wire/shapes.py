"""From type hints to checkers: each field type becomes a `Shape`, compiled once a class.

What a field may be: int, bool, float, str, bytes, None, IntEnum, StrEnum, Literal, `tuple[X, ...]`, `tuple[X, Y]`,
`frozenset[X]`, a frozen dataclass, and unions of those. On the wire (msgpack):

    int bool float str bytes None    themselves; ints within the range that is declared (`api/ranges`); a bool is
                                     no int
    IntEnum StrEnum Literal          their value
    tuple                            an array
    frozenset                        a sorted array without repeats: same content, same bytes
    dataclass                        an array of its fields, in order
    union                            the member itself; of several dataclasses: [position in the union, fields]

A float field takes an int too, as Python's typing does. Lengths need no check here: the codec bounds every string and
array as it unpacks. A type that has no shape is a programming error and raises `Unsupported` when the codec is made,
never when a message arrives.

The unpackers raise `Rejected` and nothing else. The packers trust the types of their argument, which is our own, and
not its values: a number that a peer would refuse raises `Rejected`, too.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from daemon.wire.rejected import Reason, Rejected
from shoal.api.ranges import ANY, Within
from shoal.lockstep.frames import Frames

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


@dataclass(frozen=True, slots=True)
class Record:
    """How a message class travels: `pack` gives the list of fields, `unpack` takes it; frames are left to the codec."""

    pack: Callable[[Any], Sequence[Any]]
    unpack: Unpack
    frames: bool  # the last field is `Frames`


def record_of(cls: type) -> Record:
    """The compiled record of a top-level message class."""
    return _Compiler().record(cls, frames_allowed=True)


class _Compiler:
    """One compilation; remembers the dataclasses that it is inside of, to refuse recursive ones."""

    def __init__(self) -> None:
        self._inside: list[type] = []

    def record(self, cls: type, *, frames_allowed: bool = False) -> Record:
        if not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise Unsupported(f"{cls!r} is not a frozen dataclass")
        if cls in self._inside:
            raise Unsupported(f"{cls.__qualname__} contains itself")
        self._inside.append(cls)
        hints = get_type_hints(cls, include_extras=True)
        shapes: list[Shape] = []
        carries_frames = False
        for field in fields(cls):
            where = f"{cls.__qualname__}.{field.name}"
            if not field.init or field.kw_only:
                raise Unsupported(f"{where}: a field must be a positional argument of the constructor")
            if carries_frames:
                raise Unsupported(f"{where}: Frames must be the last field, and the only one")
            if hints[field.name] == Frames:
                if not frames_allowed:
                    raise Unsupported(f"{where}: Frames only in a message itself, not in a part of it")
                carries_frames = True
                shapes.append(_FRAMES)
            else:
                shapes.append(self.shape(hints[field.name], where))
        self._inside.pop()
        names = [field.name for field in fields(cls)]
        return Record(_packer(names, shapes), _unpacker(cls, shapes), carries_frames)

    def shape(self, hint: Any, where: str) -> Shape:
        origin = get_origin(hint)
        if isinstance(hint, NewType):
            return self.shape(hint.__supertype__, where)
        if origin is Annotated:
            return self._annotated(*get_args(hint), where=where)
        if hint is int:
            return _number(ANY)
        if hint in SCALARS:
            return _scalar(hint)
        if hint is None or hint is type(None):
            return _NONE
        if isinstance(hint, type) and issubclass(hint, (IntEnum, StrEnum)):
            return _enum(hint)
        if origin is Literal:
            return _literal(get_args(hint), where)
        if origin in (Union, types.UnionType):
            return self._union(get_args(hint), where)
        if origin is tuple:
            return self._tuple(get_args(hint), where)
        if origin is frozenset:
            return _frozenset(self.shape(get_args(hint)[0], where))
        if isinstance(hint, type) and is_dataclass(hint):
            record = self.record(hint)
            return Shape(record.pack, record.unpack, list, False)
        raise Unsupported(f"{where}: no way to carry {hint!r}")

    def _annotated(self, hint: Any, *extras: Any, where: str) -> Shape:
        """Of a number its range; other annotations mean nothing here."""
        ranges = [extra for extra in extras if isinstance(extra, Within)]
        if ranges and hint is not int:
            raise Unsupported(f"{where}: only an int has a range")
        return _number(ranges[0]) if ranges else self.shape(hint, where)

    def _tuple(self, args: tuple[Any, ...], where: str) -> Shape:
        if len(args) == 2 and args[1] is Ellipsis:
            return _sequence(self.shape(args[0], where))
        return _fixed([self.shape(arg, where) for arg in args])

    def _union(self, args: tuple[Any, ...], where: str) -> Shape:
        records = [arg for arg in args if isinstance(arg, type) and is_dataclass(arg)]
        others = [self.shape(arg, where) for arg in args if arg not in records]
        if len(records) > 1:
            others.append(_tagged(records, [self.record(cls) for cls in records]))
        elif records:
            others.append(self.shape(records[0], where))
        by_type = {shape.exact: shape for shape in others}
        if len(by_type) != len(others):
            raise Unsupported(f"{where}: two members of the union look the same on the wire")
        return _either(by_type)


def _refuse(expected: str, value: object) -> Rejected:
    return Rejected(Reason.MALFORMED, f"expected {expected}, got {type(value).__name__}")


def _wrong_fields(cls: type, count: int, value: object) -> Rejected:
    """A later version adds fields at the end; this one never takes some and drops the others."""
    if type(value) is not list:
        return _refuse(f"{count} fields of {cls.__name__}", value)
    reason = Reason.FIELDS if len(value) > count else Reason.MALFORMED
    return Rejected(reason, f"{len(value)} fields of {cls.__name__}, this version has {count}")


def _number(within: Within) -> Shape:
    least, most = within.least, within.most

    def unpack(value: Any) -> Any:
        if type(value) is not int:
            raise _refuse("int", value)
        if not least <= value <= most:
            raise _out_of_range(value, within)
        return value

    def pack(value: Any) -> Any:
        if not least <= value <= most:
            raise _out_of_range(value, within)
        return value

    return Shape(pack, unpack, int, False, within)


def _out_of_range(value: int, within: Within) -> Rejected:
    return Rejected(Reason.RANGE, f"a number of {value.bit_length()} bits is not from {within.least} to {within.most}")


def _scalar(kind: type) -> Shape:
    def unpack(value: Any) -> Any:
        if type(value) is not kind:
            raise _refuse(kind.__name__, value)
        return value

    def unpack_float(value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) is int:
            return float(value)
        raise _refuse("float", value)

    return Shape(None, unpack_float if kind is float else unpack, kind, True)


def _unpack_none(value: Any) -> None:
    if value is not None:
        raise _refuse("nothing", value)


def _unpack_frames(value: Any) -> Any:
    if type(value) is not tuple:  # the codec has put the frames in place of their lengths
        raise _refuse("frames", value)
    return value


_NONE = Shape(None, _unpack_none, type(None), True)
_FRAMES = Shape(None, _unpack_frames, tuple, True)


def _enum(kind: type[IntEnum] | type[StrEnum]) -> Shape:
    members = {member.value: member for member in kind}
    exact = int if issubclass(kind, IntEnum) else str

    def unpack(value: Any) -> Any:
        if type(value) is not exact or value not in members:
            raise _refuse(kind.__name__, value)
        return members[value]

    return Shape(attrgetter("value"), unpack, exact, False)


def _literal(values: tuple[Any, ...], where: str) -> Shape:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {int, str, bytes, bool}:
        raise Unsupported(f"{where}: a Literal of one plain type, please")
    exact = kinds.pop()

    def unpack(value: Any) -> Any:
        if type(value) is not exact or value not in values:
            raise _refuse(f"one of {values}", value)
        return value

    return Shape(None, unpack, exact, False)


def _sequence(item: Shape) -> Shape:
    pack_item, unpack_item = item.pack, item.unpack
    plain = {item.exact} if item.settled or item.within else set()

    def unpack(value: Any) -> Any:
        if type(value) is not list:
            raise _refuse("an array", value)
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
            raise _out_of_range(one, within)
    return values


def _fixed(items: list[Shape]) -> Shape:
    packs = [item.pack for item in items]
    unpacks = [item.unpack for item in items]

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != len(unpacks):
            raise _refuse(f"an array of {len(unpacks)}", value)
        return tuple([one(part) for one, part in zip(unpacks, value, strict=True)])

    def pack(value: Any) -> Any:
        return [part if one is None else one(part) for one, part in zip(packs, value, strict=True)]

    return Shape(None if not any(packs) else pack, unpack, list, False)


def _frozenset(item: Shape) -> Shape:
    sequence = _sequence(item)

    def unpack(value: Any) -> Any:
        members = sequence.unpack(value)
        try:
            ascending = all(one < other for one, other in pairwise(members))
        except TypeError:
            ascending = False
        if not ascending:
            raise Rejected(Reason.MALFORMED, "a set that is not sorted, or repeats a member")
        return frozenset(members)

    def pack(value: Any) -> Any:
        members = sorted(value)
        return members if sequence.pack is None else sequence.pack(members)

    return Shape(pack, unpack, list, False)


def _tagged(classes: list[type], records: list[Record]) -> Shape:
    position = {cls: number for number, cls in enumerate(classes)}

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != 2:
            raise _refuse("a tagged part", value)
        tag, body = value
        if type(tag) is not int or tag < 0:
            raise Rejected(Reason.MALFORMED, f"no part has the tag {tag!r:.40}")
        if tag >= len(records):
            raise Rejected(Reason.UNKNOWN_TYPE, f"no part has the tag {tag!r:.40}")
        return records[tag].unpack(body)

    def pack(value: Any) -> Any:
        tag = position[type(value)]
        return [tag, records[tag].pack(value)]

    return Shape(pack, unpack, list, False)


def _either(by_type: dict[type, Shape]) -> Shape:
    if float in by_type and int not in by_type:
        by_type[int] = by_type[float]

    def unpack(value: Any) -> Any:
        shape = by_type.get(type(value))
        if shape is None:
            raise _refuse(" or ".join(sorted(kind.__name__ for kind in by_type)), value)
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
    """The type under which a value of our own arrives at the peer."""
    if isinstance(value, IntEnum):
        return int
    if isinstance(value, StrEnum):
        return str
    if isinstance(value, (tuple, frozenset)) or is_dataclass(value):
        return list
    return type(value)


def _packer(names: list[str], shapes: list[Shape]) -> Callable[[Any], Sequence[Any]]:
    """Fields in order; `attrgetter` fetches all of them in one call of C."""
    get: Callable[[Any], tuple[Any, ...]]
    if not names:
        return lambda message: ()
    if len(names) == 1:
        name = names[0]

        def get(message: Any) -> tuple[Any, ...]:
            return (getattr(message, name),)
    else:
        get = attrgetter(*names)
    check = _numbers(shapes)
    packs = [
        (place, shape.pack) for place, shape in enumerate(shapes) if shape.pack is not None and shape.within is None
    ]

    def pack(message: Any) -> Sequence[Any]:
        values = get(message)
        if check is not None:
            check(values)
        if not packs:
            return values
        packed = list(values)
        for place, one in packs:
            packed[place] = one(packed[place])
        return packed

    return pack


def _numbers(shapes: list[Shape]) -> Callable[[Sequence[Any]], None] | None:
    """What checks all numbers of a record's values. Mostly one look at the least and the greatest of them is enough: it
    costs a quarter of a microsecond, and each number on its own would cost a twentieth.
    """
    ranges = [(place, shape.within) for place, shape in enumerate(shapes) if shape.within is not None]
    if not ranges:
        return None
    low, high = max(within.least for _, within in ranges), min(within.most for _, within in ranges)

    def check_each(values: Sequence[Any]) -> None:
        for place, within in ranges:
            if not within.least <= values[place] <= within.most:
                raise _out_of_range(values[place], within)

    if len(ranges) < 3:
        return check_each
    pick = itemgetter(*(place for place, _ in ranges))

    def check(values: Sequence[Any]) -> None:
        numbers = pick(values)
        if min(numbers) < low or max(numbers) > high:
            check_each(values)

    return check


def _unpacker(cls: type, shapes: list[Shape]) -> Unpack:
    """Check every field, then construct.

    The types of all fields are compared in one step; only fields whose type alone does not settle them, or all of
    them when that comparison fails (a None, an int for a float, nonsense), are looked at one by one.
    """
    count = len(shapes)
    usual = tuple(shape.exact for shape in shapes)
    every = [(place, shape.unpack) for place, shape in enumerate(shapes)]
    open_ones = [
        (place, shape.unpack) for place, shape in enumerate(shapes) if not shape.settled and shape.within is None
    ]
    check = _numbers(shapes)

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != count:
            raise _wrong_fields(cls, count, value)
        is_usual = tuple(map(type, value)) == usual
        if is_usual and check is not None:
            check(value)
        for place, one in open_ones if is_usual else every:
            value[place] = one(value[place])
        try:
            return cls(*value)
        except (ValueError, TypeError, ArithmeticError, AssertionError) as error:  # from its own __post_init__
            raise Rejected(Reason.MALFORMED, f"{cls.__name__}: {error}") from error

    return unpack

"""From type hints to records: each message class is compiled once, for a cluster version.

A record is packed without the fields that are `since` a later version (`api/since`), and unpacked from any: fields that
are missing at its end get their defaults, and a record with more fields than are known here is a later version's, and
refused. A type that can't travel is a programming error and raises `Unsupported` when the codec is made, never when a
message arrives.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import IntEnum, StrEnum
from functools import cache
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from daemon.wire import shapes as shape
from daemon.wire.rejected import Reason, Rejected
from daemon.wire.shapes import SCALARS, Pack, Shape, Unpack, Unsupported
from daemon.wire.version import FIRST
from shoal.api.ranges import ANY, Within
from shoal.api.since import ADVISORY, SINCE
from shoal.lockstep.frames import Frames


@dataclass(frozen=True, slots=True)
class Record:
    """How a message class travels: `pack` gives the list of fields, `unpack` takes it; frames are left to the codec."""

    pack: Callable[[Any], Sequence[Any]]
    unpack: Unpack
    frames: int | None
    """The place of the `Frames` field."""
    version: int
    """The lowest version that reads what `pack` gives."""


@cache
def record_of(cls: type, version: int) -> Record:
    """The compiled record of a top-level message class, to be packed for a cluster of this version.

    It keeps nothing, so all codecs of a process share it: compiling takes half a millisecond a class.
    """
    compiler = _Compiler(version)
    pack, unpack, frames = compiler.record(cls, frames_allowed=True)
    return Record(pack, unpack, frames, compiler.newest)


class _Compiler:
    """One compilation; remembers the dataclasses that it is inside of, to refuse recursive ones, and the version of the
    newest thing that is packed.
    """

    def __init__(self, version: int) -> None:
        self.newest = FIRST
        self._version = version
        self._inside: list[type] = []

    def record(self, cls: type, *, frames_allowed: bool = False) -> tuple[Pack, Unpack, int | None]:
        if not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise Unsupported(f"{cls!r} is not a frozen dataclass")
        if cls in self._inside:
            raise Unsupported(f"{cls.__qualname__} contains itself")
        self._inside.append(cls)
        hints = get_type_hints(cls, include_extras=True)
        declared = fields(cls)
        shapes: list[Shape] = []
        frames: int | None = None
        for place, field in enumerate(declared):
            where = f"{cls.__qualname__}.{field.name}"
            if not field.init or field.kw_only:
                raise Unsupported(f"{where}: a field must be a positional argument of the constructor")
            if frames is not None and not _since(field):
                raise Unsupported(f"{where}: Frames must be the last field, but for later versions', and the only one")
            if hints[field.name] == Frames:
                if not frames_allowed or _since(field):
                    raise Unsupported(f"{where}: Frames only in a message itself, not in a part of it, from the first")
                frames = place
                shapes.append(shape.FRAMES)
            else:
                shapes.append(self._shape_since(_since(field), hints[field.name], where))
        self._inside.pop()
        least = _least(cls, declared)
        return self._packer(cls, shapes), _unpacker(cls, shapes, least), frames

    def _shape_since(self, version: int, hint: Any, where: str) -> Shape:
        """What is not packed does not count for the version of what is."""
        newest = self.newest
        found = self.shape(hint, where)
        self.newest = newest if version > self._version else max(self.newest, version)
        return found

    def _packer(self, cls: type, shapes: list[Shape]) -> Pack:
        since = _class_since(cls)
        if since > self._version:
            return _refuser(cls.__qualname__, since, self._version)
        self.newest = max(self.newest, since)
        declared = fields(cls)
        written = [field.name for field in declared if _since(field) <= self._version]
        pack = _packer(written, shapes[: len(written)])
        unwritten = [field for field in declared[len(written) :] if not field.metadata[ADVISORY]]
        return _only_defaults(pack, cls.__qualname__, unwritten, self._version) if unwritten else pack

    def shape(self, hint: Any, where: str) -> Shape:
        origin = get_origin(hint)
        if isinstance(hint, NewType):
            return self.shape(hint.__supertype__, where)
        if origin is Annotated:
            return self._annotated(*get_args(hint), where=where)
        if hint is int:
            return shape.number(ANY)
        if hint in SCALARS:
            return shape.scalar(hint)
        if hint is None or hint is type(None):
            return shape.NONE
        if isinstance(hint, type) and issubclass(hint, (IntEnum, StrEnum)):
            return shape.enum(hint)
        if origin is Literal:
            return shape.literal(get_args(hint), where)
        if origin in (Union, types.UnionType):
            return self._union(get_args(hint), where)
        if origin is tuple:
            return self._tuple(get_args(hint), where)
        if origin is frozenset:
            return shape.frozen_set(self.shape(get_args(hint)[0], where))
        if isinstance(hint, type) and is_dataclass(hint):
            pack, unpack, _ = self.record(hint)
            return Shape(pack, unpack, list, False)
        raise Unsupported(f"{where}: no way to carry {hint!r}")

    def _annotated(self, hint: Any, *extras: Any, where: str) -> Shape:
        """Of a number its range; other annotations mean nothing here."""
        ranges = [extra for extra in extras if isinstance(extra, Within)]
        if ranges and hint is not int:
            raise Unsupported(f"{where}: only an int has a range")
        return shape.number(ranges[0]) if ranges else self.shape(hint, where)

    def _tuple(self, args: tuple[Any, ...], where: str) -> Shape:
        if len(args) == 2 and args[1] is Ellipsis:
            return shape.sequence(self.shape(args[0], where))
        return shape.fixed([self.shape(arg, where) for arg in args])

    def _union(self, args: tuple[Any, ...], where: str) -> Shape:
        records = [arg for arg in args if isinstance(arg, type) and is_dataclass(arg)]
        others = [self.shape(arg, where) for arg in args if arg not in records]
        if len(records) > 1:
            if [_class_since(cls) for cls in records] != sorted(map(_class_since, records)):
                raise Unsupported(f"{where}: what a later version adds to a union comes last in it")
            if _class_since(records[1]) > FIRST:
                raise Unsupported(f"{where}: a union of one dataclass can't get a second one: it has no tags yet")
            others.append(shape.tagged(records, [self.record(cls)[:2] for cls in records]))
        elif records:
            others.append(self.shape(records[0], where))
        by_type = {one.exact: one for one in others}
        if len(by_type) != len(others):
            raise Unsupported(f"{where}: two members of the union look the same on the wire")
        return shape.either(by_type)


def _since(field: Field[Any]) -> int:
    """The version that brought a field; 0 for one that was there from the first."""
    version: int = field.metadata.get(SINCE, 0)
    return version


def _class_since(cls: type) -> int:
    version: int = getattr(cls, "SINCE", FIRST)
    return version


def _least(cls: type, declared: Sequence[Field[Any]]) -> int:
    """How many fields a record has at least: those that were there from the first."""
    versions = [_since(field) for field in declared]
    if versions != sorted(versions):
        raise Unsupported(f"{cls.__qualname__}: what a later version adds comes behind what there is")
    for field in declared:
        if _since(field) and field.default is MISSING and field.default_factory is MISSING:
            raise Unsupported(f"{cls.__qualname__}.{field.name}: a field of a later version needs a default")
        if 0 < _since(field) <= FIRST:
            raise Unsupported(f"{cls.__qualname__}.{field.name}: every version knows what is since {FIRST}")
    return versions.count(0)


def _too_new(what: str, since: int, version: int) -> Rejected:
    return Rejected(
        Reason.VERSION,
        f"{what} can be said from cluster version {since} on, and the cluster is at {version}: it is raised by itself"
        " once all members run a Shoal that reads it",
    )


def _refuser(what: str, since: int, version: int) -> Pack:
    def pack(_: Any) -> Any:
        raise _too_new(what, since, version)

    return pack


def _only_defaults(pack: Pack, of: str, unwritten: Sequence[Field[Any]], version: int) -> Pack:
    """Packs a record without these fields, as long as that says the same."""

    defaults = [(field, _default(field)) for field in unwritten]

    def pack_older(record: Any) -> Any:
        for field, default in defaults:
            if getattr(record, field.name) != default:
                raise _too_new(f"{of}.{field.name}", _since(field), version)
        return pack(record)

    return pack_older


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _wrong_fields(cls: type, count: int, value: object) -> Rejected:
    """A later version adds fields at the end; this one never takes some and drops the others."""
    if type(value) is not list:
        return shape.refuse(f"{count} fields of {cls.__name__}", value)
    reason = Reason.FIELDS if len(value) > count else Reason.MALFORMED
    return Rejected(reason, f"{len(value)} fields of {cls.__name__}, this version has {count}")


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
    packs = [(place, one.pack) for place, one in enumerate(shapes) if one.pack is not None and one.within is None]

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
    ranges = [(place, one.within) for place, one in enumerate(shapes) if one.within is not None]
    if not ranges:
        return None
    low, high = max(within.least for _, within in ranges), min(within.most for _, within in ranges)

    def check_each(values: Sequence[Any]) -> None:
        for place, within in ranges:
            if not within.least <= values[place] <= within.most:
                raise shape.out_of_range(values[place], within)

    if len(ranges) < 3:
        return check_each
    pick = itemgetter(*(place for place, _ in ranges))

    def check(values: Sequence[Any]) -> None:
        numbers = pick(values)
        if min(numbers) < low or max(numbers) > high:
            check_each(values)

    return check


def _unpacker(cls: type, shapes: list[Shape], least: int) -> Unpack:
    """Check every field, then construct; fields behind the `least` may be missing.

    The types of all fields are compared in one step; only fields whose type alone does not settle them, or all of
    them when that comparison fails (a None, an int for a float, nonsense), are looked at one by one.
    """
    count = len(shapes)
    usual = tuple(one.exact for one in shapes)
    every = [(place, one.unpack) for place, one in enumerate(shapes)]
    open_ones = [(place, one.unpack) for place, one in enumerate(shapes) if not one.settled and one.within is None]
    check = _numbers(shapes)

    def unpack(value: Any) -> Any:
        if type(value) is not list or len(value) != count:
            if type(value) is not list or not least <= len(value) < count:
                raise _wrong_fields(cls, count, value)
            value = [one(part) for (_, one), part in zip(every, value, strict=False)]
        else:
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

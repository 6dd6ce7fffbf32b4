"""What msgspec can't check about messages: versions, frames, and which classes may travel at all.

A struct is written without the fields that are `Since` a later version (`api/struct`), and read from any version:
missing fields at its end get their defaults, and an array with more fields than are known here is from a later version,
and refused. A class or an enum value of a later version is not written while the cluster is at an older one. A type
that can't travel is a programming error, which raises `Unsupported` when the codec is made, never when a message
arrives.

Permitted fields: bool, float, str, bytes, None, an int with its range, IntEnum, StrEnum, Literal, `tuple[X, ...]`,
`tuple[X, Y]`, `frozenset[X]`, a struct, and unions of those. A union of several structs gives each a `tag`; a set
travels sorted, so equal content gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, IntEnum, StrEnum
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, NewType, Union, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct
from msgspec.msgpack import Decoder
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from daemon.wire.rejected import Reason, Rejected
from daemon.wire.version import FIRST
from shoal.api.struct import Since
from shoal.lockstep.frames import Frames

FROM_THE_FIRST = Since(0)
PLAIN = frozenset({bool, float, str, bytes, None, NoneType})
SMALL_ARRAY, SMALL_ARRAY_MAX = 0x90, 15
"""The first byte of a msgpack array of at most so many items."""


class Unsupported(TypeError):
    """The codec can't carry a message class: a mistake in the definition."""


class Record(NamedTuple):
    """How a message class travels in a cluster of some version."""

    decode: Callable[[Any], Any]
    version: int
    """The lowest version that reads this form."""
    cut_to: int
    """The cluster's version, if `cut` omits or refuses something there; else 0."""
    frames: str | None
    """The name of the `Frames` field."""
    begin: int
    """The first byte of an array that has every field; -1 if `is_loose`."""
    is_loose: bool
    """Whether msgspec accepts arrays of it, or of a part of it, that `is_whole` refuses."""


class _Layout(NamedTuple):
    """A class's declarations about its fields."""

    fields: Sequence[tuple[FieldInfo, Since]]
    least: int
    """The minimum number of fields: those of the first version."""
    frames: str | None
    parts: Sequence[tuple[type[Struct], Since]]
    """The structs in its fields."""
    values: frozenset[int]
    """The versions that brought values of the enums in its fields."""
    has_defaults: bool
    """Whether msgspec supplies defaults for fields of the first version."""
    has_sets: bool


@cache
def record_of(cls: type, version: int) -> Record:
    """Returns how a cluster of this version writes a top-level message class."""
    layout = _layout_of(cls)
    newest, is_cut, is_loose = _over_all(cls, version, ())
    is_loose = is_loose or len(layout.fields) > SMALL_ARRAY_MAX
    begin = -1 if is_loose else SMALL_ARRAY + len(layout.fields)
    return Record(_decoder_of(cls).decode, newest, version if is_cut else 0, layout.frames, begin, is_loose)


@cache
def _decoder_of(cls: type) -> Decoder[Any]:
    try:
        return Decoder(cls)
    except TypeError as error:
        raise Unsupported(f"{cls.__qualname__}: {error}") from error


def _over_all(cls: type, version: int, inside: tuple[type, ...]) -> tuple[int, bool, bool]:
    """Returns the newest version of what is written of a class and its parts, whether anything is omitted, and whether
    a part is loose.
    """
    if cls in inside:
        raise Unsupported(f"{cls.__qualname__} contains itself")
    layout, since = _layout_of(cls), _class_since(cls)
    if inside and layout.frames:
        raise Unsupported(f"{cls.__qualname__}: Frames only in a message itself, not in a part of it, from the first")
    if since > version:
        return FIRST, True, False
    versions = [*(one.version for _, one in layout.fields), *layout.values]
    newest = max((FIRST, since, *(one for one in versions if one <= version)))
    is_cut = any(one > version for one in versions)
    is_loose = layout.has_sets or (layout.has_defaults and bool(inside))  # the outermost one's first byte tells
    for part, came in layout.parts:
        deeper = _over_all(part, version, (*inside, cls))
        newest = newest if came.version > version else max(newest, deeper[0])
        is_cut, is_loose = is_cut or deeper[1], is_loose or deeper[2]
    return newest, is_cut, is_loose


# -- permitted classes -------------------------------------------------------------------------------------------------


@cache
def _layout_of(cls: type) -> _Layout:
    if not issubclass(cls, Struct):
        raise Unsupported(f"{cls!r} is not a struct")
    config = cls.__struct_config__
    if not (config.frozen and config.array_like and config.forbid_unknown_fields):
        raise Unsupported(f"{cls!r} is not a frozen array that refuses unknown fields")
    fields = [(field, since_of(field)) for field in fields_of(cls)]
    least = _least(cls, fields)
    frames: str | None = None
    parts: list[tuple[type[Struct], Since]] = []
    values: set[int] = set()
    has_sets = False
    for field, since in fields:
        where = f"{cls.__qualname__}.{field.name}"
        if frames is not None and since is FROM_THE_FIRST:
            raise Unsupported(f"{where}: Frames must be the last field, but for later versions', and the only one")
        if _bare(field.type) == Frames:
            if since is not FROM_THE_FIRST:
                raise Unsupported(f"{where}: Frames only in a message itself, not in a part of it, from the first")
            frames = field.name
            continue
        for part in _parts(field.type, where):
            if part is frozenset:
                has_sets = True
            elif issubclass(part, Enum):
                values.update(map(_value_since, part))
            elif issubclass(part, Struct):
                parts.append((part, since))
    has_defaults = any(not field.required for field, _ in fields[:least])
    return _Layout(fields, least, frames, parts, frozenset(values), has_defaults, has_sets)


def _parts(hint: Any, where: str) -> Iterator[type]:
    """Yields the structs, enums and sets that a field can hold."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [one for one in args[1:] if isinstance(one, Meta)]
        if args[0] is not int or not bounds or bounds[0].ge is None or bounds[0].le is None:
            yield from _parts(args[0], where)
    elif isinstance(hint, NewType):
        yield from _parts(hint.__supertype__, where)
    elif hint is int:
        raise Unsupported(f"{where}: an int has to say its range, such as `Number`")
    elif origin in (Union, UnionType, tuple, frozenset):
        if origin is frozenset:
            yield frozenset
        for arg in args:
            if arg is not Ellipsis:
                yield from _parts(arg, where)
    elif isinstance(hint, type) and issubclass(hint, (Struct, IntEnum, StrEnum)):
        yield hint
    elif not (hint in PLAIN or origin is Literal):
        raise Unsupported(f"{where}: no way to carry {hint!r}")


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def since_of(field: FieldInfo) -> Since:
    """Returns the version that brought a field."""
    marks = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    return next((one for one in marks if isinstance(one, Since)), FROM_THE_FIRST)


def _class_since(cls: type) -> int:
    version: int = getattr(cls, "SINCE", FIRST)
    return version


def _value_since(value: Enum) -> int:
    """Returns the version that brought an enum value, according to the enum's own `SINCE`."""
    since: Mapping[str, int] = getattr(type(value), "SINCE", {})
    return since.get(value.name, FIRST)


def _least(cls: type, fields: Sequence[tuple[FieldInfo, Since]]) -> int:
    versions = [since.version for _, since in fields]
    if versions != sorted(versions):
        raise Unsupported(f"{cls.__qualname__}: what a later version adds comes behind what there is")
    for field, since in fields:
        if since.version and field.required:
            raise Unsupported(f"{cls.__qualname__}.{field.name}: a field of a later version needs a default")
        if 0 < since.version <= FIRST:
            raise Unsupported(f"{cls.__qualname__}.{field.name}: every version knows what is since {FIRST}")
    return versions.count(0)


# -- values ------------------------------------------------------------------------------------------------------------


def cut(value: Any, version: int) -> Any:
    """Returns what a cluster of this version can read of a struct, as arrays; refuses values that would have another
    meaning there.
    """
    if isinstance(value, tuple):
        return [cut(one, version) for one in value]
    if isinstance(value, Enum) and _value_since(value) > version:
        raise _too_new(f"{type(value).__qualname__}.{value.name}", _value_since(value), version)
    if not isinstance(value, Struct):
        return value
    cls = type(value)
    if _class_since(cls) > version:
        raise _too_new(cls.__qualname__, _class_since(cls), version)
    tag = cls.__struct_config__.tag
    kept = [] if tag is None else [tag]
    for field, since in _layout_of(cls).fields:
        own = getattr(value, field.name)
        if since.version <= version:
            kept.append(cut(own, version))
        elif not since.is_advisory and own != default_of(field):
            raise _too_new(f"{cls.__qualname__}.{field.name}", since.version, version)
    return kept


def is_whole(array: Any, value: Any) -> bool:
    """Whether an array has every field of the first version, and every set is sorted: msgspec also supplies defaults
    where it must not, and accepts unsorted sets.
    """
    if isinstance(value, frozenset):
        return all(one < other for one, other in pairwise(array))
    if isinstance(value, tuple):
        return all(map(is_whole, array, value))
    if not isinstance(value, Struct):
        return True
    fields = array if value.__struct_config__.tag is None else array[1:]
    own = [getattr(value, name) for name in value.__struct_fields__[: len(fields)]]
    return len(fields) >= _layout_of(type(value)).least and all(map(is_whole, fields, own))


def default_of(field: FieldInfo) -> Any:
    """Returns a field's default."""
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def _too_new(what: str, since: int, version: int) -> Rejected:
    return Rejected(
        Reason.VERSION,
        f"{what} can be said from cluster version {since} on, and the cluster is at {version}: it is raised by itself"
        " once all members run a Shoal that reads it",
    )

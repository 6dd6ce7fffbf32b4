"""Checks that examples distinguish every field: two swapped fields must not give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields


def complaints(examples: Iterable[object]) -> list[str]:
    """Names fields that look absent, or that have the same value as another one in every example."""
    seen: dict[type, list[Any]] = {}
    for example in examples:
        for part in _parts(example):
            seen.setdefault(type(part), []).append(part)
    return [complaint for cls, parts in seen.items() for complaint in _of_class(cls, parts)]


def _of_class(cls: type, parts: Sequence[Any]) -> Iterator[str]:
    declared = fields(cls)
    for field in declared:
        values = [getattr(part, field.name) for part in parts]
        if all(_is_unset(field, value) for value in values):
            yield f"{cls.__name__}.{field.name}: give an example another value than {values[0]!r}"
    for one, other in combinations([field.name for field in declared], 2):
        if all(_bits(getattr(part, one)) == _bits(getattr(part, other)) for part in parts):
            yield f"{cls.__name__}: an example should have different values of {one} and {other}"


def _bits(value: object) -> tuple[type, object]:
    """Distinguishes values as they are written: True is not 1."""
    return type(value), value


def _is_unset(field: FieldInfo, value: object) -> bool:
    if field.default is not NODEFAULT:
        return _bits(value) == _bits(field.default)
    if field.default_factory is not NODEFAULT:
        return bool(value == field.default_factory())
    return value in ("", b"", 0, (), None) and not isinstance(value, bool)


def _parts(value: object) -> Iterator[object]:
    """Yields the structs in a value, including itself."""
    if isinstance(value, Struct):
        yield value
        for name in value.__struct_fields__:
            yield from _parts(getattr(value, name))
    elif isinstance(value, (tuple, frozenset)):
        for one in value:
            yield from _parts(one)

"""Examples in the forms that an older cluster version writes: those clusters still write them, so they stay pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import fields, replace

from daemon.wire.records import default_of, record_of, since_of
from daemon.wire.version import FIRST, NEWEST, OLDEST


class Form(NamedTuple):
    """An example as a cluster version writes it."""

    version: int
    example: Any


def forms(by_name: Mapping[str, Any], older: Iterable[int] = range(OLDEST, NEWEST)) -> dict[str, Form]:
    """Returns all forms; an older version's form only if the next version writes another."""
    found = {name: Form(NEWEST, example) for name, example in by_name.items()}
    for version in older:
        for name, example in by_name.items():
            kind = type(example)
            if getattr(kind, "SINCE", FIRST) <= version < record_of(kind, version + 1).version:
                found[f"{name} at cluster version {version}"] = Form(version, _older(example, version))
    return found


def _older(value: Any, version: int) -> Any:
    """Returns the part of the value that the version can express."""
    if isinstance(value, tuple):
        return tuple(_older(one, version) for one in value)
    if not isinstance(value, Struct):
        return value
    said = {
        one.name: default_of(one) if since_of(one).version > version else _older(getattr(value, one.name), version)
        for one in fields(value)
    }
    return replace(value, **said)

"""Examples in the forms that a cluster at an older version has: they are still written there, and so stay pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import fields, replace

from daemon.wire.records import default_of, record_of, since_of
from daemon.wire.version import FIRST, NEWEST, OLDEST


class Form(NamedTuple):
    """An example as it is written at a cluster version."""

    version: int
    example: Any


def forms(by_name: Mapping[str, Any], older: Iterable[int] = range(OLDEST, NEWEST)) -> dict[str, Form]:
    """Returns all of them, those of older versions only where the next one writes something else."""
    found = {name: Form(NEWEST, example) for name, example in by_name.items()}
    for version in older:
        for name, example in by_name.items():
            kind = type(example)
            if getattr(kind, "SINCE", FIRST) <= version < record_of(kind, version + 1).version:
                found[f"{name} at cluster version {version}"] = Form(version, _older(example, version))
    return found


def _older(value: Any, version: int) -> Any:
    """Returns what can be said of it at that version."""
    if isinstance(value, tuple):
        return tuple(_older(one, version) for one in value)
    if not isinstance(value, Struct):
        return value
    said = {
        one.name: default_of(one) if since_of(one).version > version else _older(getattr(value, one.name), version)
        for one in fields(value)
    }
    return replace(value, **said)

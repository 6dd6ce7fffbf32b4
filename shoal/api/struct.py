"""The base of whatever travels: messages of the wire, commands and entries of the log, records of snapshots.

A struct is an array of its fields, in order, and msgspec checks the type of each as it decodes. Every int says its
range, because everything that a peer says is added to, counted on from, put into SQLite (signed, 64 bits) or said again
(msgpack, 64 bits): no number comes in that leaves no room for that. `daemon/wire` has the rest of the rules.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeAlias, dataclass_transform

import msgspec
from msgspec import Meta

from shoal.api.ranges import INT_MAX, TICKS_MAX

Number: TypeAlias = Annotated[int, Meta(ge=-INT_MAX, le=INT_MAX)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=INT_MAX)]
Tick: TypeAlias = Annotated[int, Meta(ge=0, le=TICKS_MAX)]
Entry: TypeAlias = Annotated[int, Meta(ge=0, le=4 * TICKS_MAX + 4)]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Immutable, and so never part of a cycle: the garbage collector need not look at it."""


class Since(NamedTuple):
    """Says which cluster version brought a field, as ``reason: Annotated[str, Since(5)] = ""`` at a struct's end.

    A class that is new as a whole, a message or a command, says it by ``SINCE: ClassVar[int] = 5``.

    Where the cluster version is lower, only the default can be said: another value is refused, because the struct
    would mean something else without it. An advisory field is left out there, whatever its value.
    """

    version: int
    is_advisory: bool = False

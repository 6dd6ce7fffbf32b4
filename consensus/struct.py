"""The base of messages and stored records: arrays of fields, whose types msgspec checks as it decodes."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, dataclass_transform

import msgspec

INT_MAX: Final = 2**62
"""The bound of every number: it leaves room to count on from it in 64 bits."""

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=-INT_MAX, le=INT_MAX)]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Immutable, and so never part of a cycle: the garbage collector can skip it."""

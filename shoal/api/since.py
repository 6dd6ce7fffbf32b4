"""Which cluster version brought a field, declared as ``field(default=..., metadata=since(5))`` at a record's end.

A class that is new as a whole, a message, a command or a member of a union, says it by ``SINCE: ClassVar[int] = 5``.
The codec leaves such a field out where the cluster version is lower, and refuses to write such a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SINCE: Final = "since"
ADVISORY: Final = "advisory"


def since(version: int, *, is_advisory: bool = False) -> Mapping[str, Any]:
    """Returns a field's metadata.

    Where the cluster version is lower, only the default can be said: another value is refused, because the record
    would mean something else without it. An advisory field is left out there, whatever its value.
    """
    return {SINCE: version, ADVISORY: is_advisory}

"""Which numbers a message or a decision may hold, declared beside the field as ``Annotated[int, Within(...)]``.

Everything that a peer says is added to, counted on from, put into SQLite (signed, 64 bits) or said again (msgpack, 64
bits): so no number comes in that leaves no room for that. The codec checks it, both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Within:
    """The least and the greatest value of a field."""

    least: int
    most: int


INT_MAX: Final = 2**62
"""Of any number: half of what 64 bits hold with a sign. Nanoseconds since 1970 reach it in the year 2116."""
TICKS_MAX: Final = 2**40
"""A tick a microsecond for twelve days; barrier entries are four times as many."""
VALUES_MAX: Final = 100_000
"""Of one column, as JSON, in one answer."""
ROWS_MAX: Final = 1 << 16
"""Of a run, as buffers, in one answer."""
HITS_MAX: Final = 10_000
"""Of a search."""
ANY: Final = Within(-INT_MAX, INT_MAX)
"""Where nothing else is declared."""

Count: TypeAlias = Annotated[int, Within(0, INT_MAX)]
Tick: TypeAlias = Annotated[int, Within(0, TICKS_MAX)]
Entry: TypeAlias = Annotated[int, Within(0, 4 * TICKS_MAX + 4)]

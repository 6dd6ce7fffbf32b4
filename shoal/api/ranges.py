"""Ranges of the numbers in messages and log commands, declared with the field as ``Annotated[int, Within(...)]``.

Shards add to the numbers that peers send, store them in SQLite (signed, 64 bits) and send them on (msgpack, 64 bits).
The ranges leave room for this, and the codec checks them in both directions.
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
"""The maximum of any number: half of a signed 64-bit range. Nanoseconds since 1970 reach it in the year 2116."""
TICKS_MAX: Final = 2**40
"""A tick a microsecond for twelve days; barrier entries are four times as many."""
VALUES_MAX: Final = 100_000
"""Values of one column, as JSON, in one answer."""
ROWS_MAX: Final = 1 << 16
"""Rows of a run, as buffers, in one answer."""
HITS_MAX: Final = 10_000
"""Documents in the answer to a search."""
ANY: Final = Within(-INT_MAX, INT_MAX)
"""The range of a field that declares none."""

Count: TypeAlias = Annotated[int, Within(0, INT_MAX)]
Tick: TypeAlias = Annotated[int, Within(0, TICKS_MAX)]
Entry: TypeAlias = Annotated[int, Within(0, 4 * TICKS_MAX + 4)]

"""Ranges of the numbers in commands, messages and log commands (`api/command`, `api/struct`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Within:
    """The least and the greatest value of a command's argument: ``Annotated[int, "...", Within(0, 9)]``."""

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

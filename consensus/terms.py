"""How far a server follows others to a later term.

A term is one server's word, and a wrong one must not use the terms up: there always has to be a next one, in the 64
bits that disks and messages have. So a term far ahead of ours is entered in leaps of a bounded length, one an election
timeout. Whatever anybody says, lifetimes pass before the end; and who was away, or heard a wrong word later than the
others, catches up leap by leap.

That a term rises without an election is safe: it is as if we had stood for some, and nobody had heard of it.
"""

from __future__ import annotations

from typing import Final

STEP_MAX: Final = 1 << 16
"""Without further ado: elections that we have missed, one a second for a day."""
LEAP_MAX: Final = 1 << 32
"""At once. At one a second it is thirty years to `TERM_MAX`."""


class Leaps:
    """One server's memory of its last leap.

    >>> leaps = Leaps(interval_ns=10, now=0)
    >>> leaps.reach(5, 2**40, now=0), leaps.reach(5, 2**40, now=9), leaps.reach(5, 70, now=9)
    (4294967301, None, 70)
    """

    def __init__(self, interval_ns: int, now: int) -> None:
        self._interval_ns = interval_ns
        self._next_ns = now

    def reach(self, term: int, wanted: int, now: int) -> int | None:
        """From `term`, how far on the way to a later one to go now; None for not at all."""
        if wanted <= term + STEP_MAX:
            return wanted
        if now < self._next_ns:
            return None
        self._next_ns = now + self._interval_ns
        return min(wanted, term + LEAP_MAX)

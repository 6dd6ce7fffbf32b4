"""Bounds how fast a server follows others to a later term.

A peer may send any term, and a wrong one must not use up the 64 bits that disks and messages have: there must always be
a next term. So a server enters a term far ahead of its own in bounded leaps, one per election timeout. At that rate the
terms last for lifetimes, whatever a peer sends; and a server that was away, or that received the wrong term later than
its peers, catches up leap by leap.

Raising the term without an election is safe: it is as if the server had campaigned and no message had arrived.
"""

from __future__ import annotations

from typing import Final

STEP_MAX: Final = 1 << 16
"""Entered at once: a server may have missed this many elections, one a second for a day."""
LEAP_MAX: Final = 1 << 32
"""The longest leap. At one leap a second, `TERM_MAX` is thirty years away."""


class Leaps:
    """Remembers one server's last leap.

    >>> leaps = Leaps(interval_ns=10, now=0)
    >>> leaps.reach(5, 2**40, now=0), leaps.reach(5, 2**40, now=9), leaps.reach(5, 70, now=9)
    (4294967301, None, 70)
    """

    def __init__(self, interval_ns: int, now: int) -> None:
        self._interval_ns = interval_ns
        self._next_ns = now

    def reach(self, term: int, wanted: int, now: int) -> int | None:
        """Returns the term to enter now on the way from `term` to a later one; None to stay."""
        if wanted <= term + STEP_MAX:
            return wanted
        if now < self._next_ns:
            return None
        self._next_ns = now + self._interval_ns
        return min(wanted, term + LEAP_MAX)

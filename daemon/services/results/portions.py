"""Decides how much to request from a member at once on the control plane: what its link carries in about 0.1 s.

Heartbeats wait behind the answers, on the same connection. An answer of megabytes over a slow link would delay them
until their sender is declared dead; and repeating a lost or late answer is cheaper when it is small. Propagation delay
is no reason to request less, so what counts is how much longer an answer takes than the shortest one (as in LEDBAT,
RFC 6817).
"""

from __future__ import annotations

ROWS_MIN, ROWS_FIRST = 256, 4096
LITTLE_SECONDS, LONG_SECONDS = 0.05, 0.2
MEMBERS_MAX = 1024


class Portions:
    """The number of rows for each member: doubled after a quick answer, halved after a slow one.

    >>> portions = Portions(10_000)
    >>> portions.took("a", 0.11)
    >>> portions.took("b", 0.01)
    >>> portions.rows("a"), portions.rows("b"), portions.rows("c")
    (8192, 8192, 4096)
    >>> portions.took("a", 0.12)
    >>> portions.took("b", 3.0)
    >>> portions.rows("a"), portions.rows("b")
    (10000, 4096)
    """

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: dict[str, int] = {}
        self._shortest: dict[str, float] = {}

    def rows(self, member: str) -> int:
        """Returns how many rows to request from a member."""
        return self._rows.get(member, min(ROWS_FIRST, self._rows_max))

    def took(self, member: str, seconds: float) -> None:
        """Notes how long the answer to that took."""
        if member not in self._rows and len(self._rows) >= MEMBERS_MAX:
            self._rows.clear()
            self._shortest.clear()
        rows, shortest = self.rows(member), min(seconds, self._shortest.get(member, seconds))
        if seconds <= shortest + LITTLE_SECONDS:
            rows = min(2 * rows, self._rows_max)
        elif seconds > shortest + LONG_SECONDS:
            rows = max(rows // 2, ROWS_MIN)
        self._rows[member], self._shortest[member] = rows, shortest

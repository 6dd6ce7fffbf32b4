"""How much to ask a member for at once on the control plane: about as much as comes in a tenth of a second.

Heartbeats travel behind the answers, on the same connection. An answer of megabytes over a slow link would keep them
waiting until their sender is taken for dead; and a lost or late answer is cheaper to ask for again when it is small.
"""

from __future__ import annotations

ROWS_MIN, ROWS_FIRST = 256, 4096
QUICK_SECONDS, SLOW_SECONDS = 0.05, 0.2
MEMBERS_MAX = 1024


class Portions:
    """Rows for each member: twice as many after a quick answer, half as many after a slow one.

    >>> portions = Portions(10_000)
    >>> portions.took("a", 0.01)
    >>> portions.rows("a"), portions.rows("b")
    (8192, 4096)
    >>> portions.took("a", 0.01); portions.took("b", 3.0)
    >>> portions.rows("a"), portions.rows("b")
    (10000, 2048)
    """

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: dict[str, int] = {}

    def rows(self, member: str) -> int:
        """How many to ask a member for."""
        return self._rows.get(member, min(ROWS_FIRST, self._rows_max))

    def took(self, member: str, seconds: float) -> None:
        """How long the answer to that took."""
        rows = self.rows(member)
        if seconds < QUICK_SECONDS:
            rows = min(2 * rows, self._rows_max)
        elif seconds > SLOW_SECONDS:
            rows = max(rows // 2, ROWS_MIN)
        if member not in self._rows and len(self._rows) >= MEMBERS_MAX:
            self._rows.clear()
        self._rows[member] = rows

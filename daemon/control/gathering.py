"""Commands that a leader appends together: group commit.

What comes while earlier commands are on their way to a majority waits until those are committed, and then is one write
and one message to each follower. On a fast network that is soon; on a slow one nothing waits longer than `GATHER_NS`.
"""

from __future__ import annotations

from typing import Final

from daemon.control.messages import Proposal
from daemon.state.machine import Request

GATHER_NS: Final = 10_000_000
"""With 64 proposals in flight on a busy machine, 2 ms made batches of four, 10 ms of eight and more."""


class Gathered:
    """The commands that wait, by who asks, in their order."""

    def __init__(self) -> None:
        self._waiting: dict[Request, Proposal] = {}
        self._appended_ns = -GATHER_NS

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due_ns(self) -> int:
        """When they are appended whether or not those before are committed."""
        return self._appended_ns + GATHER_NS

    def is_due(self, now: int, is_committed: bool) -> bool:
        """Whether to append them now; `is_committed` says whether all that was appended before is."""
        return bool(self._waiting) and (is_committed or now >= self.due_ns)

    def add(self, request: Request, proposal: Proposal) -> None:
        """Has a command wait."""
        self._waiting[request] = proposal

    def take(self, room: int, now: int) -> list[tuple[Request, Proposal]]:
        """Returns as many as there is room for, to be appended now; the others wait on."""
        taken = [(request, self._waiting.pop(request)) for request in list(self._waiting)[:room]]
        if taken:
            self._appended_ns = now
        return taken

    def clear(self) -> None:
        """Forgets them: whoever leads now is asked for them again."""
        self._waiting.clear()

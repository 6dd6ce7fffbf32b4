"""Gets a command into the log from any shard: sends it to the leader, again and again, until it is decided or given up.

The request names a proposal, and the registry applies each request once, so resending to the same leader or the next
does no harm. Nor does it cost a sync: a leader appends only what it neither holds nor has applied.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.state.commands import CommandCodec, Decision

RESEND_INTERVAL_NS = 500_000_000
RESEND_FACTOR_MAX = 4
"""Each time that a proposal is sent again, twice as long passes until the next, up to so many times the first."""


@dataclass(slots=True)
class _Pending:
    command: bytes
    give_up_ns: int
    keeps_asking: bool
    sent_ns: int | None = None
    interval_ns: int = RESEND_INTERVAL_NS


class Proposals:
    """This shard's own proposals that are not decided yet."""

    def __init__(self, pending_max: int = 1024) -> None:
        self._pending: dict[str, _Pending] = {}
        self._pending_max = pending_max
        self.codec = CommandCodec()

    def add(self, decision: Decision, give_up_ns: int, *, keeps_asking: bool = False) -> bool:
        """Keep a proposal until it is decided; False if too many are waiting. One that `keeps_asking` outlives a
        leader's refusal: the next one may take it.
        """
        if len(self._pending) >= self._pending_max:
            return False
        self._pending[decision.request] = _Pending(self.codec.encode(decision), give_up_ns, keeps_asking)
        return True

    def settle(self, request: str) -> bool:
        """The log has decided it, or the leader refused it; whether it was ours and open."""
        return self._pending.pop(request, None) is not None

    def keeps_asking(self, request: str) -> bool:
        """Whether it is sent again although a leader has refused it."""
        pending = self._pending.get(request)
        return pending is not None and pending.keeps_asking

    def leader_changed(self) -> None:
        """Send all again at once: what the old leader took may be lost."""
        for pending in self._pending.values():
            pending.sent_ns, pending.interval_ns = None, RESEND_INTERVAL_NS

    def due(self, now: int) -> list[tuple[str, bytes]]:
        """What to send (again) now."""
        due = []
        for request, pending in self._pending.items():
            if pending.sent_ns is None or now >= pending.sent_ns + pending.interval_ns:
                if pending.sent_ns is not None:
                    pending.interval_ns = min(2 * pending.interval_ns, RESEND_FACTOR_MAX * RESEND_INTERVAL_NS)
                pending.sent_ns = now
                due.append((request, pending.command))
        return due

    def given_up(self, now: int) -> list[str]:
        """Those whose time is over; they are forgotten, though the log may still decide them."""
        over = [request for request, pending in self._pending.items() if now >= pending.give_up_ns]
        for request in over:
            del self._pending[request]
        return over

    @property
    def deadline(self) -> int | None:
        """When something is to be sent again or given up."""
        times = [pending.give_up_ns for pending in self._pending.values()]
        times += [p.sent_ns + p.interval_ns for p in self._pending.values() if p.sent_ns is not None]
        return min(times, default=None)

"""Gets a command into the log from any shard: resends it to the leader until it is decided or given up.

The shard numbers its proposals in a session, which is its life, and each takes effect once (`state/sessions`), so
resending to the same leader or the next does no harm. Nor does it cost a sync: a leader appends only what it neither
holds nor has applied.

Each proposal tells which numbers this shard no longer waits for (`answered`), so that few outcomes are kept for it.
Invariant: the numbers of those that wait are less than `pending_max` apart, so no outcome is dropped too early.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.control.effects import Answered
from daemon.control.messages import Proposal
from daemon.state import Decided, command_codec
from daemon.state.commands import Identity
from daemon.state.machine import Command

RESEND_INTERVAL_NS = 500_000_000
RESEND_FACTOR_MAX = 4
"""Each resend doubles the interval, up to so many times the first."""

NO_ANSWER = "no tick leader answers: does the cluster have a majority?"


@dataclass(slots=True)
class _Pending:
    request: str
    machine: str
    command: bytes
    give_up_ns: int
    keeps_asking: bool
    sent_ns: int | None = None
    interval_ns: int = RESEND_INTERVAL_NS


class Proposals:
    """This shard's undecided proposals, by number. `request` is a local name."""

    def __init__(self, shard: Identity, pending_max: int = 1024) -> None:
        self._shard = shard
        self._pending: dict[int, _Pending] = {}
        """By number, in order."""
        self._pending_max = pending_max
        self._next = 1
        self.codec = command_codec()

    def add(self, request: str, command: Command, give_up_ns: int, *, keeps_asking: bool = False) -> bool:
        """Keeps a proposal until it is decided; returns False if too many are waiting. One that `keeps_asking` survives
        a leader's refusal: the next leader may accept it. Raises `Rejected` for one that is too large.
        """
        if self._next - self.answered >= self._pending_max:
            return False
        machine, data = self.codec.machine_of(command), self.codec.encode(command)
        self._pending[self._next] = _Pending(request, machine, data, give_up_ns, keeps_asking)
        self._next += 1
        return True

    def once(self, command: Command) -> Proposal:
        """Returns a proposal that is sent once and not awaited. Raises `Rejected` for one that is too large."""
        machine, data = self.codec.machine_of(command), self.codec.encode(command)
        number, self._next = self._next, self._next + 1
        return Proposal(number, self.answered, machine, data)

    @property
    def answered(self) -> int:
        """The number below which no proposal awaits its outcome."""
        return next(iter(self._pending), self._next)

    def is_pending(self, request: str) -> bool:
        """Whether a proposal of that name awaits its outcome."""
        return any(pending.request == request for pending in self._pending.values())

    def decided(self, decided: Decided) -> Answered | None:
        """Takes the log's decision; returns None if no open proposal of this shard awaits it."""
        asked = decided.request
        if (asked.shard, asked.generation) != (self._shard.name, self._shard.generation):
            return None
        pending = self._pending.pop(asked.sequence, None)
        if pending is None:
            return None
        return Answered(pending.request, decided.error, decided.name, decided=True, index=decided.index)

    def refused(self, sequence: int, reason: str) -> Answered | None:
        """Takes a leader's refusal. A proposal that `keeps_asking` stays, and is resent at its pace."""
        pending = self._pending.get(sequence)
        if pending is None or pending.keeps_asking:
            return None
        del self._pending[sequence]
        return Answered(pending.request, reason)

    def leader_changed(self) -> None:
        """Resends all proposals at once: those that the old leader took may be lost."""
        for pending in self._pending.values():
            pending.sent_ns, pending.interval_ns = None, RESEND_INTERVAL_NS

    def due(self, now: int) -> list[Proposal]:
        """Returns the proposals to send (again) now."""
        due = []
        for sequence, pending in self._pending.items():
            if pending.sent_ns is None or now >= pending.sent_ns + pending.interval_ns:
                if pending.sent_ns is not None:
                    pending.interval_ns = min(2 * pending.interval_ns, RESEND_FACTOR_MAX * RESEND_INTERVAL_NS)
                pending.sent_ns = now
                due.append(Proposal(sequence, self.answered, pending.machine, pending.command))
        return due

    def given_up(self, now: int) -> list[Answered]:
        """Drops the proposals that have timed out; the log may still decide them."""
        over = [sequence for sequence, pending in self._pending.items() if now >= pending.give_up_ns]
        return [Answered(self._pending.pop(sequence).request, NO_ANSWER) for sequence in over]

    @property
    def deadline(self) -> int | None:
        """When the next proposal is to be resent or given up."""
        times = [pending.give_up_ns for pending in self._pending.values()]
        times += [p.sent_ns + p.interval_ns for p in self._pending.values() if p.sent_ns is not None]
        return min(times, default=None)

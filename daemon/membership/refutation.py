"""What a member announces about itself: refutations, new tags, and its goodbye.

Source: SWIM section 4.2. Only a member itself may raise its incarnation; it outbids any higher one that others claim.

Invariant: our incarnation never falls.
"""

from __future__ import annotations

from daemon.membership.local_health import LocalHealth
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, INCARNATION_LEAP_MAX, INCARNATION_MAX, LEFT, Record
from daemon.membership.outbox import EffectOutbox

GOODBYES = 2
"""Series of transmissions, since a lost goodbye is never repeated. With three members and a tenth of all messages lost,
a single series fails in one of ten thousand leaves.
"""


class Refutation:
    """One member's announcements; its own record is in the roster."""

    def __init__(self, roster: MemberTable, health: LocalHealth, outbox: EffectOutbox) -> None:
        self._roster, self._health, self._outbox = roster, health, outbox
        self._goodbyes = 0

    def hear(self, record: Record, now: int) -> None:
        """Refutes a wrong record of ourselves."""
        own = self._roster.own
        if record.generation > own.generation:
            self._outbox.spread(own, urgent=True)  # members that believed the record learn that we are here
        elif record.generation < own.generation:
            self._outbox.spread(own)
        elif own.status == LEFT:
            pass
        elif record.precedence > own.precedence and record.incarnation >= INCARNATION_MAX - INCARNATION_LEAP_MAX:
            self._outbox.count("membership_nonsense")  # the remaining numbers are reserved for our own announcements
        elif record.precedence > own.precedence:
            self._outbox.count("membership_refutations")
            self._health.worsen()
            self.say(Record(own.member, record.incarnation + 1, ALIVE), now)
        elif record.status != ALIVE:
            # Refuted long ago, but this peer has not received it, and all retransmissions may be spent.
            self._outbox.spread(own, urgent=True)
        elif record.incarnation == own.incarnation and record.member != own.member:
            # A twin of our name and generation: nobody can tell which is right.
            self._outbox.count("membership_name_conflicts")

    def say(self, record: Record, now: int) -> None:
        """Replaces our own record and spreads it."""
        assert record.incarnation > self._roster.own.incarnation
        self._roster.replace_own(record, now)
        self._outbox.spread(record, urgent=True)

    def say_goodbye(self, now: int) -> None:
        """Announces that we leave."""
        own = self._roster.own
        self.say(Record(own.member, own.incarnation + 1, LEFT), now)
        self._goodbyes = 1

    def say_goodbye_again(self) -> None:
        """Starts another series of transmissions when one is over, up to `GOODBYES`."""
        if self._goodbyes < GOODBYES:
            self._goodbyes += 1
            self._outbox.spread(self._roster.own, urgent=True)

"""Collects the effects of one call: messages and their piggybacked gossip, announcements and counts.

Once another life owns our name, it emits nothing more.
"""

from __future__ import annotations

from msgspec.structs import replace

from daemon.membership.config import MembershipConfig
from daemon.membership.dissemination import Dissemination
from daemon.membership.effects import Counted, Effect, SendTo, SendToAddress
from daemon.membership.failure_detector import Outgoing
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import Message, Record
from daemon.membership.names import is_address


class EffectOutbox:
    """One member's outbox; it reads the roster to address messages."""

    def __init__(self, config: MembershipConfig, roster: MemberTable, news: Dissemination) -> None:
        self.is_closed = False
        """Whether another life owns our name."""
        self._config, self._roster, self._news = config, roster, news
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._effects)

    def emit(self, effect: Effect) -> None:
        if not self.is_closed:
            self._effects.append(effect)

    def count(self, name: str, amount: int = 1) -> None:
        self.emit(Counted(name, amount))

    def spread(self, record: Record, *, urgent: bool = False) -> None:
        """Queues a record for gossip."""
        if not self._news.queue.offer(record, urgent=urgent):
            self.count("membership_gossip_dropped")

    def send(self, name: str, address: str, message: Message) -> None:
        """Sends by name to a member known at that address, else (unknown, or a new life elsewhere) to the address."""
        known = self._roster.get(name)
        if known is not None and known.member.control == address:
            self.emit(SendTo(name, message))
        elif len(address) <= self._config.address_length_max and is_address(address):
            self.emit(SendToAddress(address, message, name))
        else:
            self.count("membership_nonsense")

    def send_with_gossip(self, outgoing: Outgoing) -> None:
        """Sends a message with as much gossip as fits."""
        message = replace(outgoing.message, gossip=self._news.piggyback(outgoing.name))
        self.send(outgoing.name, outgoing.address, message)

    def take(self) -> list[Effect]:
        """Returns the effects collected since the last call, and forgets them."""
        effects, self._effects = self._effects, []
        return effects

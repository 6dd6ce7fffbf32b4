"""Decides which records go to which members: piggybacked, in gossip rounds, or as the full list (SWIM section 4.1).

Invariants: those of the queue; the order of the rounds contains exactly the other live members.
"""

from __future__ import annotations

from random import Random

from daemon.membership.config import MembershipConfig
from daemon.membership.effects import SendTo
from daemon.membership.gossip import GossipQueue
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, Gossip, Record
from daemon.membership.round_robin import RoundRobin


class Dissemination:
    """Selects the records that one member sends. Reads the member table and never changes it."""

    def __init__(self, config: MembershipConfig, roster: MemberTable, random: Random, now: int) -> None:
        self.order = RoundRobin(random)
        """The order of the gossip targets."""
        self.queue = GossipQueue(config.retransmit_mult, config.members_max + config.dead_records_max)
        self._config, self._roster, self._random = config, roster, random
        self._round_ns = now

    @property
    def deadline(self) -> int | None:
        """When the next round is due; None without anything to tell, or anyone to tell it to."""
        return self._round_ns if len(self.queue) and self._roster.companions else None

    def wake(self, now: int) -> list[SendTo]:
        """Returns a gossip round if it is due: the pings of one period alone would spread news too slowly."""
        if now < self._round_ns or not len(self.queue):
            return []
        self._round_ns = now + self._config.gossip_interval_ns
        names = self.order.several(self._config.gossip_targets)
        return [SendTo(name, Gossip(news)) for name in names if (news := self.piggyback(name))]

    def hurry(self, now: int) -> None:
        """Makes the next round due now."""
        self._round_ns = now

    def look_at_clock(self, now: int) -> None:
        """Moves an expired timer up to now: while there was nothing to send, it was not late."""
        self._round_ns = max(self._round_ns, now)

    def postpone(self, duration_ns: int) -> None:
        """Excludes the time of our own absence."""
        self._round_ns += duration_ns

    def piggyback(self, name: str, first: tuple[Record, ...] = ()) -> tuple[Record, ...]:
        """Returns gossip for a message to ``name``; if it is suspected or dead, that comes first (Lifeguard IV.C)."""
        about = self._roster.get(name)
        if about is not None and about.status != ALIVE:
            first = (about, *first)
        room = self._config.gossip_records_max - len(first)
        return (*first, *self.queue.take(room, self._roster.live_count, besides=name))

    def whole_list(self) -> tuple[Record, ...]:
        """Returns all first-hand records, or a random sample if they are too many for one message."""
        own, *others = self._roster.first_hand()
        room = self._config.push_pull_records_max - 1
        if len(others) > room:
            others = sorted(self._random.sample(others, room), key=lambda record: record.name)
        return (own, *others)

    def validate(self, others: list[str]) -> None:
        self.queue.validate()
        self.order.validate(others)

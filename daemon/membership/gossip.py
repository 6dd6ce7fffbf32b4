"""The queue of records still to be passed on: infection-style dissemination (SWIM section 4.1).

News travels on pings and acks, not by broadcast. A member passes each record on at most lambda * log10(n + 1) times,
rounded up; a few logarithms suffice to reach everyone with high probability. If a message can't hold all records, it
takes those sent the fewest times first ("updates that have been gossiped fewer times"), so old news does not delay new.

Each name has one entry: a newer record of a member replaces the older one, with a fresh count. A member's own
refutation goes first: each round that it waits brings the conviction nearer.

Invariants: at most ``records_max`` entries; none was taken ``retransmissions_max(n)`` times.

>>> retransmissions_max(mult=4, members=8), retransmissions_max(mult=4, members=100)
(4, 12)
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from daemon.membership.messages import Record


def retransmissions_max(mult: int, members: int) -> int:
    """SWIM's lambda * log n, as memberlist rounds it."""
    return mult * math.ceil(math.log10(members + 1))


@dataclass(slots=True)
class _Rumour:
    record: Record
    urgent: bool
    order: int
    transmissions: int = 0

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Urgent records first, then the least transmitted, then the newest."""
        return (not self.urgent, self.transmissions, -self.order)


class GossipQueue:
    """Records to pass on, keyed by the name of the member they describe."""

    __slots__ = ("_mult", "_order", "_records_max", "_rumours")

    def __init__(self, retransmit_mult: int, records_max: int) -> None:
        self._mult = retransmit_mult
        self._records_max = records_max
        self._rumours: dict[str, _Rumour] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._rumours)

    def __contains__(self, name: str) -> bool:
        return name in self._rumours

    def offer(self, record: Record, *, urgent: bool = False) -> bool:
        """Queues a record in place of an older one of that name; returns False if another had to be dropped for it."""
        self._order += 1
        self._rumours[record.name] = _Rumour(record, urgent, self._order)
        if len(self._rumours) <= self._records_max:
            return True
        weariest = max(self._rumours.values(), key=lambda rumour: rumour.rank)
        del self._rumours[weariest.record.name]
        return False

    def take(self, count: int, members: int, *, besides: str = "") -> tuple[Record, ...]:
        """Takes up to ``count`` records for one message in a group of ``members``; none about ``besides``."""
        limit = retransmissions_max(self._mult, members)
        waiting = (rumour for name, rumour in self._rumours.items() if name != besides)
        chosen = heapq.nsmallest(max(0, count), waiting, key=lambda rumour: rumour.rank)
        for rumour in chosen:
            rumour.transmissions += 1
            if rumour.transmissions >= limit:
                del self._rumours[rumour.record.name]
        return tuple(rumour.record for rumour in chosen)

    def forget(self, name: str) -> None:
        self._rumours.pop(name, None)

    def clear(self) -> None:
        self._rumours.clear()

    def validate(self) -> None:
        assert len(self._rumours) <= self._records_max
        assert all(name == rumour.record.name for name, rumour in self._rumours.items())

"""The failure detector's parts: whom to probe next, the probe under way, and pings made for others.

One protocol period (SWIM section 3.1, Figure 1), with the probe's timeout and end stretched by the local health:

    start            timeout                                end = start of the next
      | Ping -------->  | PingRequest to k others ----------> |  no Ack: suspect
      |    target       |    helper -- Ping --> target        |  too few Nacks: our own health is in doubt
      |                 |    helper <-- Ack --- target        |
      |                 |  Ack or, at 80 % of the rest, Nack  |

The period ends at its end, even when the Ack comes at once: the load of the protocol is constant in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from daemon.protocol.membership_messages import Record

NACK_PERCENT = 80  # Lifeguard section IV.A: a Nack leaves when this share of the originator's wait has gone by


class RoundRobin:
    """Round-robin over a random order (SWIM section 4.3).

    A member is probed once a round, so a failed one is found at the latest after 2n - 1 periods ("time bounded
    strong completeness"). A new one is put in at a random place; the order is drawn anew at the end of each round.
    Gossip takes its targets from an order of its own: the few times a rumour is told it is not told to the same twice.

    Invariants: no name twice; 0 <= next <= length.

    >>> order = RoundRobin(Random(1))
    >>> for name in "abc":
    ...     order.add(name)
    >>> sorted(order.next() for _ in range(3))
    ['a', 'b', 'c']
    """

    __slots__ = ("_names", "_next", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._names: list[str] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        place = self._random.randint(0, len(self._names))
        self._names.insert(place, name)
        if place < self._next:  # it waits for the next round, and nobody is probed twice in this one
            self._next += 1

    def remove(self, name: str) -> None:
        place = self._names.index(name)
        del self._names[place]
        if place < self._next:
            self._next -= 1

    def next(self) -> str | None:
        if not self._names:
            return None
        if self._next >= len(self._names):
            self._random.shuffle(self._names)
            self._next = 0
        self._next += 1
        return self._names[self._next - 1]

    def several(self, count: int) -> list[str]:
        """The next ``count`` different names, or all there are."""
        chosen: list[str] = []
        while len(chosen) < min(count, len(self._names)):
            name = self.next()
            if name is not None and name not in chosen:
                chosen.append(name)
        return chosen

    def validate(self, names: list[str]) -> None:
        assert sorted(self._names) == names, "the order is exactly the other live members"
        assert 0 <= self._next <= len(self._names)


@dataclass(slots=True)
class Probe:
    """The probe of this period. It judges the record as known at its start: what was refuted since is not touched."""

    sequence: int
    record: Record
    timeout_ns: int
    end_ns: int
    acked: bool = False
    asked: tuple[str, ...] = ()  # the helpers
    nacked: set[str] = field(default_factory=set)
    went_indirect: bool = False

    @property
    def deadline(self) -> int:
        return self.end_ns if self.acked or self.went_indirect else self.timeout_ns

    @property
    def nacks_missed(self) -> int:
        return len(self.asked) - len(self.nacked)

    def postpone(self, duration_ns: int) -> None:
        self.timeout_ns += duration_ns
        self.end_ns += duration_ns


@dataclass(slots=True)
class Relay:
    """A ping made for another member. Kept for a while after the Nack: an Ack may still come in time."""

    requester: str
    reply_to: str
    sequence: int  # the requester's
    target: str
    generation: int
    nack_ns: int
    end_ns: int
    nacked: bool = False

    @property
    def deadline(self) -> int:
        return self.end_ns if self.nacked else self.nack_ns

    def postpone(self, duration_ns: int) -> None:
        self.nack_ns += duration_ns
        self.end_ns += duration_ns

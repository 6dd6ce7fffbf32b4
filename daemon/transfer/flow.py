"""Flow control: keeps in flight to one shard what its link carries in a round trip, and little more.

Acknowledgements are the clock. Each one tells how many bytes the link has delivered since the acknowledged chunk was
sent. The greatest of the last few such rates, times the shortest round trip, is the link's capacity (BBR: Cardwell et
al., "BBR: Congestion-Based Congestion Control", ACM Queue 2016). Half as much again may be in flight. More would only
fill queues: those of ZeroMQ and the kernel, where the sender can't see it, and those of the routers, where heartbeats
wait behind it. The window starts at its minimum, so that one chunk leaves while another is being acknowledged, and
grows with the rate, by half in each round trip, until the rate stops growing.

The timeout (`round_trip`) never triggers a resend; it only says when to ask what has arrived.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shoal.lockstep.round_trip import RoundTrip

SLACK_NS = 25_000_000
"""For busy threads: on a fast link, a round trip is shorter than the pauses of either end."""
GAIN = 1.5
RATES_KEPT = 32
BACK_OFF_MAX = 3
TIMEOUT_NS_MAX = 4_000_000_000
"""The timeout doubles with each unanswered question, but only so often, and up to this."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The state when a chunk was sent: the bytes delivered by then, and when the last of them were."""

    at: int
    size: int
    delivered: int
    delivered_at: int


class Flow:
    """The window and the timeout of the path to one shard; bytes and nanoseconds."""

    def __init__(self, least_bytes: int, window_bytes_max: int, timeout_min_ns: int) -> None:
        self.window = least_bytes
        self.under_way = 0
        self._least, self._most = least_bytes, window_bytes_max
        self._timeout_min_ns = timeout_min_ns
        self._delivered, self._delivered_at = 0, 0
        self._rates: deque[float] = deque(maxlen=RATES_KEPT)
        self._shortest_ns: int | None = None
        self._round_trip = RoundTrip()
        self._backed_off = 0

    @property
    def timeout_ns(self) -> int:
        """How long to wait for a message before asking."""
        measured = self._round_trip.timeout_ns(self._timeout_min_ns, self._timeout_min_ns)
        return max(measured, min(measured << self._backed_off, TIMEOUT_NS_MAX))

    def has_room(self, size: int) -> bool:
        """Whether a piece may be sent now. One may always be in flight, however large."""
        return self.under_way == 0 or self.under_way + size <= self.window

    def send(self, size: int, now: int) -> Sent:
        """Notes that a piece is sent, first or again."""
        if self.under_way == 0:
            self._delivered_at = now  # nothing could have been delivered in the pause
        self.under_way += size
        return Sent(now, size, self._delivered, self._delivered_at)

    def lose(self, sent: Sent) -> None:
        """Notes that a piece is lost, and so no longer in flight."""
        self.under_way -= sent.size

    def deliver(self, sent: Sent, now: int, *, is_measure: bool) -> None:
        """Notes that a piece arrived; `is_measure`: its acknowledgement was prompt, and for this copy alone."""
        self.under_way -= sent.size
        self._delivered += sent.size
        self._delivered_at = now
        if is_measure:
            self._round_trip.measured(now - sent.at)
            self._shortest_ns = min(self._shortest_ns or now - sent.at, now - sent.at)
        took = now - sent.delivered_at
        if sent.delivered and took > 0:  # before the first answer, the window was not the limit
            self._rates.append((self._delivered - sent.delivered) / took)
        self.window = max(self._least, min(self.window + sent.size, self._limit()))

    def answer(self) -> None:
        """Notes that a message arrived: the link works, so lost chunks are asked for without delay."""
        self._backed_off = 0

    def back_off(self) -> None:
        """Doubles the timeout after a silence."""
        self._backed_off = min(self._backed_off + 1, BACK_OFF_MAX)

    def _limit(self) -> int:
        if not self._rates or self._shortest_ns is None:
            return self._most
        return min(self._most, int(max(self._rates) * (GAIN * self._shortest_ns + SLACK_NS)))

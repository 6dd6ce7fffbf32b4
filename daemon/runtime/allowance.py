"""Limits each peer's share of a thread's time: a token bucket per peer, in nanoseconds.

Members have keys and are largely trusted; but a compromised one may send well-formed messages as fast as it can. Beyond
its share, its messages are dropped unread for a moment, which costs next to nothing; members repeat every message that
matters.

>>> allowance = Allowance(share=0.25, burst_ns=100)
>>> allowance.spent("mallory", 90, now=0)
>>> allowance.exhausted("mallory", now=0), allowance.exhausted("alpha", now=0)
(False, False)
>>> allowance.spent("mallory", 50, now=0)
>>> allowance.exhausted("mallory", now=100), allowance.exhausted("mallory", now=200)
(True, False)
"""

from __future__ import annotations

from typing import Final

PEERS_MAX: Final = 4096


class Allowance:
    """The buckets of all peers of one thread, by name."""

    def __init__(self, share: float, burst_ns: int, silence_ns_max: int | None = None) -> None:
        """A peer may take `share` of the time, and `burst_ns` at once.

        A peer that has overdrawn its bucket is ignored until it has refilled, for at most `silence_ns_max`: for peers
        whose silence would count as their death.
        """
        self._share, self._burst = share, burst_ns
        self._debt_max = float("inf") if silence_ns_max is None else silence_ns_max * share
        self._buckets: dict[str, tuple[float, int]] = {}  # what is left, and when that was measured

    def spent(self, peer: str, nanoseconds: int, now: int) -> None:
        """Charges a peer for the time spent; a message is finished once begun, so the bucket may be overdrawn."""
        left, at = self._buckets.get(peer, (self._burst, now))
        if peer not in self._buckets and len(self._buckets) >= PEERS_MAX:
            self._buckets.clear()
        left = min(self._burst, left + (now - at) * self._share) - nanoseconds
        self._buckets[peer] = max(left, -self._debt_max), now

    def exhausted(self, peer: str, now: int) -> bool:
        """Whether the bucket is empty at present."""
        bucket = self._buckets.get(peer)
        return bucket is not None and bucket[0] + (now - bucket[1]) * self._share <= 0

"""How much of a thread's time the messages of one peer may take: a bucket each, of nanoseconds, that fills again.

Members have keys and are believed a good deal; but one that was broken into may say well-formed things as fast as it
can. Then its messages are dropped unread beyond its share, for a moment, which costs next to nothing; all that members
say is said again where it matters.

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
    """Of all peers of one thread, by name."""

    def __init__(self, share: float, burst_ns: int, silence_ns_max: int | None = None) -> None:
        """A peer may take `share` of the time, and `burst_ns` at once.

        What it has taken too much it is not heard for later; `silence_ns_max` is how long at the most, for those whose
        silence would be taken for their death.
        """
        self._share, self._burst = share, burst_ns
        self._debt_max = float("inf") if silence_ns_max is None else silence_ns_max * share
        self._buckets: dict[str, tuple[float, int]] = {}  # what is left, and when that was

    def spent(self, peer: str, nanoseconds: int, now: int) -> None:
        """So much was taken; a message is not left half-way, so more than there is may be."""
        left, at = self._buckets.get(peer, (self._burst, now))
        if peer not in self._buckets and len(self._buckets) >= PEERS_MAX:
            self._buckets.clear()
        left = min(self._burst, left + (now - at) * self._share) - nanoseconds
        self._buckets[peer] = max(left, -self._debt_max), now

    def exhausted(self, peer: str, now: int) -> bool:
        """Whether nothing is left for now."""
        bucket = self._buckets.get(peer)
        return bucket is not None and bucket[0] + (now - bucket[1]) * self._share <= 0

"""Local health: a member that receives few answers first doubts itself (Lifeguard section IV.A).

A slow or overloaded member processes acks late and, in plain SWIM, mistakes its own slowness for everyone else's death.
Lifeguard counts the signs of that in a Local Health Multiplier, a saturating counter from 0 (healthy) to S, and waits
(LHM + 1) times as long before it judges others:

    probe answered                                     -1
    probe failed, with no helper to ask                +1
    a helper asked to probe for us sent not even a Nack +1 each
    we had to refute a suspicion of ourselves           +1
    our own wake-up came far too late                   +1 (ours: the event loop was stuck or the process stopped)

As in memberlist, a failed probe whose helpers all sent their Nack does not count: their messages arrived in time, so
the target is the silent one.

>>> health = LocalHealth(maximum=8)
>>> health.scale(500)
500
>>> health.worsen(20)
>>> health.multiplier, health.scale(500)
(8, 4500)
"""

from __future__ import annotations


class LocalHealth:
    """The Local Health Multiplier. Invariant: 0 <= multiplier <= maximum."""

    __slots__ = ("_maximum", "_multiplier")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._multiplier = 0

    @property
    def multiplier(self) -> int:
        return self._multiplier

    def worsen(self, amount: int = 1) -> None:
        self._multiplier = min(self._maximum, self._multiplier + amount)

    def improve(self) -> None:
        self._multiplier = max(0, self._multiplier - 1)

    def scale(self, duration_ns: int) -> int:
        return duration_ns * (self._multiplier + 1)

    def validate(self) -> None:
        assert 0 <= self._multiplier <= self._maximum

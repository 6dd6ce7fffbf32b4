"""When a run asks for what is missing, and which of its ticks are checkpoints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TickTiming:
    """How long to wait before requesting a missing share, and before reporting a late shard."""

    resend_interval_ns: int = 200_000_000
    phase_timeout_ns: int = 30_000_000_000


@dataclass(frozen=True, slots=True)
class Cadence:
    """Which ticks are checkpoints, besides a run's last and the one from which it resumes.

    `ticks` above 0: the ticks divisible by it. 0: the tick after `interval_ns` since the last checkpoint. -1: no
    others.
    """

    ticks: int = -1
    interval_ns: int = 0

    def after(self, tick: int, last: int) -> int:
        """Returns the first checkpoint after `tick` of a run of `last` ticks, as far as it is known in advance."""
        return min(last, (tick // self.ticks + 1) * self.ticks) if self.ticks > 0 else last


COST_SHARE = 9
"""Between checkpoints by time pass at least this many times the cost of the last: they take at most a tenth of the
time.
"""

AT_THE_END = Cadence()

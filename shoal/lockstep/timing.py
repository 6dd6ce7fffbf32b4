"""When a run asks for what is missing, and which of its ticks are checkpoints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TickTiming:
    """How long to wait before asking for a missing share, and before naming the shard that is late."""

    resend_interval_ns: int = 200_000_000
    phase_timeout_ns: int = 30_000_000_000


@dataclass(frozen=True, slots=True)
class Cadence:
    """Which ticks are checkpoints, besides the one from which a run resumes and its last.

    `ticks` above 0: those divisible by it. 0: the one after `interval_ns` have passed since the last. -1: no others.
    """

    ticks: int = -1
    interval_ns: int = 0

    def after(self, tick: int, last: int) -> int:
        """The first checkpoint after `tick` of a run that does `last` ticks, as far as it can be known."""
        return min(last, (tick // self.ticks + 1) * self.ticks) if self.ticks > 0 else last


COST_SHARE = 9
"""A checkpoint by time is due no sooner than so many times what the last one took everybody: a tenth of all time."""

AT_THE_END = Cadence()

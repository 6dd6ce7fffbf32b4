"""Computes the time until the next tick from observations of a run.

A healthy daemon is polled every few milliseconds; an `Observation` is its answer. A tick committed right after a kill
may have been in progress (the dead shard's share had left), so the time of the next commit alone says nothing. If a
process has ended, recovery is the first tick seen committed *in a later view*: view and tick come from the same daemon,
and two successive observations must both be of that view. For faults that the cluster may survive without a new view (a
pause, a partition, delays) it is the longest standstill.

>>> seen = [Observation(0.0, 1, 4, 9), Observation(0.1, 1, 4, 10), Observation(2.0, 1, 5, 8), Observation(3.0, 1, 5, 9)]
>>> next_tick_in_later_view(seen, 0.0, epoch=4)
3.0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Observation:
    """What a daemon reported about the run, and when."""

    at: float
    shard: int
    epoch: int
    tick: int
    over: bool = False


def epoch_before(seen: Sequence[Observation], began: float) -> int:
    """Returns the view in which the fault occurred."""
    return max((one.epoch for one in seen if one.at <= began), default=0)


def next_tick_in_later_view(seen: Sequence[Observation], began: float, epoch: int) -> float | None:
    """Returns the seconds from the fault to the first tick committed in a later view, or None if none was seen."""
    for earlier, later in _commits(seen):
        if later.at > began and earlier.epoch == later.epoch > epoch:
            return later.at - began
    return None


def longest_standstill(seen: Sequence[Observation], began: float, until: float) -> float | None:
    """Returns the longest time without a commit, counted from the fault's begin at the earliest, that ends after it and
    by `until`, when it can still be due to this fault.
    """
    moments = [later.at for _, later in _commits(seen) if began < later.at <= until]
    return max((later - earlier for earlier, later in pairwise([began, *moments])), default=None)


def _commits(seen: Sequence[Observation]) -> Iterator[tuple[Observation, Observation]]:
    """Yields successive answers of one daemon between which a tick was committed."""
    for earlier, later in pairwise(seen):
        forward = later.tick > earlier.tick or (later.over and not earlier.over)
        if earlier.shard == later.shard and forward:
            yield earlier, later

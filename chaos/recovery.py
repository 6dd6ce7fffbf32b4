"""From what was seen of a run to how long it took until the next tick.

One daemon that is well is asked every few milliseconds; an `Observation` is its answer. A tick that is committed right
after a kill may have been under way (the dead shard's share had left), so that the time of the next commit alone says
nothing. Where a process has ended, what counts is the first tick that is seen to be committed *in a later view*: view
and tick come from the same daemon, and both of two successive observations have to be of that view. For faults which
the cluster may bear without a new view (a pause, a cut, delays) it is the longest standstill.

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
    """What a daemon said of the run, and when that was."""

    at: float
    shard: int
    epoch: int
    tick: int
    over: bool = False


def epoch_before(seen: Sequence[Observation], began: float) -> int:
    """Returns the view in which the fault struck."""
    return max((one.epoch for one in seen if one.at <= began), default=0)


def next_tick_in_later_view(seen: Sequence[Observation], began: float, epoch: int) -> float | None:
    """Returns the seconds from the fault to the first tick committed in a later view, or None if none was seen."""
    for earlier, later in _commits(seen):
        if later.at > began and earlier.epoch == later.epoch > epoch:
            return later.at - began
    return None


def longest_standstill(seen: Sequence[Observation], began: float, until: float) -> float | None:
    """The longest time without a commit that ends after the fault's begin, from there at the earliest, and not later
    than it can have to do with this fault."""
    moments = [later.at for _, later in _commits(seen) if began < later.at <= until]
    return max((later - earlier for earlier, later in pairwise([began, *moments])), default=None)


def _commits(seen: Sequence[Observation]) -> Iterator[tuple[Observation, Observation]]:
    """Returns successive answers of one daemon between which a tick was committed."""
    for earlier, later in pairwise(seen):
        forward = later.tick > earlier.tick or (later.over and not earlier.over)
        if earlier.shard == later.shard and forward:
            yield earlier, later

"""From which tick a run goes on in a new view: the highest whose state some member has, for every partition.

That is never below a checkpoint tick that was committed: every holder of each partition had it on disk before the
barrier of that tick could be passed, and at most R - 1 holders of any one partition are missing, or else it would be
lost and the run would not be asked about. Nothing below it was deleted before the next one was committed in the same
way. Tick 0 needs no state: a program's start gives the same values anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from daemon.protocol.decisions import StateSource, to_bits
from daemon.protocol.placement import Placed

StatesHeld: TypeAlias = Mapping[int, frozenset[int]]
"""Of one run: partitions by tick."""


def resumption(placed: Placed, reports: Mapping[str, StatesHeld]) -> tuple[int, tuple[StateSource, ...]]:
    """The tick, and who has the states that primaries lack. `reports` are all members', by name."""
    everything = frozenset(range(len(placed)))
    ticks = sorted({tick for held in reports.values() for tick in held}, reverse=True)
    for tick in ticks:
        if frozenset().union(*(held.get(tick, frozenset()) for held in reports.values())) >= everything:
            return tick, _sources(placed, reports, tick)
    return 0, ()


def _sources(placed: Placed, reports: Mapping[str, StatesHeld], tick: int) -> tuple[StateSource, ...]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for partition, holders in enumerate(placed):
        having = [name for name in reports if partition in reports[name].get(tick, ())]
        if holders[0] not in having:
            wanted[min(having)].append(partition)
    return tuple(StateSource(name, to_bits(wanted[name])) for name in sorted(wanted))

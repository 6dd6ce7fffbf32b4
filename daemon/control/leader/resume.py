"""From which tick a run goes on in a new view: the highest whose state some member has, for every partition.

All partitions' states have to be made in one epoch. Of most programs a tick is the same however the graph is cut, but
not of those that look for what is least or joined within a shard first: what one partition has not been told yet, the
other has to have left to tell.

That is never below a checkpoint tick that was committed: every holder of each partition had it on disk before the
barrier of that tick could be passed, and at most R - 1 holders of any one partition are missing, or else it would be
lost and the run would not be asked about. Nothing below it was deleted before the next one was committed in the same
way. Tick 0 needs no state: a program's start gives the same values anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from daemon.state.commands import StateSource, to_bits
from daemon.state.placement import Placed

Made: TypeAlias = tuple[int, int]
"""A tick, and the epoch in which it was made."""
StatesHeld: TypeAlias = Mapping[Made, frozenset[int]]
"""Of one run: partitions."""
FROM_THE_START: Made = (0, 0)


def resumption(placed: Placed, reports: Mapping[str, StatesHeld]) -> tuple[Made, tuple[StateSource, ...]]:
    """The tick, and who has the states that primaries lack. `reports` are all members', by name."""
    everything = frozenset(range(len(placed)))
    for made in sorted({made for held in reports.values() for made in held}, reverse=True):
        if frozenset().union(*(held.get(made, frozenset()) for held in reports.values())) >= everything:
            return made, _sources(placed, reports, made)
    return FROM_THE_START, ()


def _sources(placed: Placed, reports: Mapping[str, StatesHeld], made: Made) -> tuple[StateSource, ...]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for partition, holders in enumerate(placed):
        having = [name for name in reports if partition in reports[name].get(made, ())]
        if holders[0] not in having:
            wanted[min(having)].append(partition)
    return tuple(StateSource(name, to_bits(wanted[name])) for name in sorted(wanted))

"""Chooses the tick from which a run resumes in a new view: the highest that some member holds, for every partition.

All partitions' states have to come from one epoch. For most programs a tick is the same however the graph is
partitioned, but not for programs that first search for minima or components within a shard: there, what one partition
has yet to receive, another must have yet to send.

That tick is never below a committed checkpoint: every holder of each partition had the checkpoint on disk before the
barrier of that tick could be passed, and at most R - 1 holders of any one partition are missing; otherwise the
partition would be lost and the run would not resume. States below a checkpoint were deleted only after the next one
was committed in the same way. Tick 0 needs no state: a program's start gives the same values anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from daemon.state.commands import StateSource, to_bits
from daemon.state.placement import Placed

Made: TypeAlias = tuple[int, int]
"""A tick, and the epoch that made it."""
StatesHeld: TypeAlias = Mapping[Made, frozenset[int]]
"""One run's states, each with the partitions held."""
FROM_THE_START: Made = (0, 0)


def resumption(placed: Placed, reports: Mapping[str, StatesHeld]) -> tuple[Made, tuple[StateSource, ...]]:
    """Returns the tick, and the sources of states that primaries lack. `reports` are all members', by name."""
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

"""The barrier of one run in one view: a GCounter with one entry per shard, the number of phases it has completed.

Barrier k is passed when every member's entry, each one and never their sum, is at least k. Merging is idempotent and
accepts messages in any order, so lost, repeated and late messages do no harm, and any shard may relay any shard's
progress. The members are the view's and never change: shards that dropped a dead member at different moments would pass
different barriers. A restarted shard is a new generation and no member of the old view, so it is never credited with
the work of its former self.

Entries count phases from the start of a run: phase p of tick t is completed with entry 4t + p + 1. A phase that the
program does not use is complete as it starts, so entries jump.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crdt import GCounter
from shoal.program.phase import Phase

PHASES = len(Phase)
BY_NUMBER = tuple(Phase)


def entry_of(tick: int, phase: Phase) -> int:
    """The entry of a shard that has just completed this phase."""
    return PHASES * tick + phase + 1


def phase_of(entry: int) -> tuple[int, Phase]:
    """Which tick and phase an entry completes.

    >>> phase_of(entry_of(7, Phase.DECAY))
    (7, <Phase.DECAY: 2>)
    """
    return (entry - 1) // PHASES, BY_NUMBER[(entry - 1) % PHASES]


class Barrier:
    """How far each member has come. Members are names, in the view's order."""

    def __init__(self, members: Sequence[str]) -> None:
        self.members = tuple(members)
        self._entries = dict.fromkeys(self.members, 0)

    @property
    def counter(self) -> GCounter:
        """The barrier as the lattice that it is. Between messages it is a plain dict of the same entries: a step for
        each message would copy it each time.
        """
        return GCounter(self._entries)

    def advance(self, shard: str, entry: int) -> None:
        """A shard has completed phases up to `entry`; hearing it again, or hearing less, changes nothing."""
        if entry > self._entries.get(shard, entry):
            self._entries[shard] = entry

    def merge(self, entries: Iterable[tuple[str, int]]) -> None:
        """What somebody relays of everyone."""
        for shard, entry in entries:
            self.advance(shard, entry)

    def passed(self, entry: int) -> bool:
        """Whether every member has come to `entry`."""
        return min(self._entries.values()) >= entry

    def missing(self, entry: int) -> tuple[str, ...]:
        """Who has not."""
        return self.counter.missing(self.members, entry)

    def entry(self, shard: str) -> int:
        """How far one shard has come."""
        return self._entries.get(shard, 0)

    def entries(self) -> tuple[tuple[str, int], ...]:
        """Everyone's, in the view's order, to relay."""
        return tuple(self._entries.items())

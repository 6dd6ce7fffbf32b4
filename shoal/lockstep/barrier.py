"""The barrier of one run in one view: a GCounter with one entry per shard, the number of phases it has completed.

Source. The state-based G-Counter of Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and
Commutative Replicated Data Types" (INRIA RR-7506, 2011), section 3.1, Specification 6, and its deltas after Almeida,
Shoker, Baquero: "Delta state replicated data types" (2018). The barrier compares entries, never their sum.

An entry says that its shard has *completed* the phase. Only that shard raises it, and it means more than that the data
was sent: for a checkpoint's Advance it means that the tick is durable on every disk that holds the shard's partitions.
So data and entries travel separately:

    a phase's share           the data, and the delta {sender: entry} once the sender has completed the phase
    the next phase's share    that the sender has passed this barrier, and so everyone's entry: it replaces a whole
                              counter
    `BarrierRaised`           the sender's whole counter: when a checkpoint is held, and with each answer about a share
    progress gossip           anyone's entries, relayed by anyone on the control plane

A phase is passed once the merged counter has every member at its entry *and* the data of every member is here. The
counter may be ahead of the data (a share was lost and its entry relayed), and the data ahead of the counter (a
checkpoint is in progress, or the message about its end was lost). An entry may arrive by any route: merging is
idempotent and accepts messages in any order.

The members are the view's and never change: if shards dropped a dead member at different moments, they would pass
different barriers. A restarted shard is a new generation and not a member of the old view, so it never gets credit for
the work of its previous generation.

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
    """Returns the entry of a shard that has just completed this phase."""
    return PHASES * tick + phase + 1


def phase_of(entry: int) -> tuple[int, Phase]:
    """Returns the tick and the phase that an entry completes.

    >>> phase_of(entry_of(7, Phase.DECAY))
    (7, <Phase.DECAY: 2>)
    """
    return (entry - 1) // PHASES, BY_NUMBER[(entry - 1) % PHASES]


class Barrier:
    """Tracks the progress of each member. Members are names, in the view's order; other names have no entry."""

    __slots__ = ("_known", "counter", "members")

    def __init__(self, members: Sequence[str]) -> None:
        self.members = tuple(members)
        self.counter = GCounter()
        self._known = frozenset(members)

    def advance(self, shard: str, entry: int) -> None:
        """Merges a shard's own entry; a repeated or lower one changes nothing."""
        if shard in self._known:
            self.counter = self.counter.advanced(shard, entry)

    def merge(self, entries: Iterable[tuple[str, int]]) -> None:
        """Merges entries that a peer relays, or that follow from a share."""
        for shard, entry in entries:
            self.advance(shard, entry)

    def passed(self, entry: int) -> bool:
        """Whether every member has reached `entry`."""
        return self.counter.reached(self.members, entry)

    def missing(self, entry: int) -> tuple[str, ...]:
        """Returns the members whose entry is below `entry`."""
        return self.counter.missing(self.members, entry)

    def entry(self, shard: str) -> int:
        """Returns one shard's entry."""
        return self.counter.entry(shard)

    def entries(self) -> tuple[tuple[str, int], ...]:
        """Returns everyone's entry, in the view's order, to relay."""
        return tuple((member, self.counter.entry(member)) for member in self.members)

"""The barrier of one run in one view: a GCounter with one entry per shard, the number of phases it has completed.

Source. The state-based G-Counter of Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and
Commutative Replicated Data Types" (INRIA RR-7506, 2011), section 3.1, Specification 6, and its deltas after Almeida,
Shoker, Baquero: "Delta state replicated data types" (2018). What is compared are the entries, never their sum.

An entry says that its shard has *completed* the phase. It is raised by that shard alone, and it says more than that the
data is out: of a checkpoint's Advance, that the tick is durable on the disks of all who hold the shard's partitions.
So data and entry are two things:

    the share of a phase      the data, and the delta {sender: entry} once the sender has completed the phase
    a share of the phase      that the sender has passed this barrier, and so everyone's entry: it stands for a whole
    behind it                 counter
    `BarrierRaised`           the sender's whole counter: when a checkpoint is held, and with each answer about a share
    progress gossip           anyone's entries, relayed by anyone on the control plane

A phase is passed once the merged counter has every member at its entry *and* the data of every member is here. The
counter may be ahead of the data (a share was lost, and its entry relayed) and the data ahead of the counter (a
checkpoint is under way, or the word of its end was lost). Which way an entry comes makes no difference: merging is
idempotent and takes messages in any order.

The members are the view's and never change: shards that dropped a dead member at different moments would pass different
barriers. A restarted shard is a new generation and no member of the old view, so it is never credited with the work of
its former self.

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
    """Tracks how far each member has come. Members are names, in the view's order; nobody else has an entry."""

    __slots__ = ("_known", "counter", "members")

    def __init__(self, members: Sequence[str]) -> None:
        self.members = tuple(members)
        self.counter = GCounter()
        self._known = frozenset(members)

    def advance(self, shard: str, entry: int) -> None:
        """Merges what a shard says of itself; hearing it again, or hearing less, changes nothing."""
        if shard in self._known:
            self.counter = self.counter.advanced(shard, entry)

    def merge(self, entries: Iterable[tuple[str, int]]) -> None:
        """Merges what somebody relays of others, or what follows of them from a share."""
        for shard, entry in entries:
            self.advance(shard, entry)

    def passed(self, entry: int) -> bool:
        """Whether every member has come to `entry`."""
        return self.counter.reached(self.members, entry)

    def missing(self, entry: int) -> tuple[str, ...]:
        """Returns the members that have not come to `entry`."""
        return self.counter.missing(self.members, entry)

    def entry(self, shard: str) -> int:
        """Returns how far one shard has come."""
        return self.counter.entry(shard)

    def entries(self) -> tuple[tuple[str, int], ...]:
        """Returns everyone's entry, in the view's order, to relay."""
        return tuple((member, self.counter.entry(member)) for member in self.members)

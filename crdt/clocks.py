"""Clocks: which events a replica has seen (dots, vectors, contexts), and when they happened (hybrid logical time).

Purpose. A *dot* names one event, the n-th of a replica. A *version vector* says "all events of a up to 3, of b up to
7"; it can't express gaps. A *dot context* adds a cloud of dots beyond a gap, which occurs when deltas overtake one
another:

    events of a seen:   1 2 3 . 5 6       vector {a: 3}   cloud {a5, a6}
    then 4 arrives:     1 2 3 4 5 6       vector {a: 6}   cloud {}          compacted: the cloud only holds gaps

A *hybrid logical clock* issues timestamps that order causes before effects, as Lamport's do, and stay close to the wall
clock, so people and leases can use them.

Sources. Vectors: Parker et al., "Detection of mutual inconsistency in distributed systems" (IEEE TSE 9(3), 1983). Dots
and contexts: Almeida, Shoker, Baquero, "Delta state replicated data types" (JPDC 111, 2018), the part on causal
contexts. Hybrid clock: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks" (OPODIS 2014), the HLC
algorithm and its theorems.

Left out. Vectors never forget a replica, so they have one entry per replica name ever used. If replicas are named by
generation, start a fresh value with each view to drop the old names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from crdt.lattice import (
    COUNT_MAX,
    checked_count,
    checked_replica,
    counts_within,
    merged_counts,
    normal_counts,
)

LOGICAL_MAX = 2**32 - 1
"""The most events on one wall-clock reading before the clock steps to the next nanosecond; the paper packs 16 bits,
which suits its coarser wall clock."""


class ClockDrift(ValueError):
    """Raised for a timestamp too far in the future: the sender's clock is wrong, or the sender lies."""


@dataclass(frozen=True, slots=True, order=True)
class Dot:
    """The `counter`-th event of `replica`, from 1 (Almeida 2018, causal contexts).

    >>> Dot("a", 2) < Dot("b", 1)
    True
    """

    replica: str
    counter: int

    def __post_init__(self) -> None:
        checked_replica(self.replica)
        checked_count(self.counter, least=1)


@dataclass(frozen=True, slots=True)
class VersionVector:
    """All events of each replica up to a number (Parker et al. 1983).

    >>> mine, theirs = VersionVector({"a": 2}), VersionVector({"a": 1, "b": 1})
    >>> mine.concurrent(theirs), mine.merge(theirs)
    (True, VersionVector(entries={'a': 2, 'b': 1}))
    """

    entries: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", normal_counts(self.entries))

    @classmethod
    def _of(cls, entries: Mapping[str, int]) -> Self:
        """Builds a vector from entries that are already in normal form."""
        vector = object.__new__(cls)
        object.__setattr__(vector, "entries", entries)
        return vector

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def __le__(self, other: Self) -> bool:
        return counts_within(self.entries, other.entries)

    def __contains__(self, dot: Dot) -> bool:
        return dot.counter <= self.entries.get(dot.replica, 0)

    def entry(self, replica: str) -> int:
        """Returns the number of the last event seen from `replica`; zero if none was."""
        return self.entries.get(replica, 0)

    def concurrent(self, other: Self) -> bool:
        """Whether each vector contains an event that the other lacks."""
        return not self <= other and not other <= self

    def merge(self, other: Self) -> Self:
        """Returns the union of both vectors' events."""
        merged = merged_counts(self.entries, other.entries)
        return self if merged is self.entries else self._of(merged)

    def increment(self, replica: str) -> Self:
        """Returns the vector with one more event of `replica`."""
        return self.merge(self.increment_delta(replica))

    def increment_delta(self, replica: str) -> Self:
        """The delta of `increment`: that replica's entry. As a vector it also includes the replica's earlier events."""
        return type(self)({replica: self.entry(replica) + 1})


@dataclass(frozen=True, slots=True)
class DotContext:
    """A set of dots, stored as a vector and the dots beyond its gaps (Almeida 2018, causal contexts).

    Invariant: no dot of the cloud is in the vector or next after it, so each set of dots has exactly one form.

    >>> early = DotContext(cloud=frozenset([Dot("a", 2)]))
    >>> early
    DotContext(vector=VersionVector(entries={}), cloud=frozenset({Dot(replica='a', counter=2)}))
    >>> early.merge(DotContext(cloud=frozenset([Dot("a", 1)])))
    DotContext(vector=VersionVector(entries={'a': 2}), cloud=frozenset())
    """

    vector: VersionVector = field(default_factory=VersionVector)
    cloud: frozenset[Dot] = frozenset()

    def __post_init__(self) -> None:
        reach = dict(self.vector.entries)
        beyond = []
        for dot in sorted(self.cloud):  # ascending, so one pass closes every gap that can be closed
            seen = reach.get(dot.replica, 0)
            if dot.counter == seen + 1:
                reach[dot.replica] = dot.counter
            elif dot.counter > seen:
                beyond.append(dot)
        if reach != self.vector.entries:
            object.__setattr__(self, "vector", VersionVector(reach))
        object.__setattr__(self, "cloud", frozenset(beyond))

    def __contains__(self, dot: Dot) -> bool:
        return dot in self.vector or dot in self.cloud

    def __le__(self, other: Self) -> bool:
        # A gap of `other` is never closed by its own cloud, so a vector entry within `other` is within its vector.
        return self.vector <= other.vector and all(dot in other for dot in self.cloud)

    def merge(self, other: Self) -> Self:
        """Returns the union of both sets of dots, compacted."""
        return type(self)(self.vector.merge(other.vector), self.cloud | other.cloud)

    def next_dot(self, replica: str) -> Dot:
        """Returns a dot of `replica` above all of its dots here. Only `replica` itself may call this."""
        beyond = [dot.counter for dot in self.cloud if dot.replica == replica]
        return Dot(replica, max(self.vector.entry(replica), *beyond, 0) + 1)

    def add(self, dot: Dot) -> Self:
        """Returns the context with `dot` added."""
        return self.merge(self.add_delta(dot))

    def add_delta(self, dot: Dot) -> Self:
        """The delta of `add`: that dot alone, without those before it."""
        return type(self)(cloud=frozenset((dot,)))


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A reading of a hybrid logical clock; totally ordered, because the replica's name breaks ties.

    The paper's (l, c), followed by the name. A timestamp without a name is not an event but a lower bound of its
    reading; `Timestamp()` is below everything.

    >>> Timestamp(5, 0, "b") < Timestamp(5, 1, "a") < Timestamp(6, 0, "a")
    True
    """

    wall_ns: int = 0
    logical: int = 0
    replica: str = ""

    def __post_init__(self) -> None:
        checked_count(self.wall_ns)
        checked_count(self.logical)
        if self.logical > LOGICAL_MAX:
            raise ValueError(f"a timestamp's logical part must be at most {LOGICAL_MAX}, not {self.logical}")
        if self.replica != "":
            checked_replica(self.replica)


@dataclass(frozen=True, slots=True)
class HybridLogicalClock:
    """The clock of one replica, as an immutable value: each event returns the next clock, whose `stamp` is the event's.

    `now` is the caller's reading of the *wall* clock in nanoseconds (monotonic clocks of different machines are not
    comparable); it may stand still or go back. Kulkarni et al. 2014, the HLC algorithm: `tick` is its "send or local
    event", `receive` its "receive event".

    Invariants: a clock's stamps strictly increase; a stamp is never below `now`, and never above the highest wall clock
    that any earlier event has read (theorems 2 and 3), except by one nanosecond per LOGICAL_MAX + 1 events.

    >>> sender = HybridLogicalClock("a").tick(now=100)
    >>> receiver = HybridLogicalClock("b").receive(sender.stamp, now=40, drift_max_ns=1_000)
    >>> receiver.stamp
    Timestamp(wall_ns=100, logical=1, replica='b')
    >>> receiver.tick(now=150).stamp
    Timestamp(wall_ns=150, logical=0, replica='b')
    """

    replica: str
    wall_ns: int = 0
    logical: int = 0

    def __post_init__(self) -> None:
        checked_replica(self.replica)
        Timestamp(self.wall_ns, self.logical, self.replica)

    @property
    def stamp(self) -> Timestamp:
        """Returns the timestamp of the last event."""
        return Timestamp(self.wall_ns, self.logical, self.replica)

    def tick(self, now: int) -> Self:
        """Returns the clock after a local event or the sending of a message."""
        if now > self.wall_ns:
            return self._at(now, 0)
        return self._at(self.wall_ns, self.logical + 1)

    def receive(self, stamp: Timestamp, now: int, drift_max_ns: int) -> Self:
        """Returns the clock after receiving `stamp`. Raises ClockDrift if it is over `drift_max_ns` ahead.

        The paper also ignores such messages. Otherwise one machine with a wrong clock would drag all others into the
        future for good.
        """
        if stamp.wall_ns - now > drift_max_ns:
            ahead_ns = stamp.wall_ns - now
            raise ClockDrift(f"{stamp.replica!r} is {ahead_ns} ns ahead; at most {drift_max_ns} are accepted")
        wall_ns = max(self.wall_ns, stamp.wall_ns, now)
        logicals = [self.logical] if wall_ns == self.wall_ns else []
        if wall_ns == stamp.wall_ns:
            logicals.append(stamp.logical)
        return self._at(wall_ns, max(logicals) + 1 if logicals else 0)

    def _at(self, wall_ns: int, logical: int) -> Self:
        if logical > LOGICAL_MAX:  # only after a peer sent a stamp near the limit: still increases, by one nanosecond
            wall_ns, logical = wall_ns + 1, 0
        assert wall_ns <= COUNT_MAX, "wall clock beyond the year 2262"
        return type(self)(self.replica, wall_ns, logical)

"""Clocks: what has been seen (dots, vectors, contexts), and when it was (hybrid logical time).

Purpose. A *dot* names one event: the n-th of a replica. A *version vector* says "all events of a up to 3, of b up to
7"; it is the shape of knowledge that has no gaps. A *dot context* is a vector and a cloud of dots beyond a gap, which a
replica has when deltas overtake one another:

    events of a seen:   1 2 3 . 5 6       vector {a: 3}   cloud {a5, a6}
    then 4 arrives:     1 2 3 4 5 6       vector {a: 6}   cloud {}          compacted: the cloud only holds gaps

A *hybrid logical clock* gives timestamps that order causes before effects, as Lamport's do, and stay close to the wall
clock, so that people and leases can read them.

Sources. Vectors: Parker et al., "Detection of mutual inconsistency in distributed systems" (IEEE TSE 9(3), 1983).
Dots and contexts: Almeida, Shoker, Baquero, "Delta state replicated data types" (JPDC 111, 2018), the part on causal
contexts. Hybrid clock: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks" (OPODIS 2014), the HLC
algorithm and its theorems.

Left out. Vectors never forget a replica: their size is the number of replica names ever used. Whoever names replicas
by generation starts a fresh value with each view, or pays for the old names.
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
    """A timestamp from further in the future than clocks may differ: its sender's clock is wrong, or it lies."""


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
        """From entries that are known to be normal."""
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
        """The last event of `replica` that was seen; zero for none."""
        return self.entries.get(replica, 0)

    def concurrent(self, other: Self) -> bool:
        """Whether each has seen something that the other has not."""
        return not self <= other and not other <= self

    def merge(self, other: Self) -> Self:
        """What either has seen."""
        merged = merged_counts(self.entries, other.entries)
        return self if merged is self.entries else self._of(merged)

    def increment(self, replica: str) -> Self:
        """With one more event of `replica`."""
        return self.merge(self.increment_delta(replica))

    def increment_delta(self, replica: str) -> Self:
        """The delta of `increment`: that replica's entry. As a vector it claims the replica's earlier events too."""
        return type(self)({replica: self.entry(replica) + 1})


@dataclass(frozen=True, slots=True)
class DotContext:
    """A set of dots, kept as a vector and the dots beyond its gaps (Almeida 2018, causal contexts).

    Invariants: no dot of the cloud is in the vector or just behind it, so one set of dots has one form.

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
        for dot in sorted(self.cloud):  # ascending, so that one pass closes every gap that can be closed
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
        """The union of both sets of dots, compacted."""
        return type(self)(self.vector.merge(other.vector), self.cloud | other.cloud)

    def next_dot(self, replica: str) -> Dot:
        """A dot of `replica` that is above all of its dots here. Only `replica` itself may ask."""
        beyond = [dot.counter for dot in self.cloud if dot.replica == replica]
        return Dot(replica, max(self.vector.entry(replica), *beyond, 0) + 1)

    def add(self, dot: Dot) -> Self:
        """With `dot` seen."""
        return self.merge(self.add_delta(dot))

    def add_delta(self, dot: Dot) -> Self:
        """The delta of `add`: that dot alone, and not those before it."""
        return type(self)(cloud=frozenset((dot,)))


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A reading of a hybrid logical clock; a total order, with the replica's name to part equal readings.

    The paper's (l, c), with the name behind. Without a name it is no event but a bound, below all of the same reading;
    `Timestamp()` is below everything.

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
    """The clock of one replica, as a value: each event gives the next clock, whose `stamp` is the event's.

    `now` is the *wall* clock in nanoseconds (a monotonic one means nothing to other machines), read by the caller; it
    may stand still or go back. Kulkarni et al. 2014, the HLC algorithm: `tick` is its "send or local event", `receive`
    its "receive event".

    Invariants: a clock's stamps strictly rise; a stamp is never below `now`, and never above the highest wall clock
    that any event before it has read (theorems 2 and 3), but for one nanosecond per LOGICAL_MAX + 1 events.

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
        """The timestamp of the last event."""
        return Timestamp(self.wall_ns, self.logical, self.replica)

    def tick(self, now: int) -> Self:
        """The clock after an event of its own, or the sending of a message."""
        if now > self.wall_ns:
            return self._at(now, 0)
        return self._at(self.wall_ns, self.logical + 1)

    def receive(self, stamp: Timestamp, now: int, drift_max_ns: int) -> Self:
        """The clock after a message that bore `stamp`; ClockDrift when that is over `drift_max_ns` ahead of `now`.

        The paper ignores such messages too: else one machine with a wrong clock drags all others into the future, and
        they would stay there.
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
        if logical > LOGICAL_MAX:  # only after a peer sent a stamp near the limit: still rises, a nanosecond ahead
            wall_ns, logical = wall_ns + 1, 0
        assert wall_ns <= COUNT_MAX, "wall clock beyond the year 2262"
        return type(self)(self.replica, wall_ns, logical)

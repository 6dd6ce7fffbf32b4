"""Counters: one that only grows (Shoal's barrier), and one that goes both ways.

Purpose. A GCounter maps each replica to its progress. Each replica raises only its own entry, so the pointwise maximum
of two copies has the newest entries of both, however late or often a copy arrives.

A barrier compares entries, never their sum: three phases completed by one shard have the same sum as one phase
completed by each of three. `value` is for counting things, `reached` is for barriers.

    entries   a: 4   b: 3   c: 4        reached({a, b, c}, 3)  yes: each of them is at 3 or beyond
                                        reached({a, b, c}, 4)  no:  missing is ("b",), though the sum is 11

Source. Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data
Types" (INRIA RR-7506, 2011), section 3.1: G-Counter (Specification 6) and PN-Counter (Specification 7). Deltas:
Almeida, Shoker, Baquero: "Delta state replicated data types" (2018), the GCounter and PNCounter of its portfolio.

Invariants. Entries are sorted by replica, from 1 to 2**63 - 1; an absent entry is zero. Two replicas must never use the
same name, nor may a restarted one that has lost its entry: give each start a new name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from crdt.lattice import COUNT_MAX, checked_count, checked_replica, counts_within, merged_counts, normal_counts


@dataclass(frozen=True, slots=True)
class GCounter:
    """A counter that only grows: RR-7506, section 3.1, Specification 6. Hot paths: `merge`, `advanced`, `reached`.

    >>> here, there = GCounter().increment("a", 2), GCounter().increment("b")
    >>> here.merge(there).value
    3
    >>> here.merge(here) == here
    True
    """

    entries: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", normal_counts(self.entries))

    @classmethod
    def _of(cls, entries: Mapping[str, int]) -> Self:
        """Builds a counter from entries in normal form, without checks: the barrier's hot path."""
        counter = object.__new__(cls)
        _SET_ENTRIES(counter, entries)
        return counter

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def __le__(self, other: Self) -> bool:
        return counts_within(self.entries, other.entries)

    @property
    def value(self) -> int:
        """Returns the sum of all entries. Not for barriers."""
        return sum(self.entries.values())

    def entry(self, replica: str) -> int:
        """Returns the entry of `replica`; zero if it has none."""
        return self.entries.get(replica, 0)

    def merge(self, other: Self) -> Self:
        """Returns the pointwise maximum; this very object if `other` adds nothing."""
        merged = merged_counts(self.entries, other.entries)
        return self if merged is self.entries else self._of(merged)

    def increment(self, replica: str, by: int = 1) -> Self:
        """Returns the counter with the entry of `replica` raised by `by`."""
        return self.merge(self.increment_delta(replica, by))

    def increment_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `increment`: the raised entry alone.

        >>> GCounter({"a": 4, "b": 7}).increment_delta("a", 2)
        GCounter(entries={'a': 6})
        """
        return self.advanced_delta(replica, self.entry(replica) + checked_count(by))

    def advanced(self, replica: str, to: int) -> Self:
        """Returns the counter with the entry of `replica` raised to `to`, unless it is already higher."""
        known = self.entries.get(replica)
        if known is None or type(to) is not int or not 0 < to <= COUNT_MAX:
            return self.merge(self.advanced_delta(replica, to))
        if to <= known:
            return self
        entries = dict(self.entries)  # every step of a barrier takes this branch: a tenth of the cost of a merge
        entries[replica] = to
        counter = object.__new__(type(self))
        _SET_ENTRIES(counter, entries)
        return counter

    def advanced_delta(self, replica: str, to: int) -> Self:
        """The delta of `advanced`: one entry, all that a shard has to push."""
        checked_replica(replica)
        return self._of({replica: to} if checked_count(to) else {})

    def reached(self, members: Iterable[str], k: int) -> bool:
        """Whether each of `members` is at `k` or beyond (true if there are none); other replicas do not count.

        >>> GCounter({"a": 3}).value, GCounter({"a": 3}).reached(["a", "b", "c"], 1)
        (3, False)
        """
        entry = self.entries.get
        for member in members:  # noqa: SIM110 - half the price of a generator
            if entry(member, 0) < k:
                return False
        return True

    def missing(self, members: Iterable[str], k: int) -> tuple[str, ...]:
        """Returns the `members` below `k`, sorted: the names that the report of a stuck phase gives.

        >>> GCounter({"a": 2, "b": 1}).missing(["c", "b", "a"], 2)
        ('b', 'c')
        """
        entry = self.entries.get
        return tuple(sorted({member for member in members if entry(member, 0) < k}))


_SET_ENTRIES: Final = GCounter.__dict__["entries"].__set__
"""Bypasses the lock of a frozen class, at half the cost of `object.__setattr__`."""


@dataclass(frozen=True, slots=True)
class PNCounter:
    """A counter that goes both ways: a GCounter of increments and one of decrements (RR-7506, Specification 7).

    Its value may be negative; a floor would need agreement between the replicas.

    >>> PNCounter().increment("a", 5).decrement("b", 2).value
    3
    """

    positive: GCounter = field(default_factory=GCounter)
    negative: GCounter = field(default_factory=GCounter)

    def __le__(self, other: Self) -> bool:
        return self.positive <= other.positive and self.negative <= other.negative

    @property
    def value(self) -> int:
        """Returns increments minus decrements."""
        return self.positive.value - self.negative.value

    def merge(self, other: Self) -> Self:
        """Merges both halves: a product of lattices is a lattice."""
        return type(self)(self.positive.merge(other.positive), self.negative.merge(other.negative))

    def increment(self, replica: str, by: int = 1) -> Self:
        """Returns the counter with `by` (not negative) added by `replica`."""
        return self.merge(self.increment_delta(replica, by))

    def increment_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `increment`."""
        return type(self)(positive=self.positive.increment_delta(replica, by))

    def decrement(self, replica: str, by: int = 1) -> Self:
        """Returns the counter with `by` (not negative) subtracted by `replica`."""
        return self.merge(self.decrement_delta(replica, by))

    def decrement_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `decrement`."""
        return type(self)(negative=self.negative.increment_delta(replica, by))

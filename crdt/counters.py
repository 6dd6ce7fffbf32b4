"""Counters: one that only grows (and is Shoal's barrier), and one that goes both ways.

Purpose. A GCounter is a map from replica to how far that replica has come. Each replica raises its own entry only, so
the pointwise maximum of two copies is the newest knowledge of both, however late or often a copy arrives.

As a barrier, the entries are what counts, never their sum: three phases completed by one shard add up to as much as
one phase completed by each of three. `value` is for counting things, `reached` is for barriers.

    entries   a: 4   b: 3   c: 4        reached({a, b, c}, 3)  yes: each of them is at 3 or beyond
                                        reached({a, b, c}, 4)  no:  missing is ("b",), though the sum is 11

Source. Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data
Types" (INRIA RR-7506, 2011), section 3.1: G-Counter (Specification 6) and PN-Counter (Specification 7). Deltas:
Almeida, Shoker, Baquero: "Delta state replicated data types" (2018), the GCounter and PNCounter of its portfolio.

Invariants. Entries are sorted by replica, from 1 to 2**63 - 1; an absent entry is zero. A name must never be used by
two replicas at once, nor by a restarted one that has forgotten its entry: give each start a name of its own.
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
        """From entries that are known to be normal: the barrier's path, which must not check them all again."""
        counter = object.__new__(cls)
        _SET_ENTRIES(counter, entries)
        return counter

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def __le__(self, other: Self) -> bool:
        return counts_within(self.entries, other.entries)

    @property
    def value(self) -> int:
        """The sum of all entries. Not for barriers."""
        return sum(self.entries.values())

    def entry(self, replica: str) -> int:
        """How far `replica` has come; zero for one that was never heard of."""
        return self.entries.get(replica, 0)

    def merge(self, other: Self) -> Self:
        """The newest of both for each replica; this very object when `other` brings nothing new."""
        merged = merged_counts(self.entries, other.entries)
        return self if merged is self.entries else self._of(merged)

    def increment(self, replica: str, by: int = 1) -> Self:
        """With the entry of `replica` raised by `by`."""
        return self.merge(self.increment_delta(replica, by))

    def increment_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `increment`: the raised entry alone.

        >>> GCounter({"a": 4, "b": 7}).increment_delta("a", 2)
        GCounter(entries={'a': 6})
        """
        return self.advanced_delta(replica, self.entry(replica) + checked_count(by))

    def advanced(self, replica: str, to: int) -> Self:
        """With the entry of `replica` at `to`, or where it is when that is further: an entry never goes back."""
        known = self.entries.get(replica)
        if known is None or type(to) is not int or not 0 < to <= COUNT_MAX:
            return self.merge(self.advanced_delta(replica, to))
        if to <= known:
            return self
        entries = dict(self.entries)  # every step of a barrier comes here: a tenth of what the merge costs
        entries[replica] = to
        counter = object.__new__(type(self))
        _SET_ENTRIES(counter, entries)
        return counter

    def advanced_delta(self, replica: str, to: int) -> Self:
        """The delta of `advanced`: one entry, which is all that a shard needs to push."""
        checked_replica(replica)
        return self._of({replica: to} if checked_count(to) else {})

    def reached(self, members: Iterable[str], k: int) -> bool:
        """Whether each of `members` is at `k` or beyond (true of no members at all); others do not count.

        >>> GCounter({"a": 3}).value, GCounter({"a": 3}).reached(["a", "b", "c"], 1)
        (3, False)
        """
        entry = self.entries.get
        for member in members:  # noqa: SIM110 - half the price of a generator
            if entry(member, 0) < k:
                return False
        return True

    def missing(self, members: Iterable[str], k: int) -> tuple[str, ...]:
        """Those of `members` that have not come to `k`, sorted: the names a stuck phase is reported with.

        >>> GCounter({"a": 2, "b": 1}).missing(["c", "b", "a"], 2)
        ('b', 'c')
        """
        entry = self.entries.get
        return tuple(sorted({member for member in members if entry(member, 0) < k}))


_SET_ENTRIES: Final = GCounter.__dict__["entries"].__set__
"""Past the lock of a frozen class, at half the price of `object.__setattr__`."""


@dataclass(frozen=True, slots=True)
class PNCounter:
    """A counter that goes both ways: what was added and what was taken, each a GCounter (RR-7506, Specification 7).

    Its value may pass below zero; a floor would need agreement between the replicas.

    >>> PNCounter().increment("a", 5).decrement("b", 2).value
    3
    """

    positive: GCounter = field(default_factory=GCounter)
    negative: GCounter = field(default_factory=GCounter)

    def __le__(self, other: Self) -> bool:
        return self.positive <= other.positive and self.negative <= other.negative

    @property
    def value(self) -> int:
        """What was added less what was taken."""
        return self.positive.value - self.negative.value

    def merge(self, other: Self) -> Self:
        """Both halves merged: a product of lattices is a lattice."""
        return type(self)(self.positive.merge(other.positive), self.negative.merge(other.negative))

    def increment(self, replica: str, by: int = 1) -> Self:
        """With `by` more, added by `replica`; `by` is not negative."""
        return self.merge(self.increment_delta(replica, by))

    def increment_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `increment`."""
        return type(self)(positive=self.positive.increment_delta(replica, by))

    def decrement(self, replica: str, by: int = 1) -> Self:
        """With `by` less, taken by `replica`; `by` is not negative."""
        return self.merge(self.decrement_delta(replica, by))

    def decrement_delta(self, replica: str, by: int = 1) -> Self:
        """The delta of `decrement`."""
        return type(self)(negative=self.negative.increment_delta(replica, by))

"""The laws of a join semilattice, and maps into one, on which half of this package is built.

Purpose. Replicas change their own copies without coordination and exchange them in any order, with losses and repeats.
They converge if the copies are elements of a join semilattice and every change moves upwards in it.

Source. Shapiro, Preguiça, Baquero, Zawirski: "Conflict-free Replicated Data Types" (SSS 2011), section 2: state-based
objects, Theorem 1. For deltas: Almeida, Shoker, Baquero: "Delta state replicated data types" (JPDC 111, 2018),
Definitions 1 to 3 (delta-mutator, delta-group, delta-CRDT).

The laws, for all a, b, c of one lattice:

    idempotent     a.merge(a) == a
    commutative    a.merge(b) == b.merge(a)
    associative    a.merge(b).merge(c) == a.merge(b.merge(c))
    order          a <= b  exactly when  a.merge(b) == b
    upper bound    a <= a.merge(b)
    bottom         T() <= a: a type called without arguments is its least element
    delta          x.add(e) == x.merge(x.add_delta(e)), and x <= x.add(e)

    a       b          merge is the least value above both; a value only ever moves up,
     \\     /          so a message that is old, or comes twice, changes nothing.
    a.merge(b)

Names. A mutator `verb(...)` returns the whole new value; its delta mutator `verb_delta(...)` returns a small value of
the same lattice to send to others. Neither changes the value it is called on.

Each type keeps one normal form (no zero entries, sorted keys, compacted contexts), so two values of the same element
are `==` and have the same hash and bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Protocol, Self, TypeVar

COUNT_MAX = 2**63 - 1
"""The largest count of an entry: a signed 64-bit integer, which every language can hold."""


class Lattice(Protocol):
    """An immutable element of a join semilattice; the laws are in the module's docstring.

    >>> from crdt.counters import GCounter
    >>> low: Lattice = GCounter({"a": 1})
    """

    def merge(self, other: Self) -> Self:
        """Returns the least upper bound of both."""
        ...

    def __le__(self, other: Self) -> bool:
        """Whether `other` contains everything in this value."""
        ...

    def __eq__(self, other: object) -> bool:
        """Whether both are the same element: `<=` and `>=`."""
        ...


L = TypeVar("L", bound=Lattice)


def join(first: L, *others: L) -> L:
    """Returns the least upper bound of one or more values: a delta-group, if they are deltas (Almeida 2018, Definition
    2).

    >>> from crdt.counters import GCounter
    >>> join(GCounter({"a": 1}), GCounter({"b": 2}), GCounter({"a": 3}))
    GCounter(entries={'a': 3, 'b': 2})
    """
    return reduce(lambda left, right: left.merge(right), others, first)


def checked_replica(replica: str) -> str:
    """Returns `replica` if it can name a replica: text, not empty, encodable in UTF-8."""
    if type(replica) is not str:
        raise TypeError(f"a replica's name is a str, not {type(replica).__name__}")
    if not replica:
        raise ValueError("a replica's name must not be empty")
    replica.encode()  # UTF-8 can't encode a lone surrogate: refuse it here, where the caller sees it, not when sending
    return replica


def checked_count(count: int, *, least: int = 0) -> int:
    """Returns `count` if it is an integer (not a bool) from `least` to COUNT_MAX."""
    if type(count) is not int:
        raise TypeError(f"a count is an int, not {type(count).__name__}")
    if not least <= count <= COUNT_MAX:
        raise ValueError(f"a count must be from {least} to {COUNT_MAX}, not {count}")
    return count


def normal_counts(entries: Mapping[str, int] | Iterable[tuple[str, int]]) -> dict[str, int]:
    """Returns the normal form of a map from replica to count: checked, sorted by name, without zeros.

    An absent entry means zero; keeping both forms would make equal values unequal.

    >>> normal_counts({"b": 1, "c": 0, "a": 2})
    {'a': 2, 'b': 1}
    """
    pairs = sorted(dict(entries).items())
    return {checked_replica(replica): count for replica, count in pairs if checked_count(count)}


def merged_counts(left: Mapping[str, int], right: Mapping[str, int]) -> Mapping[str, int]:
    """Returns the pointwise maximum of two normal maps; `left` itself when `right` adds nothing.

    A map into a lattice, ordered pointwise, is a lattice (Almeida 2018, "named delta-CRDTs"). Most merges at a barrier
    add nothing, or raise an existing entry; neither needs a sort.
    """
    raised = [(replica, count) for replica, count in right.items() if left.get(replica, 0) < count]
    if not raised:
        return left
    merged = dict(left)
    merged.update(raised)
    return merged if len(merged) == len(left) else dict(sorted(merged.items()))


def counts_within(left: Mapping[str, int], right: Mapping[str, int]) -> bool:
    """Whether `left` is pointwise at most `right`."""
    return all(count <= right.get(replica, 0) for replica, count in left.items())

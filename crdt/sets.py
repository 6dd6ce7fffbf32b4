"""A set in which an add wins over a concurrent removal, without tombstones.

Purpose. Any replica may add and remove elements. A removal removes only the adds that its replica had seen: a
concurrent add survives.

Intuition. Each add is a dot, (replica, n). An element is present while it has a dot. A replica also keeps the context:
all dots it has ever seen, which compacts to one number per replica. A dot that is in the context but has no element was
removed, so a removed element needs no other record.

    mine    {x: a1}   seen a1         A merge keeps a dot that both have, or that one has and the other has not seen:
    theirs  {}        seen a1, b1     a1 goes (they saw it and dropped it).

Sources. Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte: "An optimized conflict-free replicated set"
(INRIA RR-8083, 2012), the optimized OR-set: no tombstones, and an add replaces the element's earlier dots. Deltas:
Almeida, Shoker, Baquero: "Delta state replicated data types" (JPDC 111, 2018), the add-wins set among the causal
delta-CRDTs: a delta has its own context, with the dots it creates and those it replaces.

Cost. Mutators and merges copy the map: linear in the elements, intended for thousands, not for a graph's nodes. The
context has one entry per replica name ever used, and a dot for each event beyond a gap while deltas are missing.

Invariants: entries are sorted, each has a dot, no dot belongs to two elements, and all dots are in the context. Only
one replica at a time uses a name, and a restarted one recovers its state or takes a new name, because two adds with the
same dot count as one. A delta's context may have gaps; the next full state repairs a lost delta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from crdt.clocks import Dot, DotContext
from crdt.values import Value, freeze, thaw

NO_DOTS: frozenset[Dot] = frozenset()


@dataclass(frozen=True, slots=True)
class ORSet:
    """An add-wins observed-remove set (Bieniusa et al. 2012, with the deltas of Almeida et al. 2018).

    `entries` maps each element's frozen bytes to its dots; `context` is all dots ever seen.

    >>> start = ORSet().add("x", "a")
    >>> removed, added = start.remove("x"), start.add("x", "b")
    >>> "x" in removed, "x" in removed.merge(added)
    (False, True)
    >>> removed.context, len(removed.entries)
    (DotContext(vector=VersionVector(entries={'a': 1}), cloud=frozenset()), 0)
    """

    entries: Mapping[bytes, frozenset[Dot]] = field(default_factory=dict)
    context: DotContext = field(default_factory=DotContext)

    def __post_init__(self) -> None:
        entries = {element: frozenset(dots) for element, dots in sorted(self.entries.items()) if dots}
        alive = frozenset().union(*entries.values())
        if len(alive) != sum(map(len, entries.values())):
            raise ValueError("a dot belongs to two elements")
        if not all(dot in self.context for dot in alive):
            raise ValueError("an element's dot is not in the context")
        object.__setattr__(self, "entries", entries)

    @classmethod
    def _of(cls, entries: Mapping[bytes, frozenset[Dot]], context: DotContext) -> Self:
        """Builds a set from parts that satisfy the invariants."""
        result = object.__new__(cls)
        object.__setattr__(result, "entries", entries)
        object.__setattr__(result, "context", context)
        return result

    def __hash__(self) -> int:
        return hash((tuple(self.entries.items()), self.context))

    def __le__(self, other: Self) -> bool:
        # `other` has seen all that we have, and has not restored a dot that we know was removed
        return self.context <= other.context and all(
            dot in self.entries.get(element, NO_DOTS)
            for element, dots in other.entries.items()
            for dot in dots
            if dot in self.context
        )

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, element: Value) -> bool:
        return freeze(element) in self.entries

    def __iter__(self) -> Iterator[Value]:
        """Yields the elements, in the order of their bytes."""
        return map(thaw, self.entries)

    def merge(self, other: Self) -> Self:
        """Keeps the dots that both have, and those that one has and the other has not seen (Almeida 2018, DotMap's
        join).
        """
        if self.context == other.context and self.entries == other.entries:
            return self
        entries = {}
        for element in sorted(self.entries.keys() | other.entries.keys()):
            mine, theirs = self.entries.get(element, NO_DOTS), other.entries.get(element, NO_DOTS)
            if mine == theirs:
                entries[element] = mine
                continue
            kept = mine & theirs
            kept |= {dot for dot in mine - theirs if dot not in other.context}
            kept |= {dot for dot in theirs - mine if dot not in self.context}
            if kept:
                entries[element] = kept
        return self._of(entries, self.context.merge(other.context))

    def add(self, element: Value, replica: str) -> Self:
        """Returns the set with `element`, added by `replica`."""
        return self.merge(self.add_delta(element, replica))

    def add_delta(self, element: Value, replica: str) -> Self:
        """The delta of `add`: one new dot, in a context with the dots of `element` that it replaces."""
        frozen, dot = freeze(element), self.context.next_dot(replica)
        replaced = self.entries.get(frozen, NO_DOTS)
        return type(self)({frozen: frozenset((dot,))}, DotContext(cloud=replaced | {dot}))

    def remove(self, element: Value) -> Self:
        """Returns the set without `element`, as far as its adds were seen here; unchanged if it is absent."""
        return self.merge(self.remove_delta(element))

    def remove_delta(self, element: Value) -> Self:
        """The delta of `remove`: no element, and the dots of `element` seen here."""
        return type(self)({}, DotContext(cloud=self.entries.get(freeze(element), NO_DOTS)))

    def clear(self) -> Self:
        """Returns the set without any of the elements seen here."""
        return self.merge(self.clear_delta())

    def clear_delta(self) -> Self:
        """The delta of `clear`: the dots of all elements seen here."""
        return type(self)({}, DotContext(cloud=NO_DOTS.union(*self.entries.values())))

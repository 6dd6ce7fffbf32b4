"""A map in which the last write to each key wins.

Purpose. Small shared tables (which replica offers what, current settings) that any replica may write while partitioned
from the others. Each key is a register. A removal is also a write with a timestamp; otherwise a late old value would
restore the key.

Source. Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data
Types" (INRIA RR-7506, 2011), section 3.3.3 (LWW-element-Set), with a value for each element; a map into registers,
ordered pointwise, is a lattice because they are. Delta: the written key alone.

Cost, and its bound. A removal stays as a key with a timestamp and no value. `removals` counts them; `prune(before)`
forgets those older than `before`. Pruning moves *down* in the lattice, so it is not a mutator and has no delta. The
caller must know that both of these hold:

1. every replica has merged all writes older than `before` (then all may prune the same);
2. no older state or delta is still in transit, or on the disk of a replica that will come back.

Without 1 another replica sends the removal back, which does no harm; without 2 a removed key can reappear. In Shoal the
time for which a dead shard is remembered bounds both; a shard that was away longer starts from a fresh state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from crdt.clocks import Timestamp
from crdt.registers import LWWRegister
from crdt.values import Value, freeze, thaw

NEVER = LWWRegister()


@dataclass(frozen=True, slots=True)
class LWWMap:
    """A map of last-writer-wins registers (RR-7506, section 3.3.3).

    `cells` maps each key's frozen bytes to its register, including removed keys, sorted; each register has a timestamp.

    >>> at = [Timestamp(wall, 0, "a") for wall in range(1, 4)]
    >>> table = LWWMap().set("x", 1, at[0]).set("y", 2, at[1]).remove("x", at[2])
    >>> dict(table.items()), table.removals
    ({'y': 2}, 1)
    >>> "x" in table.set("x", "too late", at[1])
    False
    """

    cells: Mapping[bytes, LWWRegister] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", {key: cell for key, cell in sorted(self.cells.items()) if cell != NEVER})

    def __hash__(self) -> int:
        return hash(tuple(self.cells.items()))

    def __le__(self, other: Self) -> bool:
        return all(cell <= other.cells.get(key, NEVER) for key, cell in self.cells.items())

    def __len__(self) -> int:
        return sum(cell.is_set for cell in self.cells.values())

    def __contains__(self, key: Value) -> bool:
        return self.cells.get(freeze(key), NEVER).is_set

    def __iter__(self) -> Iterator[Value]:
        return (thaw(key) for key, cell in self.cells.items() if cell.is_set)

    def items(self) -> Iterator[tuple[Value, Value]]:
        """Yields the keys that are present, with their values, in the order of the keys' bytes."""
        return ((thaw(key), cell.value) for key, cell in self.cells.items() if cell.is_set)

    def get(self, key: Value, default: Value = None) -> Value:
        """Returns the value of `key`, or `default`."""
        cell = self.cells.get(freeze(key), NEVER)
        return cell.value if cell.is_set else default

    @property
    def removals(self) -> int:
        """Returns how many removed keys are still remembered; `prune` bounds them."""
        return len(self.cells) - len(self)

    def merge(self, other: Self) -> Self:
        """Merges each key's register; returns this very object if `other` adds nothing."""
        news = {key: cell for key, cell in other.cells.items() if not cell <= self.cells.get(key, NEVER)}
        return type(self)({**self.cells, **news}) if news else self

    def set(self, key: Value, value: Value, stamp: Timestamp) -> Self:
        """Returns the map with `value` at `key`, unless the key was written or removed later than `stamp`."""
        return self.merge(self.set_delta(key, value, stamp))

    def set_delta(self, key: Value, value: Value, stamp: Timestamp) -> Self:
        """The delta of `set`: that key alone."""
        return type(self)({freeze(key): LWWRegister().set_delta(value, stamp)})

    def remove(self, key: Value, stamp: Timestamp) -> Self:
        """Returns the map without `key`, unless it was written later than `stamp`; also wins over older writes that
        arrive later.
        """
        return self.merge(self.remove_delta(key, stamp))

    def remove_delta(self, key: Value, stamp: Timestamp) -> Self:
        """The delta of `remove`: that key's removal alone."""
        return type(self)({freeze(key): LWWRegister().clear_delta(stamp)})

    def prune(self, before: Timestamp) -> Self:
        """Returns the map without removals older than `before`. Not a lattice operation: the module says when it is
        safe.

        >>> gone = LWWMap().remove("x", Timestamp(1, 0, "a"))
        >>> gone.removals, gone.prune(before=Timestamp(2)).removals
        (1, 0)
        """
        return type(self)({key: cell for key, cell in self.cells.items() if cell.is_set or cell.stamp >= before})

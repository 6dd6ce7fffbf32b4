"""A register in which the last writer wins.

Purpose. One value, written by anyone at any time; all replicas end with the same one, that of the greatest timestamp.
Good where a newer value replaces an older one whole and losing a concurrent write does no harm.

Source. Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data
Types" (INRIA RR-7506, 2011), section 3.2.1, Specification 8 (LWW-Register). Its timestamps are to be unique, totally
ordered and consistent with causality: here those of a hybrid logical clock, with the replica's name.

Should two writes bear one timestamp after all (two machines with one name, a restored disk), the greater bytes win, on
all replicas alike; the paper leaves that case open, and a merge that kept its own side would never converge.

Left out: concurrent writes are not kept side by side (that is the MV-Register, section 3.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from crdt.clocks import Timestamp
from crdt.values import Value, freeze, thaw

CLEARED = b""
"""Stands for "no value" among frozen ones, none of which is empty; less than all of them, so it loses a tie."""


@dataclass(frozen=True, slots=True)
class LWWRegister:
    """The value written last, or none (RR-7506, section 3.2.1, Specification 8).

    >>> early, late = Timestamp(1, 0, "b"), Timestamp(2, 0, "a")
    >>> LWWRegister().set("new", late).set("old", early).value
    'new'
    >>> LWWRegister().set("new", late).merge(LWWRegister().set("same time", late)).value
    'same time'
    """

    stamp: Timestamp = field(default_factory=Timestamp)
    frozen: bytes = CLEARED

    def __post_init__(self) -> None:
        if self.stamp.replica == "" and (self.frozen != CLEARED or self.stamp != Timestamp()):
            raise ValueError("a write needs a timestamp that names the replica that wrote")

    def __le__(self, other: Self) -> bool:
        return (self.stamp, self.frozen) <= (other.stamp, other.frozen)

    @property
    def is_set(self) -> bool:
        """Whether there is a value; one that was never set or was cleared has none."""
        return self.frozen != CLEARED

    @property
    def value(self) -> Value:
        """The value; None when there is none, which `is_set` tells from a None that was written."""
        return thaw(self.frozen) if self.is_set else None

    def merge(self, other: Self) -> Self:
        """The one with the greater timestamp; of one timestamp, the one with the greater bytes."""
        return other if self <= other else self

    def set(self, value: Value, stamp: Timestamp) -> Self:
        """With `value` written at `stamp`, unless a later one is there."""
        return self.merge(self.set_delta(value, stamp))

    def set_delta(self, value: Value, stamp: Timestamp) -> Self:
        """The delta of `set`, which is a whole register: there is nothing smaller."""
        return type(self)(stamp, freeze(value))

    def clear(self, stamp: Timestamp) -> Self:
        """With the value taken away at `stamp`, unless a later one is there."""
        return self.merge(self.clear_delta(stamp))

    def clear_delta(self, stamp: Timestamp) -> Self:
        """The delta of `clear`."""
        return type(self)(stamp, CLEARED)

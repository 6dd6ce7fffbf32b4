"""A register in which the last write wins.

Purpose. One value that any replica writes at any time; all replicas converge to the one with the greatest timestamp.
Suitable where a newer value fully replaces an older one and losing a concurrent write does no harm.

Source. Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data
Types" (INRIA RR-7506, 2011), section 3.2.1, Specification 8 (LWW-Register). Its timestamps must be unique, totally
ordered and consistent with causality: here they come from a hybrid logical clock, with the replica's name.

If two writes have the same timestamp anyway (two machines with one name, a restored disk), the greater bytes win on
every replica. The paper leaves this case open; a merge that kept its own side would never converge.

Left out: keeping concurrent writes side by side (the MV-Register, section 3.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from crdt.clocks import Timestamp
from crdt.values import Value, freeze, thaw

CLEARED = b""
"""Represents "no value" among frozen values, which are never empty. It is less than all of them, so it loses a tie."""


@dataclass(frozen=True, slots=True)
class LWWRegister:
    """The last value written, or none (RR-7506, section 3.2.1, Specification 8).

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
        """Whether there is a value; False if it was never set, or was cleared."""
        return self.frozen != CLEARED

    @property
    def value(self) -> Value:
        """Returns the value, or None if there is none; `is_set` distinguishes this from a None that was written."""
        return thaw(self.frozen) if self.is_set else None

    def merge(self, other: Self) -> Self:
        """Returns the register with the greater timestamp; if they are equal, the one with the greater bytes."""
        return other if self <= other else self

    def set(self, value: Value, stamp: Timestamp) -> Self:
        """Returns the register with `value` written at `stamp`, unless it has a later write."""
        return self.merge(self.set_delta(value, stamp))

    def set_delta(self, value: Value, stamp: Timestamp) -> Self:
        """The delta of `set`: a whole register, as there is nothing smaller."""
        return type(self)(stamp, freeze(value))

    def clear(self, stamp: Timestamp) -> Self:
        """Returns the register without a value as of `stamp`, unless it has a later write."""
        return self.merge(self.clear_delta(stamp))

    def clear_delta(self, stamp: Timestamp) -> Self:
        """The delta of `clear`."""
        return type(self)(stamp, CLEARED)

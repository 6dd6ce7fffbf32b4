"""What the membership machine asks of its host, and what it announces to the shard.

``SendTo`` names a member, whose address and key the host finds with ``Membership.member(name)``. ``SendToAddress`` is
for those who have no name yet: a seed, or a stranger who asked. A send may be lost without harm; it must never block.

Announcements tell of one name, per generation, a story that always reads

    Joined (Updated | Suspected (Recovered | ...))* (Failed | Left), and perhaps Joined again: it was convicted wrongly

and only ``MemberFailed`` and ``MemberLeft`` say that a member is gone; suspicion is a warning, not a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from daemon.membership.messages import Member, Message


@dataclass(frozen=True, slots=True)
class SendTo:
    name: str
    message: Message


@dataclass(frozen=True, slots=True)
class SendToAddress:
    address: str
    message: Message
    name: str = ""


@dataclass(frozen=True, slots=True)
class MemberJoined:
    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """Its tags or addresses have changed."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    member: Member
    by: str


@dataclass(frozen=True, slots=True)
class MemberRecovered:
    """It has refuted the suspicion."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """Confirmed dead, or superseded by a later generation of its name."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """It said goodbye. May follow a ``MemberFailed``, when the silence was noticed before the goodbye arrived."""

    member: Member


@dataclass(frozen=True, slots=True)
class NameHeld:
    """Another daemon answers under our name, at that address: this one is taken by nobody as long as it does."""

    control: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A later generation of our own name is remembered, and nobody answers as it: our clock or our disk went back.

    Only before the shard has a part in the cluster. The machine says nothing more after this; the host starts again
    with a generation above ``by``'s.
    """

    by: Member


@dataclass(frozen=True, slots=True)
class Counted:
    """A metric to raise: names begin with what counts, such as ``membership_``."""

    name: str
    amount: int = 1


Announcement: TypeAlias = (
    MemberJoined | MemberUpdated | MemberSuspected | MemberRecovered | MemberFailed | MemberLeft | NameHeld | Superseded
)
Effect: TypeAlias = SendTo | SendToAddress | Announcement | Counted

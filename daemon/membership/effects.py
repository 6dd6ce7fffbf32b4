"""The effects of the membership machine: requests to its host, and announcements to the control plane.

``SendTo`` names a member, whose address and key the host looks up with ``Membership.member(name)``. ``SendToAddress``
is for recipients without a known name: a seed, or an unknown sender of a request. Sends may be lost without harm; they
must never block.

The announcements about one name and generation always follow this pattern:

    Joined (Updated | Suspected (Recovered | ...))* (Failed | Left), and perhaps Joined again after a wrong conviction

Only ``MemberFailed`` and ``MemberLeft`` mean that a member is gone; a suspicion is a warning, not a verdict.
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
    """The member's tags or addresses have changed."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    member: Member
    by: str


@dataclass(frozen=True, slots=True)
class MemberRecovered:
    """The member has refuted the suspicion."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """The member is confirmed dead, or superseded by a later generation of its name."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """The member left on purpose.

    May follow a ``MemberFailed``, if its silence was noticed before its goodbye arrived.
    """

    member: Member


@dataclass(frozen=True, slots=True)
class NameHeld:
    """Another daemon answers under our name at that address; while it does, no member accepts this one."""

    control: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A later generation of our own name is on record, and nobody answers as it: our clock or our disk went back.

    Emitted only before the shard is part of the cluster. The machine sends nothing afterwards; the host restarts with a
    generation above that of ``by``.
    """

    by: Member


@dataclass(frozen=True, slots=True)
class Counted:
    """Increments a metric. Names begin with the component that counts, such as ``membership_``."""

    name: str
    amount: int = 1


Announcement: TypeAlias = (
    MemberJoined | MemberUpdated | MemberSuspected | MemberRecovered | MemberFailed | MemberLeft | NameHeld | Superseded
)
Effect: TypeAlias = SendTo | SendToAddress | Announcement | Counted

"""What others say of this shard's disk, and of which of its lives and disks they say it."""

from __future__ import annotations

from random import Random

import pytest

from daemon.control.effects import DiskWentBack
from daemon.control.lives import Life
from daemon.control.messages import DiskForgets
from daemon.control.trust import Trust
from daemon.control.voters import server_of
from daemon.membership.config import MembershipConfig
from daemon.membership.machine import Membership
from daemon.state import Registry
from daemon.state.commands import Identity
from tests.daemon.membership.network import identity


def trust() -> Trust:
    membership = Membership(identity("a", 2), [], MembershipConfig(), Random(1), now=0)
    return Trust(Identity("a", 2), Life(disk=7), membership, Registry())


@pytest.mark.parametrize(
    ("disk", "generation", "sender", "believed"),
    [(7, 2, "b", True), (7, 1, "b", False), (7, 3, "b", False), (8, 2, "b", False), (7, 2, "a", False)],
)
def test_what_is_said_of_another_life_or_disk_is_not_believed_of_this_one(
    disk: int, generation: int, sender: str, believed: bool
) -> None:
    known = trust()
    effects = known.hear(Identity(sender, 1), DiskForgets(server_of("a", disk), generation, 0, 4, 9, True))
    assert bool(known.lost) is believed
    assert [type(effect) for effect in effects] == [DiskWentBack] * believed

"""What is bounded, and nonsense that is refused."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from msgspec import structs

from daemon.membership.config import SECOND, MembershipConfig
from daemon.membership.effects import Counted, MemberJoined, SendTo
from daemon.membership.machine import Membership
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, DEAD, SUSPECT, Gossip, Ping, PingRequest, PushPull, PushPullReply, Record
from tests.daemon.membership.by_hand import QUIET, drive, make, record, sent, tell
from tests.daemon.membership.network import address, identity


def test_members_over_the_limit_are_refused_and_counted() -> None:
    me = make(*"abc", config=replace(QUIET, members_max=4))
    assert tell(me, record("z")) == [Counted("membership_refused")]
    tell(me, record("a", DEAD))
    assert tell(me, record("z")) == [MemberJoined(identity("z"))]
    assert tell(me, record("a", ALIVE, 1)) == [Counted("membership_refused")]


def test_the_dead_are_remembered_for_a_time_and_in_a_number() -> None:
    config = replace(QUIET, dead_retention_ns=100 * SECOND, dead_records_max=3)
    names = [f"n{index}" for index in range(6)]
    me = make("keeper", *names, config=config)
    for at, name in enumerate(names):
        tell(me, record(name, DEAD), now=at, sender=name)
    assert [r.name for r in me.members() if r.status == DEAD] == names[3:]
    assert tell(me, record(names[5])) == [], "an old rumour does not bring back whom we remember"
    drive(me, 101 * SECOND)
    assert not [r.name for r in me.members() if r.name in names]


def test_the_memory_of_the_dead_does_not_go_round_for_ever() -> None:
    """What we know of the dead by hearsay is not told further."""
    me = make("a")
    assert tell(me, record("ghost", DEAD)) == []
    assert me.status("ghost") == DEAD
    (reply,) = sent(me.step("a", PushPull((record("a"),), address("a")), 1), PushPullReply)
    assert isinstance(reply, PushPullReply)
    assert "ghost" not in [r.name for r in reply.records]
    assert tell(me, record("ghost")) == [], "but it guards us against old rumours"


@pytest.mark.parametrize(
    "nonsense",
    [
        structs.replace(record("x"), status=9),
        structs.replace(record("x"), status=-1),
        structs.replace(record("x"), incarnation=-1),
        structs.replace(record("x"), incarnation=2**62),
        structs.replace(record("x"), accuser="x" * 1000),
        Record(structs.replace(identity("x"), name=""), 0, ALIVE),
        Record(structs.replace(identity("x"), control=""), 0, ALIVE),
        Record(structs.replace(identity("x"), generation=-1), 0, ALIVE),
        Record(structs.replace(identity("x"), public_key=b"k" * 100), 0, ALIVE),
        Record(structs.replace(identity("x"), tags=(("k", "v" * 1000),)), 0, ALIVE),
        Record(structs.replace(identity("me"), generation=5), 2**62, SUSPECT),
        structs.replace(record("x"), incarnation=2**32 + 1),
        Record(structs.replace(identity("me"), generation=5), 2**32 + 1, SUSPECT),
        structs.replace(record("x"), accuser="a\x1b[31m"),
        *(
            Record(structs.replace(identity("x"), name=name), 0, ALIVE)
            for name in ("x\x1b[2J", "x\ny", "\u202egnp", "x/7", "x y", "-x", "x" * 64)
        ),
        *(
            Record(structs.replace(identity("x"), control=where), 0, ALIVE)
            for where in ("tcp://a\x1b]0;hi\x07:1", "tcp://a b:1", "no address", "tcp://" + "x" * 300)
        ),
        Record(structs.replace(identity("x"), ticks="tcp://\x9b2J"), 0, ALIVE),
        Record(structs.replace(identity("x"), tags=(("disk", "7\x1b[0m"),)), 0, ALIVE),
        Record(structs.replace(identity("x"), tags=(("\u2066", "7"),)), 0, ALIVE),
    ],
)
def test_nonsense_is_dropped_and_counted(nonsense: Record) -> None:
    me = make("a")
    assert tell(me, nonsense) == [Counted("membership_nonsense")]
    assert [r.name for r in me.members()] == ["a", "me"]


def test_a_wrong_word_on_an_incarnation_leaves_room_to_refute_it() -> None:
    """Whatever others claim, what a member says next is greater, and is believed."""
    me, other = make("a"), Membership(identity("b", 1), [], QUIET, Random(2), now=0)
    other.step("me", Gossip((Record(structs.replace(identity("me"), generation=5), 0, ALIVE),)), 0)
    for _ in range(40):
        claim = structs.replace(
            record("me", generation=5), incarnation=me.incarnation + 2**32, status=SUSPECT, accuser="a"
        )
        for member in (me, other):
            member.step("a", Gossip((claim,)), 0)
        own = me.members()[-1]
        assert own.incarnation == claim.incarnation + 1
        other.step("me", Gossip((own,)), 0)
        assert other.status("me") == ALIVE
    me.set_tags([("k", "v")], 0)
    far = structs.replace(record("me", generation=5), incarnation=me.incarnation, member=me.members()[-1].member)
    late = Membership(identity("c", 1), [], QUIET, Random(3), now=0)
    late.step("a", Gossip((far,)), 0)
    assert late.status("me") is None, "nobody else can say so"
    late.step("me", Gossip((far,)), 0)
    assert late.status("me") == ALIVE, "but itself"


def test_at_the_last_incarnations_a_member_still_has_its_own_say() -> None:
    me = make("a")
    me.step("a", Gossip(()), 0)
    for _ in range(3):
        claim = structs.replace(record("me", generation=5), incarnation=2**62 - 1, status=DEAD, accuser="a")
        assert Counted("membership_nonsense") in tell(me, claim)
    me.set_tags([("k", "v")], 0)
    assert (me.incarnation, me.members()[-1].member.tags) == (1, (("k", "v"),))


def test_whom_to_forget_is_looked_for_once_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of the dead that a whole list tells of, it took a tenth of a second."""
    looked, whole = [], MemberTable.forget_dead
    monkeypatch.setattr(MemberTable, "forget_dead", lambda roster, now: looked.append(now) or whole(roster, now))
    me = make("a", config=replace(QUIET, dead_records_max=8))
    looked.clear()
    me.step("a", PushPull((record("a"), *(record(f"n{i}", DEAD) for i in range(100))), address("a")), 7)
    me.validate()
    assert looked == [7]


def test_gossip_in_a_message_is_bounded_both_ways() -> None:
    me = make("a", config=replace(QUIET, gossip_records_max=4))
    effects = tell(me, *(record(f"n{i}") for i in range(9)))
    assert Counted("membership_records_over_limit", 5) in effects
    for _ in range(3):
        tell(me, *(record(f"m{i}") for i in range(4)), record("a", SUSPECT))
    for _, effect in drive(me, 3 * SECOND):
        if isinstance(effect, SendTo) and not isinstance(effect.message, PushPull | PushPullReply):
            assert len(effect.message.gossip) <= 4


def test_pings_for_others_are_bounded() -> None:
    me = make("a", "b", config=replace(QUIET, relays_max=2))
    request = PingRequest(1, "b", 1, address("b"), -5, address("a"))
    for _ in range(2):
        assert sent(me.step("a", request, 0), Ping)
    assert me.step("a", request, 0) == [Counted("membership_refused")]
    drive(me, 10)
    assert sent(me.step("a", request, 10), Ping), "they are forgotten in time"


@pytest.mark.parametrize(
    "wrong", [{"members_max": 0}, {"probe_timeout_ns": SECOND}, {"indirect_probes": -1}, {"join_retry_min_ns": 10**12}]
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="membership: "):
        MembershipConfig(**wrong)

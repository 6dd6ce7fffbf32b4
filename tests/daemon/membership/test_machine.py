"""One member against messages written by hand: sentences of SWIM and Lifeguard."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from msgspec import structs

from daemon.membership.config import SECOND
from daemon.membership.effects import (
    Counted,
    Effect,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    SendTo,
    SendToAddress,
)
from daemon.membership.machine import Membership
from daemon.membership.messages import ALIVE, DEAD, LEFT, SUSPECT, Ack, Gossip, Ping, PushPull, PushPullReply, Record
from tests.daemon.membership.by_hand import QUIET, drive, make, pings, record, sent, tell
from tests.daemon.membership.network import address, identity

# -- the order of records


@pytest.mark.parametrize(
    ("news", "known", "overrides"),
    [
        ((SUSPECT, 2), (SUSPECT, 1), True),
        ((SUSPECT, 1), (SUSPECT, 1), False),
        ((SUSPECT, 1), (ALIVE, 1), True),
        ((SUSPECT, 0), (ALIVE, 1), False),
        ((ALIVE, 1), (SUSPECT, 1), False),
        ((ALIVE, 2), (SUSPECT, 1), True),
        ((ALIVE, 1), (ALIVE, 1), False),
        ((ALIVE, 2), (ALIVE, 1), True),
        ((DEAD, 1), (ALIVE, 1), True),
        ((DEAD, 1), (SUSPECT, 1), True),
        ((ALIVE, 1), (DEAD, 1), False),
        ((ALIVE, 2), (DEAD, 1), True),
        ((LEFT, 1), (DEAD, 1), True),
    ],
)
def test_which_claims_override_which(news: tuple[int, int], known: tuple[int, int], overrides: bool) -> None:
    """SWIM 4.2, the rules of precedence; the last four are this house's (see membership_messages)."""
    me = make("a", "b", "c")
    tell(me, record("b", ALIVE, known[1]), record("b", *known), sender="b")
    tell(me, record("b", *news), sender="b")
    assert me.status("b") == (news if overrides else known)[0]


def test_all_agree_in_whatever_order_the_claims_arrive() -> None:
    claims = [record("b", s, i) for s in (ALIVE, SUSPECT, DEAD, LEFT) for i in (0, 1)]
    for seed in range(30):
        me = make("a", "c", "d")
        tell(me, record("b"))
        for claim in Random(seed).sample(claims, len(claims)):
            tell(me, claim)
        drive(me, 5 * SECOND)
        assert me.status("b") == LEFT
        assert me.member("b") == identity("b")


# -- suspicion and refutation


def test_a_suspect_that_stays_silent_is_declared_faulty_after_the_timeout() -> None:
    """SWIM 4.2: a suspicion that is not cleared within the timeout becomes a Confirm."""
    me = make("a", "b")
    assert tell(me, record("b", SUSPECT, accuser="me")) == [MemberSuspected(identity("b"), "me")]
    assert me.status("b") == SUSPECT
    assert "b" in [r.name for r in me.live()]
    trace = drive(me, 30 * SECOND, answering="a")  # nobody else has found b silent: the longest timeout
    assert (24 * SECOND, MemberFailed(identity("b"))) in trace
    assert me.status("b") == DEAD


def test_confirmations_by_others_hasten_the_verdict() -> None:
    """Lifeguard IV.B."""
    me = make("a", "b", "c", "d", "e")
    for accuser in "acde":
        tell(me, record("b", SUSPECT, accuser=accuser))
    assert (4 * SECOND, MemberFailed(identity("b"))) in drive(me, 5 * SECOND)


def test_alive_of_a_higher_incarnation_clears_a_suspicion() -> None:
    me = make("a", "b")
    tell(me, record("b", SUSPECT, accuser="a"))
    assert tell(me, record("b", ALIVE, 1)) == [MemberRecovered(identity("b"))]


@pytest.mark.parametrize(("status", "end"), [(DEAD, MemberFailed), (LEFT, MemberLeft)])
def test_what_others_say_of_a_members_end_is_a_suspicion_as_short_as_they_come(status: int, end: type[Effect]) -> None:
    me = make("a", "b", "c", "d", "e")
    assert tell(me, record("b", status, accuser="a")) == [MemberSuspected(identity("b"), "a")]
    assert tell(me, record("b", status, accuser="a")) == []
    assert (4 * SECOND, end(identity("b"))) in drive(me, 5 * SECOND, answering="acde")
    assert me.status("b") == status


@pytest.mark.parametrize("status", [DEAD, LEFT])
def test_one_that_is_there_refutes_what_others_say_of_its_end(status: int) -> None:
    me = make("a", "b", "c", "d", "e")
    tell(me, record("b", status))
    assert tell(me, record("b", ALIVE, 1), sender="b") == [MemberRecovered(identity("b"))]
    assert tell(me, record("b", status)) == []
    assert not [effect for _, effect in drive(me, 6 * SECOND, answering="abcde") if isinstance(effect, MemberFailed)]


@pytest.mark.parametrize("status", [SUSPECT, DEAD, LEFT])
def test_who_accuses_a_member_does_not_move_it(status: int) -> None:
    """Or it would not hear of it, and could not answer."""
    me = make("a", "b", "c")
    moved = structs.replace(identity("b"), control=address("z"), public_key=b"")
    tell(me, Record(moved, 0, status, "a"))
    assert me.member("b") == identity("b")
    assert me.status("b") == SUSPECT


def test_others_cannot_move_a_member_that_has_answered() -> None:
    me = make("a", "b", "c")
    me.step("b", Ack(1, "b", 1), 0)
    moved = structs.replace(identity("b"), control=address("z"), public_key=b"", tags=(("zone", "c"),))
    tell(me, Record(moved, 1, ALIVE))
    assert me.member("b") == structs.replace(identity("b"), tags=(("zone", "c"),))
    tell(me, Record(moved, 2, ALIVE), sender="b")
    assert me.member("b") == moved


def test_a_verdict_on_one_that_we_suspect_for_as_long_ourselves_is_believed_at_once() -> None:
    """Or a crash would be known later for it. The suspicion had longer to go: nobody else had confirmed it."""
    me = make("a", "b", "c", "d", "e")
    tell(me, record("b", SUSPECT, accuser="a"))
    drive(me, 5 * SECOND, answering="acde")
    assert me.status("b") == SUSPECT
    assert tell(me, record("b", DEAD, accuser="a"), now=5 * SECOND) == [MemberFailed(identity("b"))]


@pytest.mark.parametrize("status", [SUSPECT, DEAD, LEFT])
def test_a_member_refutes_what_is_said_of_it_by_a_higher_incarnation(status: int) -> None:
    """SWIM 4.2: "it increments its incarnation number"; and speaks of it first in all it sends."""
    me = make("a", "b")
    tell(me, record("me", status, 6, generation=5, accuser="b"), record("x"))
    assert me.incarnation == 7
    assert me.local_health == 1  # Lifeguard IV.A: refuting a suspicion of oneself is a sign of ill health
    (ack,) = sent(me.step("a", Ping(1, "me", 5, address("a")), 1), Ack)
    assert isinstance(ack, Ack)
    assert ack.gossip[0] == record("me", ALIVE, 7, generation=5)


def test_a_suspicion_that_was_refuted_before_is_answered_again() -> None:
    me = make("a")
    tell(me, record("me", SUSPECT, 0, generation=5))
    drive(me, 10 * SECOND)
    assert me.incarnation == 1
    (ack,) = sent(me.step("b", Ping(1, "me", 5, address("b"), (record("me", DEAD, 0, 5),)), 10 * SECOND), Ack)
    assert isinstance(ack, Ack)
    assert record("me", ALIVE, 1, generation=5) in ack.gossip
    assert me.incarnation == 1


def test_a_suspect_is_told_so_when_it_is_pinged() -> None:
    """Lifeguard IV.C, the buddy system."""
    me = make("a", "b")
    drive(me, 3 * SECOND)
    tell(me, record("b", SUSPECT, accuser="a"), record("c"), record("d"), now=me.deadline or 0)
    for _, effect in drive(me, 8 * SECOND):
        if isinstance(effect, SendTo) and effect.name == "b" and isinstance(effect.message, Ping):
            assert effect.message.gossip[0].name == "b"
            assert effect.message.gossip[0].status == SUSPECT
            return
    pytest.fail("b was not pinged")


def test_one_that_we_hold_for_dead_learns_it_when_it_speaks_to_us() -> None:
    me = make("a", "b")
    tell(me, record("b", DEAD), sender="b")
    (ack,) = sent(me.step("b", Ping(1, "me", 5, address("b")), 1), Ack)
    assert isinstance(ack, Ack)
    assert ack.gossip[0] == record("b", DEAD)


# -- joining, full lists, leaving


def test_seeds_are_asked_ever_more_rarely_until_somebody_answers() -> None:
    me = Membership(identity("me"), [address("s"), address("me"), address("s")], QUIET, Random(1), 0)
    tries = [at for at, e in drive(me, 300 * SECOND) if isinstance(e, SendToAddress)]
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert gaps[0] <= SECOND
    assert all(gap <= 30 * SECOND for gap in gaps)
    assert all(gap >= 15 * SECOND for gap in gaps[6:])
    me.step("s", PushPullReply((record("s"),)), 300 * SECOND)
    assert not [e for _, e in drive(me, 400 * SECOND, answering="s") if isinstance(e, SendToAddress)]


def test_a_push_pull_is_answered_with_all_we_know_and_ourselves_first() -> None:
    me = make("a", "b")
    tell(me, record("b", DEAD), sender="b")
    effects = me.step("z", PushPull((record("z"),), address("z")), 1)
    assert MemberJoined(identity("z")) in effects
    (reply,) = sent(effects, PushPullReply)
    assert isinstance(reply, PushPullReply)
    assert [(r.name, r.status) for r in reply.records] == [("me", ALIVE), ("a", ALIVE), ("b", DEAD), ("z", ALIVE)]


def test_another_sides_verdicts_are_only_suspicions_to_us() -> None:
    me = make("a", "b", "c")
    effects = me.step("z", PushPull((record("z"), record("b", DEAD, accuser="y")), address("z")), 1)
    assert MemberSuspected(identity("b"), "y") in effects
    assert me.status("b") == SUSPECT


def test_a_full_list_is_bounded_both_ways() -> None:
    me = make(*"abcdefgh", config=replace(QUIET, push_pull_records_max=4))
    effects = me.step("z", PushPull(tuple(record(n) for n in "zyxwvu"), address("z")), 1)
    assert Counted("membership_records_over_limit", 2) in effects
    (reply,) = sent(effects, PushPullReply)
    assert isinstance(reply, PushPullReply)
    assert len(reply.records) == 4
    assert reply.records[0].name == "me"


def test_a_dead_member_is_tried_again_now_and_then() -> None:
    me = make("a", "b", config=replace(QUIET, reconnect_interval_ns=30 * SECOND))
    tell(me, record("b", DEAD), sender="b")
    trace = drive(me, 91 * SECOND, answering="a")
    tried = [at for at, e in trace if isinstance(e, SendTo) and isinstance(e.message, PushPull) and e.name == "b"]
    assert [after - before for before, after in itertools.pairwise(tried)] == [30 * SECOND] * 2


def test_leaving_lingers_until_the_news_is_out() -> None:
    me = make("a", "b", "c")
    drive(me, 5 * SECOND)
    now = 5 * SECOND
    first = me.leave(now)
    left = [me.left]
    assert len(sent(first, Gossip)) == 3
    trace = drive(me, 20 * SECOND)
    left.append(me.left)
    assert left == [False, True]
    assert me.deadline is None
    assert all(at <= now + QUIET.leave_linger_ns for at, _ in trace)
    assert not pings(trace)
    assert me.leave(now) == []


def test_one_who_is_alone_leaves_at_once() -> None:
    me = make()
    me.leave(0)
    assert me.left


def test_a_goodbye_is_a_departure_and_not_a_failure() -> None:
    me = make("a", "b")
    assert tell(me, record("b", LEFT, 1), sender="b") == [MemberLeft(identity("b"))]
    assert tell(me, record("b", SUSPECT, 1), record("b", DEAD, 1)) == []


# -- tags


def test_new_tags_are_a_new_incarnation() -> None:
    me = make("a")
    me.set_tags([("zone", "b"), ("rack", "1")], 0)
    own = me.member("me")
    assert own is not None
    assert own.tags == (("rack", "1"), ("zone", "b"))
    assert me.incarnation == 1
    changed = structs.replace(identity("a"), tags=(("zone", "c"),))
    assert tell(me, Record(changed, 1, ALIVE)) == [MemberUpdated(changed)]


def test_too_many_tags_are_refused_with_a_sentence() -> None:
    me = make()
    with pytest.raises(ValueError, match="too long tags"):
        me.set_tags([("k", "v" * 10_000)], 0)
    assert me.incarnation == 0

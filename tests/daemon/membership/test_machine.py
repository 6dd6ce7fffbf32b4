"""One member against messages written by hand: sentences of SWIM and Lifeguard."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest

from daemon.membership.config import MILLISECOND, SECOND, MembershipConfig
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
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import (
    ALIVE,
    DEAD,
    LEFT,
    SUSPECT,
    Ack,
    Gossip,
    Message,
    Nack,
    Ping,
    PingRequest,
    PushPull,
    PushPullReply,
    Record,
)
from daemon.membership.round_robin import RoundRobin
from tests.daemon.membership.network import address, identity

# Full lists and healing stay out of the way of those tests that aren't about them.
QUIET = MembershipConfig(
    push_pull_interval_ns=10**6 * SECOND,
    reconnect_interval_ns=10**6 * SECOND,
    # The papers' and memberlist's own numbers, which the sentences below speak of.
    probe_interval_ns=SECOND,
    probe_timeout_ns=500 * MILLISECOND,
    pause_tolerance_ns=500 * MILLISECOND,
    suspicion_mult=4,
    suspicion_max_mult=6,
    suspicion_confirmations=3,
    retransmit_mult=4,
    gossip_interval_ns=200 * MILLISECOND,
)


def record(name: str, status: int = ALIVE, incarnation: int = 0, generation: int = 1, accuser: str = "") -> Record:
    return Record(identity(name, generation), incarnation, status, accuser)


def make(*others: str, config: MembershipConfig = QUIET, generation: int = 5, seed: int = 1) -> Membership:
    """A member ``me`` that knows ``others``, with nothing left to gossip but what the test brings."""
    me = Membership(identity("me", generation), [], config, Random(seed), now=0)
    for name in others:
        me.step(name, Gossip((record(name),)), 0)
    return me


def tell(me: Membership, *records: Record, now: int = 0, sender: str = "a") -> list[Effect]:
    effects = me.step(sender, Gossip(records), now)
    me.validate()
    return effects


def drive(me: Membership, until: int, answering: str = "") -> list[tuple[int, Effect]]:
    """Let time pass; nobody answers but those named by the letters of ``answering``."""
    trace: list[tuple[int, Effect]] = []
    while (deadline := me.deadline) is not None and deadline <= until:
        effects = me.wake(deadline)
        for ping in sent(effects, Ping):
            if isinstance(ping, Ping) and ping.target in answering:
                effects += me.step(ping.target, Ack(ping.sequence, ping.target, ping.generation), deadline)
        trace += [(deadline, effect) for effect in effects]
        me.validate()
    return trace


def sent(effects: list[Effect], kind: type[Message]) -> list[Message]:
    return [e.message for e in effects if isinstance(e, SendTo | SendToAddress) and isinstance(e.message, kind)]


def pings(trace: list[tuple[int, Effect]]) -> list[tuple[int, str]]:
    return [(at, e.name) for at, e in trace if isinstance(e, SendTo) and isinstance(e.message, Ping)]


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
    moved = replace(identity("b"), control=address("z"), public_key=b"")
    tell(me, Record(moved, 0, status, "a"))
    assert me.member("b") == identity("b")
    assert me.status("b") == SUSPECT


def test_others_cannot_move_a_member_that_has_answered() -> None:
    me = make("a", "b", "c")
    me.step("b", Ack(1, "b", 1), 0)
    moved = replace(identity("b"), control=address("z"), public_key=b"", tags=(("zone", "c"),))
    tell(me, Record(moved, 1, ALIVE))
    assert me.member("b") == replace(identity("b"), tags=(("zone", "c"),))
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


# -- probing


def test_each_member_is_probed_once_a_round_in_random_order() -> None:
    """SWIM 4.3: round-robin, and the list is rearranged at random after each traversal."""
    order = RoundRobin(Random(3))
    for name in "abcdefgh":
        order.add(name)
    rounds = [[order.next() for _ in range(8)] for _ in range(6)]
    order.next()
    assert all(sorted(filter(None, names)) == list("abcdefgh") for names in rounds[1:])
    assert len({tuple(names) for names in rounds[1:]}) > 1


def test_a_failed_member_is_probed_within_2n_minus_1_periods() -> None:
    """SWIM 4.3: "Time Bounded Completeness", here with members that come and go meanwhile."""
    for seed in range(50):
        random = Random(seed)
        order = RoundRobin(random)
        for name in "abcde":
            order.add(name)
        since = 0
        for _ in range(60):
            since = 0 if order.next() == "c" else since + 1
            assert since <= 2 * 6 - 1
            if random.random() < 0.3:
                order.remove("e") if "e" in order else order.add("e")
            order.validate(sorted("abcde" if "e" in order else "abcd"))


def test_k_members_are_asked_to_probe_a_silent_one_then_it_is_suspected() -> None:
    """SWIM 3.1, Figure 1."""
    me = make("a", "b", "c", "d", "e")
    trace = drive(me, 2 * SECOND)
    started, target = pings(trace)[0]
    requests = [(at, e.name) for at, e in trace if isinstance(e, SendTo) and isinstance(e.message, PingRequest)]
    assert [at for at, _ in requests[:3]] == [started + 500 * MILLISECOND] * 3
    assert len({name for _, name in requests[:3]} - {target, "me"}) == 3
    assert (started + SECOND, MemberSuspected(identity(target), "me")) in trace


def test_an_ack_direct_or_by_a_helper_settles_the_probe() -> None:
    for delay_ns in (10 * MILLISECOND, 900 * MILLISECOND):
        me = make("a", "b", "c")
        trace = drive(me, me.deadline or 0)
        while not pings(trace):
            trace += drive(me, me.deadline or 0)
        started, target = pings(trace)[0]
        trace += drive(me, started + delay_ns)
        effects = [e for _, e in trace]
        (ping, *_) = sent(effects, Ping)
        assert isinstance(ping, Ping)
        me.step("c", Ack(ping.sequence, target, 1), started + delay_ns)
        assert not [e for _, e in drive(me, started + SECOND) if isinstance(e, MemberSuspected)]


def test_an_ack_of_another_life_does_not_count() -> None:
    me = make("a", "b")
    trace = drive(me, SECOND)
    started, target = pings(trace)[0]
    (ping, *_) = sent([e for _, e in trace], Ping)
    assert isinstance(ping, Ping)
    me.step(target, Ack(ping.sequence, target, 2), started + 1)
    assert MemberSuspected(identity(target), "me") in [e for _, e in drive(me, started + SECOND)]


def test_a_ping_to_a_former_life_is_answered_by_who_is_here_now() -> None:
    me = make("a")
    (ack,) = sent(me.step("a", Ping(9, "me", 4, address("a")), 1), Ack)
    assert isinstance(ack, Ack)
    assert (ack.name, ack.generation) == ("me", 5)
    assert record("me", generation=5) in ack.gossip


def test_a_ping_meant_for_another_is_not_answered() -> None:
    me = make("a")
    assert me.step("a", Ping(9, "you", 5, address("a")), 1) == [Counted("membership_misdirected")]


def test_a_stranger_is_answered_at_the_address_it_gives() -> None:
    me = make()
    (effect,) = me.step("z", Ping(9, "me", 5, address("z")), 1)
    assert isinstance(effect, SendToAddress)
    assert effect.address == address("z")


def test_a_helper_passes_the_ack_on() -> None:
    me = make("a", "b")
    (ping,) = me.step("a", PingRequest(77, "b", 1, address("b"), 400 * MILLISECOND, address("a")), 0)
    assert isinstance(ping, SendTo)
    assert isinstance(ping.message, Ping)
    assert ping.name == "b"
    (ack,) = me.step("b", Ack(ping.message.sequence, "b", 1), 1)
    assert isinstance(ack, SendTo)
    assert isinstance(ack.message, Ack)
    assert (ack.name, ack.message.sequence, ack.message.name) == ("a", 77, "b")


def test_a_helper_sends_a_nack_at_four_fifths_of_the_wait_and_still_passes_a_late_ack_on() -> None:
    """Lifeguard IV.A: "nack"."""
    me = make("a", "b")
    (ping,) = me.step("a", PingRequest(77, "b", 1, address("b"), 200 * MILLISECOND, address("a")), 0)
    assert isinstance(ping, SendTo)
    assert isinstance(ping.message, Ping)
    trace = drive(me, 240 * MILLISECOND)
    nacks = [(at, e.message) for at, e in trace if isinstance(e, SendTo) and isinstance(e.message, Nack)]
    assert [(at, nack.sequence) for at, nack in nacks] == [(200 * MILLISECOND, 77)]
    assert sent(me.step("b", Ack(ping.message.sequence, "b", 1), 240 * MILLISECOND), Ack)


@pytest.mark.parametrize(("nacking", "multiplier"), [(0, 3), (1, 2), (3, 0)])
def test_each_missed_nack_is_a_sign_of_our_own_ill_health(nacking: int, multiplier: int) -> None:
    """Lifeguard IV.A; with all Nacks in, the silence is the target's, and nothing is counted."""
    me = make("a", "b", "c", "d", "e")
    trace = drive(me, SECOND)
    started, _ = pings(trace)[0]
    trace += drive(me, started + 500 * MILLISECOND)
    asked = [e for _, e in trace if isinstance(e, SendTo) and isinstance(e.message, PingRequest)][:3]
    for effect in asked[:nacking]:
        assert isinstance(effect.message, PingRequest)
        me.step(effect.name, Nack(effect.message.sequence), started + 600 * MILLISECOND)
    drive(me, started + SECOND)
    assert me.local_health == multiplier


def test_an_unhealthy_member_probes_more_slowly() -> None:
    """Lifeguard IV.A: interval and timeout are multiplied by LHM + 1."""
    me = make("a", "b", "c")
    for incarnation in range(0, 40, 2):
        tell(me, record("me", SUSPECT, incarnation, generation=5))
    assert me.local_health == 8
    (first, _), (second, _) = pings(drive(me, 12 * SECOND))[:2]
    assert second - first == 9 * SECOND


# -- our own absence


def test_nobody_is_convicted_for_our_own_pause() -> None:
    me = make("a", "b", "c", "d")
    trace = drive(me, 2 * SECOND)
    tell(me, record("b", SUSPECT, accuser="a"), now=2 * SECOND)
    effects = me.wake(500 * SECOND)
    assert Counted("membership_pauses") in effects
    assert not [e for e in [*effects, *(e for _, e in trace)] if isinstance(e, MemberFailed)]
    assert me.status("b") != DEAD
    assert me.local_health > 0
    assert (me.deadline or 0) >= 500 * SECOND


def test_the_pause_is_noticed_at_either_door_and_once() -> None:
    me = make("a", "b")
    health = me.local_health
    assert Counted("membership_pauses") in tell(me, record("c"), now=100 * SECOND)
    assert Counted("membership_pauses") not in tell(me, record("d"), now=100 * SECOND + 1)
    assert Counted("membership_pauses") not in me.wake(100 * SECOND + 2)
    assert me.local_health == health + 1


def test_waking_too_early_or_twice_does_nothing() -> None:
    me = make("a", "b")
    deadline = me.deadline or 0
    assert me.wake(deadline - 1) == []
    me.wake(deadline)
    assert me.wake(deadline) == []


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
    changed = replace(identity("a"), tags=(("zone", "c"),))
    assert tell(me, Record(changed, 1, ALIVE)) == [MemberUpdated(changed)]


def test_too_many_tags_are_refused_with_a_sentence() -> None:
    me = make()
    with pytest.raises(ValueError, match="too long tags"):
        me.set_tags([("k", "v" * 10_000)], 0)
    assert me.incarnation == 0


# -- limits


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
        replace(record("x"), status=9),
        replace(record("x"), status=-1),
        replace(record("x"), incarnation=-1),
        replace(record("x"), incarnation=2**62),
        replace(record("x"), accuser="x" * 1000),
        Record(replace(identity("x"), name=""), 0, ALIVE),
        Record(replace(identity("x"), control=""), 0, ALIVE),
        Record(replace(identity("x"), generation=-1), 0, ALIVE),
        Record(replace(identity("x"), public_key=b"k" * 100), 0, ALIVE),
        Record(replace(identity("x"), tags=(("k", "v" * 1000),)), 0, ALIVE),
        Record(replace(identity("me"), generation=5), 2**62, SUSPECT),
        replace(record("x"), incarnation=2**32 + 1),
        Record(replace(identity("me"), generation=5), 2**32 + 1, SUSPECT),
        replace(record("x"), accuser="a\x1b[31m"),
        *(
            Record(replace(identity("x"), name=name), 0, ALIVE)
            for name in ("x\x1b[2J", "x\ny", "\u202egnp", "x/7", "x y", "-x", "x" * 64)
        ),
        *(
            Record(replace(identity("x"), control=where), 0, ALIVE)
            for where in ("tcp://a\x1b]0;hi\x07:1", "tcp://a b:1", "no address", "tcp://" + "x" * 300)
        ),
        Record(replace(identity("x"), ticks="tcp://\x9b2J"), 0, ALIVE),
        Record(replace(identity("x"), tags=(("disk", "7\x1b[0m"),)), 0, ALIVE),
        Record(replace(identity("x"), tags=(("\u2066", "7"),)), 0, ALIVE),
    ],
)
def test_nonsense_is_dropped_and_counted(nonsense: Record) -> None:
    me = make("a")
    assert tell(me, nonsense) == [Counted("membership_nonsense")]
    assert [r.name for r in me.members()] == ["a", "me"]


def test_a_wrong_word_on_an_incarnation_leaves_room_to_refute_it() -> None:
    """Whatever others claim, what a member says next is greater, and is believed."""
    me, other = make("a"), Membership(identity("b", 1), [], QUIET, Random(2), now=0)
    other.step("me", Gossip((Record(replace(identity("me"), generation=5), 0, ALIVE),)), 0)
    for _ in range(40):
        claim = replace(record("me", generation=5), incarnation=me.incarnation + 2**32, status=SUSPECT, accuser="a")
        for member in (me, other):
            member.step("a", Gossip((claim,)), 0)
        own = me.members()[-1]
        assert own.incarnation == claim.incarnation + 1
        other.step("me", Gossip((own,)), 0)
        assert other.status("me") == ALIVE
    me.set_tags([("k", "v")], 0)
    far = replace(record("me", generation=5), incarnation=me.incarnation, member=me.members()[-1].member)
    late = Membership(identity("c", 1), [], QUIET, Random(3), now=0)
    late.step("a", Gossip((far,)), 0)
    assert late.status("me") is None, "nobody else can say so"
    late.step("me", Gossip((far,)), 0)
    assert late.status("me") == ALIVE, "but itself"


def test_at_the_last_incarnations_a_member_still_has_its_own_say() -> None:
    me = make("a")
    me.step("a", Gossip(()), 0)
    for _ in range(3):
        claim = replace(record("me", generation=5), incarnation=2**62 - 1, status=DEAD, accuser="a")
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

"""Probes, those that others make for us, and our own absence: sentences of SWIM and Lifeguard."""

from __future__ import annotations

from random import Random

import pytest

from daemon.membership.config import MILLISECOND, SECOND
from daemon.membership.effects import Counted, MemberFailed, MemberSuspected, SendTo, SendToAddress
from daemon.membership.messages import DEAD, SUSPECT, Ack, Nack, Ping, PingRequest
from daemon.membership.round_robin import RoundRobin
from tests.daemon.membership.by_hand import drive, make, pings, record, sent, tell
from tests.daemon.membership.network import address, identity

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

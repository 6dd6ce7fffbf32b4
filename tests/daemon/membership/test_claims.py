"""Another life under a known name: who shows up at the name's address has it, whatever gossip says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from daemon.membership.claims import CLAIMS_MAX, REFUSED_NS
from daemon.membership.config import SECOND
from daemon.membership.effects import Effect, MemberFailed, MemberJoined, NameHeld, SendTo, SendToAddress, Superseded
from daemon.membership.machine import Membership
from daemon.membership.messages import (
    ALIVE,
    DEAD,
    INCARNATION_MAX,
    LEFT,
    SUSPECT,
    Ack,
    Gossip,
    Member,
    NameTaken,
    Ping,
    PushPull,
    Record,
)
from tests.daemon.membership.by_hand import QUIET, make, record, tell
from tests.daemon.membership.network import address, identity

PATIENCE_NS = QUIET.probe_interval_ns * (1 + QUIET.suspicion_mult)
ELSEWHERE = "tcp://elsewhere:7001"


def known(name: str = "b", *, is_authenticated: bool = False) -> Membership:
    """A member that knows another, which has answered once."""
    me = make("a", name)
    me.claims._is_authenticated = is_authenticated
    me.step(name, Ack(99, name, 1), 0)
    return me


def moved(generation: int = 2, name: str = "b") -> Member:
    return replace(identity(name, generation), control=ELSEWHERE)


def asked(effects: list[Effect]) -> dict[str, Ping]:
    """Who is pinged, by address; of members that are known there, the usual one."""
    out = {}
    for effect in effects:
        if isinstance(effect, SendTo | SendToAddress) and isinstance(effect.message, Ping):
            out[effect.address if isinstance(effect, SendToAddress) else address(effect.name)] = effect.message
    return out


def look(me: Membership, now: int = 0) -> dict[str, Ping]:
    me.claims._claims["b"].ping_ns = now
    pings = {}
    for letter in me.claims.wake(now):
        assert not isinstance(letter, Superseded | NameHeld)
        if hasattr(letter, "message") and isinstance(letter.message, Ping):
            pings[letter.address] = letter.message
    return pings


def answer(me: Membership, ping: Ping, generation: int, now: int = 1) -> list[Effect]:
    effects = me.step("b", Ack(ping.sequence, "b", generation), now)
    me.validate()
    return effects


def announced(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, MemberFailed | MemberJoined)]


@pytest.mark.parametrize("status", [ALIVE, SUSPECT, DEAD, LEFT])
def test_gossip_of_a_later_life_ends_nobody_who_answers(status: int) -> None:
    me = known()
    assert announced(tell(me, record("b", status, generation=INCARNATION_MAX))) == []
    pings = look(me)
    assert list(pings) == [address("b")]
    assert announced(answer(me, pings[address("b")], 1)) == []
    assert me.member("b") == identity("b")
    for generation in (2, 3, INCARNATION_MAX):
        tell(me, record("b", status, generation=generation), now=2)
    assert not me.claims._claims, "and not each time anew"
    tell(me, record("b", status, generation=INCARNATION_MAX), now=REFUSED_NS + 1)
    assert me.claims._claims


def test_a_later_life_is_taken_once_it_answers_at_the_address() -> None:
    me = known()
    assert announced(tell(me, record("b", generation=2))) == []
    ping = look(me)[address("b")]
    assert announced(answer(me, ping, 2)) == [MemberFailed(identity("b")), MemberJoined(identity("b", 2))]
    assert tell(me, record("b", DEAD, 99, generation=1), now=2) == [], "a rumour of the former one"


def test_nobody_answers_and_nothing_is_taken() -> None:
    me = known()
    tell(me, record("b", generation=2))
    assert me.claims.wake(PATIENCE_NS) == []
    assert not me.claims._claims
    assert me.member("b") == identity("b")


def test_the_end_of_a_later_life_is_taken_if_the_known_one_is_silent() -> None:
    me = known()
    tell(me, record("b", LEFT, 3, generation=2))
    effects = me._settle(me.claims.wake(PATIENCE_NS), PATIENCE_NS)
    assert effects is None
    assert (me.member("b"), me.status("b")) == (identity("b", 2), LEFT)


def test_a_claimant_elsewhere_waits_until_the_known_one_is_silent_for_as_long_as_convicts() -> None:
    me = known()
    tell(me, Record(moved(), 0, ALIVE), sender="b")
    pings = look(me)
    assert set(pings) == {address("b"), ELSEWHERE}
    assert announced(answer(me, pings[ELSEWHERE], 2)) == []
    assert me.claims.wake(PATIENCE_NS - 1)
    assert me.member("b") == identity("b")
    me._settle(me.claims.wake(PATIENCE_NS), PATIENCE_NS)
    assert me.member("b") == moved()


def test_a_claimant_elsewhere_is_told_of_the_one_that_answers() -> None:
    me = known()
    tell(me, Record(moved(), 0, ALIVE), sender="b")
    pings = look(me)
    answer(me, pings[ELSEWHERE], 2)
    effects = answer(me, pings[address("b")], 1)
    assert SendToAddress(ELSEWHERE, NameTaken(2, address("b")), "b") in effects
    assert me.member("b") == identity("b")


def test_who_only_passes_a_claim_on_has_nobody_told() -> None:
    me = known()
    tell(me, Record(moved(), 0, ALIVE), sender="a")
    effects = answer(me, look(me)[address("b")], 1)
    assert not any(isinstance(effect, SendToAddress) for effect in effects)


def test_another_sender_can_not_answer_for_it() -> None:
    me = known()
    tell(me, record("b", generation=2))
    ping = look(me)[address("b")]
    me.step("a", Ack(ping.sequence, "b", 2), 1)
    me.step("b", Ack(ping.sequence + 1, "b", 2), 1)
    assert me.member("b") == identity("b")


# With keys.


def test_with_keys_a_life_that_speaks_from_where_it_was_known_is_taken_at_once() -> None:
    me = known(is_authenticated=True)
    assert announced(tell(me, record("b", generation=2), sender="a")) == []
    effects = me.step("b", PushPull((record("b", generation=2),), address("b")), 1)
    assert announced(effects) == [MemberFailed(identity("b")), MemberJoined(identity("b", 2))]
    assert not me.claims._claims


def test_with_keys_a_life_that_speaks_from_elsewhere_waits_for_the_known_one_alone() -> None:
    me = known(is_authenticated=True)
    me.step("b", PushPull((Record(moved(), 0, ALIVE),), ELSEWHERE), 0)
    assert me.member("b") == identity("b")
    me._settle(me.claims.wake(PATIENCE_NS), PATIENCE_NS)
    assert me.member("b") == moved()


def test_with_keys_a_life_that_speaks_is_taken_if_the_known_one_is_dead() -> None:
    me = known(is_authenticated=True)
    tell(me, record("b", DEAD), sender="b")
    me.step("b", PushPull((Record(moved(), 0, ALIVE),), ELSEWHERE), 0)
    assert me.member("b") == moved()


# Lives that nobody has seen.


@pytest.mark.parametrize("is_authenticated", [False, True])
@pytest.mark.parametrize("status", [ALIVE, DEAD])
def test_a_forged_life_of_a_name_that_was_not_known_does_not_keep_its_owner_out(
    is_authenticated: bool, status: int
) -> None:
    me = make("a")
    me.claims._is_authenticated = is_authenticated
    tell(me, record("b", status, generation=INCARNATION_MAX))
    me.step("b", PushPull((record("b"),), address("b")), 0)
    if not is_authenticated:
        answer(me, look(me)[address("b")], 1)
    assert (me.member("b"), me.status("b")) == (identity("b"), ALIVE)
    tell(me, record("b", status, generation=INCARNATION_MAX), now=2)
    assert me.member("b") == identity("b")


def test_a_life_that_was_seen_stands_against_earlier_ones() -> None:
    me = known()
    assert tell(me, record("b", generation=0), sender="b") == []
    assert not me.claims._claims


def test_claims_are_bounded() -> None:
    me = make("a", *(f"b{n}" for n in range(CLAIMS_MAX + 9)))
    for n in range(CLAIMS_MAX + 9):
        tell(me, record(f"b{n}", generation=2))
    assert len(me.claims._claims) == CLAIMS_MAX
    me.validate()


# Our own name.


def test_nothing_that_is_said_ends_a_shard_that_has_a_part_in_the_cluster() -> None:
    me = make("a")
    me.claims.is_established = True
    for later in (record("me", generation=6), Record(replace(identity("me", 7), control=ELSEWHERE), 0, DEAD)):
        effects = tell(me, later)
        assert not any(isinstance(effect, Superseded | NameHeld) for effect in effects)
    assert me.step("a", NameTaken(5, ELSEWHERE), 0) == me.step("a", NameTaken(5, ELSEWHERE), 0)
    assert me.claims.holder == ""
    assert me.claims.wake(10 * PATIENCE_NS) == []
    assert not me.superseded


def test_a_former_self_that_is_remembered_makes_room() -> None:
    """A clock of 1970, and an empty folder: the generation is below the one that all remember."""
    me = make("a")
    tell(me, record("a", generation=6))
    effects = tell(me, record("me", generation=6))
    assert Superseded(identity("me", 6)) in effects
    assert me.superseded
    assert me.deadline is None
    assert me.step("a", Ping(1, "me", 5, address("a")), 1) == []


def test_a_life_elsewhere_is_left_the_name_if_it_answers() -> None:
    me = make("a")
    later = replace(identity("me", 6), control=ELSEWHERE)
    tell(me, Record(later, 0, ALIVE))
    (letter,) = me.claims.wake(0)
    assert (letter.address, letter.message.target) == (ELSEWHERE, "me")  # type: ignore[union-attr]
    effects = me.step("me", Ack(letter.message.sequence, "me", 6), 1)  # type: ignore[union-attr]
    assert NameHeld(ELSEWHERE) in effects
    assert me.claims.holder == ELSEWHERE
    assert not me.superseded


def test_a_life_elsewhere_that_does_not_answer_makes_room() -> None:
    me = make("a")
    later = replace(identity("me", 6), control=ELSEWHERE)
    tell(me, Record(later, 0, SUSPECT))
    me._settle(me.claims.wake(PATIENCE_NS), PATIENCE_NS)
    assert me._flush(PATIENCE_NS)[-1] == Superseded(replace(later))
    assert me.superseded


def test_a_generation_that_no_clock_can_have_come_to_is_none() -> None:
    me = make("a")
    tell(me, record("me", generation=INCARNATION_MAX))
    assert not me.superseded


def test_one_who_is_told_that_its_name_is_taken_waits_and_says_so_once_a_minute() -> None:
    me = make("a")
    assert me.step("a", NameTaken(5, ELSEWHERE), 0) == [NameHeld(ELSEWHERE)]
    assert NameHeld(ELSEWHERE) not in me.step("a", NameTaken(5, ELSEWHERE), 59 * SECOND)
    assert NameHeld(ELSEWHERE) not in me.step("a", NameTaken(4, ELSEWHERE), 61 * SECOND), "of a former life"
    assert NameHeld(ELSEWHERE) in me.step("a", NameTaken(5, ELSEWHERE), 61 * SECOND)
    assert not me.superseded


def test_one_that_leaves_is_not_begun_again() -> None:
    me = make("a")
    me.leave(0)
    me.step("a", Gossip((record("me", generation=6),)), 1)
    assert not me.superseded

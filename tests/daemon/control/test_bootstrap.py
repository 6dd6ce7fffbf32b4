"""How a first view comes about: the founders promise the same, and none of them takes that back."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from daemon.control.bootstrap import FOUNDERS_TAG, Alive, Bootstrap, Promise, read, spell, write
from daemon.membership.messages import CLUSTER_TAG
from daemon.state.commands import Identity

A, B, C, D, E = (Identity(name, 1) for name in "abcde")
Tags = Mapping[Identity, Mapping[str, str]]


def seen(*members: Identity, tags: Tags | None = None) -> Alive:
    return [(member, (tags or {}).get(member, {})) for member in members]


def told(number: int, *founders: Identity) -> dict[str, str]:
    return {FOUNDERS_TAG: f"{number}-{spell(founders)}"}


def formed(*founders: Identity) -> dict[str, str]:
    return {CLUSTER_TAG: spell(founders)}


def bound(shard: Identity, expect: int, number: int, *founders: Identity) -> Bootstrap:
    return Bootstrap(shard, expect, promise=Promise(number, founders))


def test_nothing_is_promised_while_too_few_are_in_sight() -> None:
    shard = Bootstrap(A, 3)
    assert shard.consider(seen(A, B)) is None
    assert shard.tags() == {}


def test_the_lowest_names_of_those_alive_are_promised() -> None:
    shard = Bootstrap(A, 3)
    assert shard.consider(seen(D, C, A)) == Promise(1, (A, C, D))
    assert shard.tags() == told(1, A, C, D)
    assert Bootstrap(D, 3).consider(seen(D, B, C, A)) == Promise(1, (A, B, C)), "also by one who is not among them"


def test_a_shard_founds_when_all_founders_have_promised_the_same() -> None:
    same, shard = told(1, A, B, C), Bootstrap(A, 3)
    assert shard.founders(seen(A, B, C, tags=dict.fromkeys((A, B, C), same))) == (), "before it promises itself"
    assert shard.consider(seen(A, B, C)) == Promise(1, (A, B, C))
    assert shard.founders(seen(A, B, C, tags={B: same})) == ()
    assert shard.awaited(seen(A, B, C, tags={B: same})) == ("c",)
    assert shard.founders(seen(A, B, C, tags={B: same, C: told(1, B, C)})) == ()
    assert shard.founders(seen(A, B, C, tags={B: same, C: same})) == (A, B, C)


def test_a_promise_is_not_taken_back_because_others_come_in_sight_or_are_gone() -> None:
    """Who has founded on it may have been counting on this shard, and be cut off by now."""
    shard = bound(D, 2, 1, C, D)
    for alive in (seen(A, B, C, D), seen(D), seen(A, D), seen(A, B, D, tags={A: told(7, A, B), B: told(7, A, B)})):
        assert shard.consider(alive) is None
    assert shard.awaited(seen(A, D)) == ("c",)


@pytest.mark.parametrize("other", [told(1, B, C), told(2, A, C), told(2, B, C)])
def test_a_promise_is_void_once_a_founder_can_never_make_it(other: dict[str, str]) -> None:
    shard = bound(A, 2, 1, A, C)
    assert shard.consider(seen(A, B, C, tags={C: told(1, A, C)})) is None
    found = shard.consider(seen(A, B, C, tags={C: other, B: {}}))
    assert found is not None
    assert found.round >= 1
    assert found.mark != (1, spell((A, C)))


def test_a_founder_of_an_earlier_round_may_still_make_the_promise() -> None:
    shard = bound(A, 2, 5, A, C)
    assert shard.consider(seen(A, B, C, tags={C: told(4, B, C)})) is None


def test_who_is_free_joins_the_latest_round_or_opens_the_next() -> None:
    others = {A: told(4, A, B), C: told(2, B, C)}
    assert Bootstrap(B, 2).consider(seen(A, B, C, tags=others)) == Promise(4, (A, B))
    assert Bootstrap(B, 3).consider(seen(A, B, C, tags=others)) == Promise(5, (A, B, C)), "it expects more than two"


def test_who_is_not_among_the_founders_is_not_bound() -> None:
    shard = Bootstrap(C, 2)
    assert shard.consider(seen(B, C, D)) == Promise(1, (B, C))
    assert shard.founders(seen(B, C, D, tags=dict.fromkeys((B, D), told(1, B, C)))) == (B, C)
    outsider = Bootstrap(C, 2)
    assert outsider.consider(seen(A, B, C)) == Promise(1, (A, B))
    assert outsider.founders(seen(A, B, C, tags=dict.fromkeys((A, B), told(1, A, B)))) == ()
    assert outsider.consider(seen(B, C, tags={B: told(1, A, B)})) == Promise(2, (B, C))


def test_one_who_sees_a_cluster_of_others_founds_none() -> None:
    for shard in (Bootstrap(C, 2), bound(C, 2, 1, C, D)):
        alive = seen(A, B, C, D, tags={A: formed(A, B), D: told(1, C, D)})
        assert shard.consider(alive) is None
        assert shard.founders(alive) == ()


def test_a_founder_starts_although_another_was_first() -> None:
    """The first to found shows no promise any more: in a simulated cluster the others waited for it for ever."""
    shard = bound(C, 3, 1, A, B, C)
    assert shard.founders(seen(A, B, C, tags={A: formed(A, B, C)})) == (A, B, C)


def test_a_founder_with_another_disk_is_none() -> None:
    reborn = Identity("c", 2)
    shard = Bootstrap(reborn, 3)
    alive = seen(A, B, reborn, tags={A: formed(A, B, C)})
    assert shard.consider(alive) is None
    assert shard.founders(alive) == ()
    assert bound(A, 2, 1, A, C).founders(seen(A, reborn, tags={reborn: told(1, A, C)})) == ()


# Shards that expect nobody else.


def test_a_lone_shard_founds_alone_and_one_with_seeds_does_not() -> None:
    lone = Bootstrap(A, 1, is_lone=True)
    assert lone.consider(seen(A)) == Promise(1, (A,))
    assert lone.founders(seen(A)) == (A,)
    for alive in (seen(A), seen(A, B, C)):
        assert Bootstrap(A, 1).consider(alive) is None


def test_a_shard_that_opens_no_round_takes_part_in_those_of_others() -> None:
    assert Bootstrap(C, 1).consider(seen(A, B, C, tags={A: told(3, A, B, C)})) == Promise(3, (A, B, C))


def test_an_operator_has_one_found_unless_something_is_in_sight() -> None:
    shard = Bootstrap(B, 1)
    assert shard.alone(seen(A, B, tags={A: formed(A)})) is None
    assert shard.alone(seen(A, B, tags={A: told(1, A)})) is None
    assert shard.alone(seen(A, B)) == Promise(1, (B,))
    assert shard.founders(seen(A, B)) == (B,)
    assert shard.alone(seen(A, B)) is None, "it has promised already"


def test_what_was_promised_alone_is_void_beside_a_cluster() -> None:
    """It was told to found, its machine failed before it did, and another one founded meanwhile."""
    shard = bound(B, 1, 1, B)
    assert shard.founders(seen(A, B, tags={A: formed(A)})) == ()


# What others say.


@pytest.mark.parametrize(
    "tag", ["", "1", "-1", "1-", "1-xyz", "01-" + "g" * 16, "1-" + "a" * 17, "9" * 10 + "-" + "a" * 16, "١-" + "a" * 16]
)
def test_a_tag_that_makes_no_sense_is_none(tag: str) -> None:
    assert Bootstrap(A, 2).consider(seen(A, B, tags={B: {FOUNDERS_TAG: tag}})) == Promise(1, (A, B))


def test_rounds_have_an_end() -> None:
    assert Bootstrap(A, 2).consider(seen(A, B, tags={B: told(999_999_999, B, C)})) is None


@pytest.mark.parametrize("text", ["", "1", "x a/1", "1 a", "1 /1", "1 a/", "1  a/1", "-1 a/1"])
def test_what_is_no_promise_is_not_read(text: str) -> None:
    assert read(text) is None


def test_a_promise_is_read_as_it_was_written() -> None:
    promise = Promise(7, (A, Identity("b/c", 2**62)))
    assert read(write(promise)) == promise


# Whatever is seen, in whatever order.


@pytest.mark.parametrize("seed", range(300))
def test_sets_that_overlap_found_one_cluster_and_in_the_end_they_do(seed: int) -> None:
    """Each sees some of the others, as they were at any time before; and may start again with what its disk holds."""
    random = Random(seed)
    everyone = [A, B, C, D, E][: random.randint(2, 5)]
    expect = random.randint(len(everyone) // 2 + 1, len(everyone))
    shards = {each: Bootstrap(each, expect) for each in everyone}
    told_before: dict[Identity, list[dict[str, str]]] = {each: [{}] for each in everyone}
    founded: set[tuple[Identity, ...]] = set()

    def look(me: Identity, alive: Alive) -> None:
        promise = shards[me].consider(alive)
        if promise is not None and random.random() < 0.1 and alive_again:
            shards[me] = Bootstrap(me, expect, promise=promise)  # it was kept, and not told yet
        told_before[me].append({**told_before[me][-1], **shards[me].tags()})
        if (founders := shards[me].founders(alive)) and CLUSTER_TAG not in told_before[me][-1]:
            founded.add(founders)
            told_before[me].append(formed(*founders))

    alive_again = True
    for _ in range(random.randint(5, 80)):
        me = random.choice(everyone)
        sight = [each for each in everyone if each == me or random.random() < 0.6]
        look(me, [(each, random.choice(told_before[each][-4:])) for each in sight])
        assert len(founded) <= 1, founded
    alive_again = False
    for _ in range(20):
        for me in random.sample(everyone, len(everyone)):
            look(me, [(each, told_before[each][-1]) for each in everyone])
    assert len(founded) == 1, [shard.promise for shard in shards.values()]

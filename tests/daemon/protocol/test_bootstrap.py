"""How a first view comes about: all founders declare the same, and all of them start."""

from __future__ import annotations

from collections.abc import Mapping

from daemon.protocol.bootstrap import CLUSTER_TAG, FOUNDERS_TAG, Alive, Bootstrap, spell
from daemon.protocol.decisions import Identity

A, B, C, D = (Identity(name, 1) for name in "abcd")


def seen(*members: Identity, tags: Mapping[Identity, Mapping[str, str]] | None = None) -> Alive:
    return [(member, (tags or {}).get(member, {})) for member in members]


def declared(*members: Identity) -> dict[str, str]:
    return {FOUNDERS_TAG: spell(members)}


def test_nothing_is_declared_while_too_few_are_in_sight() -> None:
    assert Bootstrap(A, 3).tags(seen(A, B)) == {}


def test_the_lowest_names_of_those_alive_are_declared() -> None:
    assert Bootstrap(A, 3).tags(seen(D, C, A)) == declared(A, C, D)
    assert Bootstrap(D, 3).tags(seen(D, B, C, A)) == declared(A, B, C)


def test_a_shard_founds_when_all_founders_have_declared_the_same() -> None:
    wanted, shard = declared(A, B, C), Bootstrap(A, 3)
    assert shard.founders(seen(A, B, C, tags=dict.fromkeys((A, B, C), wanted))) == (), "before it declares itself"
    assert shard.tags(seen(A, B, C)) == wanted
    assert shard.founders(seen(A, B, C, tags={A: wanted, B: wanted})) == ()
    assert shard.founders(seen(A, B, C, tags={A: wanted, B: wanted, C: declared(B, C)})) == ()
    assert shard.founders(seen(A, B, C, tags=dict.fromkeys((A, B, C), wanted))) == (A, B, C)


def test_one_who_is_not_among_the_founders_waits() -> None:
    shard = Bootstrap(C, 2)
    assert shard.tags(seen(A, B, C)) == declared(A, B)
    assert shard.founders(seen(A, B, C, tags=dict.fromkeys((A, B, C), declared(A, B)))) == ()


def test_one_who_sees_a_cluster_of_others_founds_none() -> None:
    formed, shard = {A: {CLUSTER_TAG: spell((A, B))}}, Bootstrap(C, 2)
    assert shard.tags(seen(A, B, C, tags=formed)) == {}
    assert shard.founders(seen(A, B, C, tags=formed)) == ()


def test_a_founder_starts_although_another_was_first() -> None:
    """The first to found shows no declaration any more: in a simulated cluster the others waited for it for ever."""
    shard = Bootstrap(C, 3)
    assert shard.tags(seen(A, B, C)) == declared(A, B, C)
    formed = {A: {CLUSTER_TAG: spell((A, B, C))}, C: declared(A, B, C)}
    assert shard.tags(seen(A, B, C, tags=formed)) == declared(A, B, C)
    assert shard.founders(seen(A, B, C, tags=formed)) == (A, B, C)


def test_a_founder_starts_although_it_declares_others_by_now() -> None:
    """More shards than are expected: a lower name comes in sight while another founds on what we have declared."""
    shard = Bootstrap(D, 2)
    assert shard.tags(seen(C, D)) == declared(C, D)
    assert shard.tags(seen(B, C, D)) == declared(B, C)
    formed = {C: {CLUSTER_TAG: spell((C, D))}}
    assert shard.founders(seen(B, C, D, tags=formed)) == (C, D)


def test_a_later_life_of_a_founder_is_none() -> None:
    formed, reborn = {A: {CLUSTER_TAG: spell((A, B, C))}}, Identity("c", 2)
    shard = Bootstrap(reborn, 3)
    assert shard.tags(seen(A, B, reborn, tags=formed)) == {}
    assert shard.founders(seen(A, B, reborn, tags=formed)) == ()

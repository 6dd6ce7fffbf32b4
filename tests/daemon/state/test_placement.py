"""Who should serve a partition, and who does."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.state.placement import actual, ideal, ring_order

NAMES = ("ant", "bee", "cat", "dog", "eel")
PARTITIONS, VIRTUAL_NODES = 12, 10

member_sets = st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: tuple(sorted(names)))
holdings = st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, PARTITIONS - 1)))
replica_counts = st.integers(1, 4)


@given(member_sets, st.data())
def test_fewer_members_come_in_the_same_order(members: tuple[str, ...], data: st.DataObject) -> None:
    fewer = tuple(sorted(data.draw(st.sets(st.sampled_from(members), min_size=1))))
    for order, shorter in zip(
        ring_order(members, VIRTUAL_NODES, PARTITIONS), ring_order(fewer, VIRTUAL_NODES, PARTITIONS), strict=True
    ):
        assert sorted(order) == list(members)
        assert shorter == tuple(name for name in order if name in fewer)


@given(member_sets.filter(lambda members: len(members) > 1), replica_counts, st.data())
def test_one_who_goes_moves_only_what_was_theirs(members: tuple[str, ...], replicas: int, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(members))
    left = tuple(name for name in members if name != gone)
    before = ideal(members, VIRTUAL_NODES, PARTITIONS, replicas)
    after = ideal(left, VIRTUAL_NODES, PARTITIONS, replicas)
    for old, new in zip(before, after, strict=True):
        if gone not in old:
            assert set(new) == set(old)
        else:
            assert {*old} - {gone} <= set(new), "the others stay, and one of them steps up"


@given(member_sets, replica_counts, st.sets(st.sampled_from(NAMES)))
def test_who_is_drained_should_hold_nothing_unless_all_are(
    members: tuple[str, ...], replicas: int, draining: set[str]
) -> None:
    staying = [name for name in members if name not in draining]
    for holders in ideal(members, VIRTUAL_NODES, PARTITIONS, replicas, draining):
        assert len(holders) == len(set(holders)) == min(replicas, len(staying or members))
        assert not staying or set(holders) <= set(staying)


@given(member_sets, replica_counts, st.sets(st.sampled_from(NAMES)), holdings)
def test_those_serve_who_hold(
    members: tuple[str, ...], replicas: int, draining: set[str], held: set[tuple[str, int]]
) -> None:
    placed = actual(members, VIRTUAL_NODES, PARTITIONS, replicas, draining, lambda name, p: (name, p) in held)
    orders = ring_order(members, VIRTUAL_NODES, PARTITIONS)
    for partition, (holders, order) in enumerate(zip(placed, orders, strict=True)):
        holding = [name for name in order if (name, partition) in held]
        assert len(holders) == min(replicas, len(holding)), "as many as there are; none means lost"
        assert all((name, partition) in held for name in holders)
        ranks = [(name in draining, order.index(name)) for name in holders]
        others = [(name in draining, order.index(name)) for name in holding if name not in holders]
        assert all(rank > max(ranks) for rank in others), "the first in the ring's order, and who is drained last"
        assert ranks[1:] == sorted(ranks[1:])
        assert len(holders) == 0 or holders[0] not in draining or set(holders) <= draining


@given(member_sets, replica_counts, st.sets(st.sampled_from(NAMES)), holdings)
def test_no_primary_could_hand_over_to_one_who_has_less_to_do(
    members: tuple[str, ...], replicas: int, draining: set[str], held: set[tuple[str, int]]
) -> None:
    placed = actual(members, VIRTUAL_NODES, PARTITIONS, replicas, draining, lambda name, p: (name, p) in held)
    load = Counter(holders[0] for holders in placed if holders)
    all_drain = set(members) <= draining
    for primary, *others in filter(None, placed):
        willing = [name for name in others if all_drain or name not in draining]
        assert all(load[primary] <= load[name] + 1 for name in willing)


@pytest.mark.parametrize(("count", "most"), [(1, 64), (2, 32), (3, 22), (4, 16), (5, 13), (8, 9)])
def test_what_the_busiest_of_them_computes(count: int, most: int) -> None:
    """Of 64 partitions, each held by two; the ring alone would give one of four 21, and one of five 20."""
    placed = ideal([f"shard-{i}" for i in range(1, count + 1)], 150, 64, 2)
    assert max(Counter(primary for primary, *_ in placed).values()) == most


@given(member_sets, replica_counts, st.sets(st.sampled_from(NAMES)))
def test_where_all_hold_everything_the_ideal_is_served(
    members: tuple[str, ...], replicas: int, draining: set[str]
) -> None:
    placed = actual(members, VIRTUAL_NODES, PARTITIONS, replicas, draining, lambda name, p: True)
    for served, wanted in zip(placed, ideal(members, VIRTUAL_NODES, PARTITIONS, replicas, draining), strict=True):
        assert served[: len(wanted)] == wanted

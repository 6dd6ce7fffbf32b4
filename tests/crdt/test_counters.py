"""Counters: growing, going both ways, and standing at a barrier."""

from __future__ import annotations

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import GCounter, PNCounter
from tests.crdt.laws import examples


def test_the_sum_never_passes_a_barrier() -> None:
    """Three phases of one shard are not one phase of three shards."""
    counter = GCounter({"a": 3})
    assert counter.value == 3
    assert not counter.reached(["a", "b", "c"], 1)
    assert counter.missing(["a", "b", "c"], 1) == ("b", "c")


def test_a_barrier_is_passed_when_each_member_is_at_it_or_beyond() -> None:
    counter = GCounter({"a": 4, "b": 3, "c": 4})
    assert counter.reached(["a", "b", "c"], 3)
    assert not counter.reached(["a", "b", "c"], 4)
    assert counter.missing(["c", "b", "a"], 4) == ("b",)


def test_those_who_are_no_members_do_not_count() -> None:
    counter = GCounter({"a": 1, "gone": 9})
    assert counter.reached(["a"], 1)
    assert not counter.reached(["a", "b"], 1)
    assert counter.reached([], 5)
    assert GCounter().missing(["b", "a", "b"], 1) == ("a", "b")


@examples(150)
@given(
    entries=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5)),
    members=st.lists(st.sampled_from("abcdef")),
    k=st.integers(0, 6),
)
def test_reached_is_nobody_missing(entries: dict[str, int], members: list[str], k: int) -> None:
    counter = GCounter(entries)
    assert counter.reached(members, k) == (not counter.missing(members, k))
    assert set(counter.missing(members, k)) == {member for member in members if entries.get(member, 0) < k}


def test_an_entry_never_goes_back() -> None:
    counter = GCounter({"a": 5})
    assert counter.advanced("a", 3) == counter
    assert counter.advanced("a", 7).entry("a") == 7


def test_a_merge_that_brings_nothing_gives_the_same_object() -> None:
    counter = GCounter({"a": 5, "b": 1})
    assert counter.merge(GCounter({"a": 4})) is counter
    assert counter.merge(counter) is counter
    assert counter.advanced("a", 5) is counter
    assert counter.advanced("a", 1) is counter


def test_zero_is_what_an_absent_entry_means() -> None:
    assert GCounter({"a": 0}) == GCounter()
    assert GCounter().increment("a", 0) == GCounter()
    assert GCounter().advanced_delta("a", 0) == GCounter()


@pytest.mark.parametrize("count", [-1, 2**63])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="a count must be"):
        GCounter({"a": count})
    with pytest.raises(ValueError, match="a count must be"):
        GCounter().advanced("a", count)
    with pytest.raises(ValueError, match="a count must be"):
        PNCounter().decrement("a", count)


@pytest.mark.parametrize(("name", "error"), [("", ValueError), ("\ud800", ValueError), (b"a", TypeError)])
def test_a_name_that_is_none_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        GCounter({name: 1})
    with pytest.raises(error):
        GCounter().increment(name)


def test_a_bool_is_no_count() -> None:
    with pytest.raises(TypeError, match="not bool"):
        GCounter({"a": True})


@examples(100)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=30))
def test_pn_counter_is_what_was_added_less_what_was_taken(changes: list[tuple[str, int, bool]]) -> None:
    """RR-7506, Specification 7, against plain addition."""
    counter, total = PNCounter(), 0
    for replica, by, up in changes:
        counter = counter.increment(replica, by) if up else counter.decrement(replica, by)
        total += by if up else -by
    assert counter.value == total


def test_concurrent_changes_all_count() -> None:
    start = PNCounter().increment("a", 10)
    left, right = start.decrement("a", 3), start.decrement("b", 4)
    assert left.merge(right).value == 3


def test_the_barrier_is_cheap() -> None:
    """A few microseconds for eight members; the bound is generous, for busy machines."""
    members = [f"shard-{n}/1" for n in range(8)]
    counter = GCounter(dict.fromkeys(members, 100))
    push = counter.advanced_delta(members[3], 101)

    def barrier() -> None:
        counter.merge(push).reached(members, 100)

    assert min(timeit.repeat(barrier, number=200, repeat=20)) / 200 < 25e-6

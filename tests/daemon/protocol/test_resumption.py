"""From which tick a run goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.decisions import StateSource, from_bits, to_bits
from daemon.protocol.placement import Placed
from daemon.protocol.resumption import StatesHeld, resumption

PLACED: Placed = (("a", "b"), ("b", "c"), ("c", "a"))


def held(**ticks: set[int]) -> StatesHeld:
    """`t4={0, 1}` means the states of partitions 0 and 1 at the end of tick 4."""
    return {int(name[1:]): frozenset(partitions) for name, partitions in ticks.items()}


def test_without_any_state_it_starts_again() -> None:
    assert resumption(PLACED, {"a": {}, "b": {}, "c": {}}) == (0, ())


def test_the_highest_tick_that_is_whole_counts() -> None:
    """b has been lost and c has already prepared tick 8: but of partition 0 only 4 is left."""
    reports = {"a": held(t4={0, 2}, t8={2}), "c": held(t4={1, 2}, t8={1, 2})}
    assert resumption((("a",), ("c",), ("c", "a")), reports) == (4, ())


def test_whose_primary_lacks_it_is_told_a_source() -> None:
    reports = {"a": held(t4={0}), "b": held(t4={0, 1}), "c": held(t4={1, 2})}
    placed: Placed = (("c",), ("a",), ("c",))
    assert resumption(placed, reports) == (
        4,
        (StateSource("a", to_bits({0})), StateSource("b", to_bits({1}))),
    )


def test_a_tick_that_is_held_whole_by_several_together_is_enough() -> None:
    reports = {"a": held(t9={0}), "b": held(t9={1}), "c": held(t9={2}, t4={0, 1, 2})}
    assert resumption(PLACED, reports) == (9, ())


shards = st.sampled_from("abcd")
placements = st.lists(st.lists(shards, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=6).map(
    tuple
)
states = st.dictionaries(st.integers(1, 6), st.frozensets(st.integers(0, 5)), max_size=3)


@given(placements, st.fixed_dictionaries(dict.fromkeys("abcd", states)))
def test_it_is_never_below_a_tick_that_is_held_for_every_partition(
    placed: Placed, reports: dict[str, dict[int, frozenset[int]]]
) -> None:
    tick, sources = resumption(placed, reports)

    def having(partition: int, at: int) -> set[str]:
        return {name for name, ticks in reports.items() if partition in ticks.get(at, ())}

    whole = [at for at in range(1, 7) if all(having(partition, at) for partition in range(len(placed)))]
    assert tick == max(whole, default=0)
    fetched = [(source.shard, partition) for source in sources for partition in from_bits(source.partitions)]
    lacking = [p for p, holders in enumerate(placed) if tick and holders[0] not in having(p, tick)]
    assert sorted(partition for _, partition in fetched) == lacking, "once each, and only what a primary lacks"
    assert all(shard in having(partition, tick) for shard, partition in fetched)

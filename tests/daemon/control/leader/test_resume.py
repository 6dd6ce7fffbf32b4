"""From which tick a run goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.control.leader.resume import Made, StatesHeld, resumption
from daemon.state.commands import StateSource, from_bits, to_bits
from daemon.state.placement import Placed

PLACED: Placed = (("a", "b"), ("b", "c"), ("c", "a"))


def held(**ticks: set[int]) -> StatesHeld:
    """`t4={0, 1}` means the states of partitions 0 and 1 at the end of tick 4, made in epoch 1; `t4_2` in epoch 2."""
    made = [tuple(map(int, f"{name[1:]}_1".split("_")[:2])) for name in ticks]
    return {(tick, epoch): frozenset(kept) for (tick, epoch), kept in zip(made, ticks.values(), strict=True)}


def test_without_any_state_it_starts_again() -> None:
    assert resumption(PLACED, {"a": {}, "b": {}, "c": {}}) == ((0, 0), ())


def test_the_highest_tick_that_is_whole_counts() -> None:
    """b has been lost and c has already prepared tick 8: but of partition 0 only 4 is left."""
    reports = {"a": held(t4={0, 2}, t8={2}), "c": held(t4={1, 2}, t8={1, 2})}
    assert resumption((("a",), ("c",), ("c", "a")), reports) == ((4, 1), ())


def test_whose_primary_lacks_it_is_told_a_source() -> None:
    reports = {"a": held(t4={0}), "b": held(t4={0, 1}), "c": held(t4={1, 2})}
    placed: Placed = (("c",), ("a",), ("c",))
    assert resumption(placed, reports) == (
        (4, 1),
        (StateSource("a", to_bits({0})), StateSource("b", to_bits({1}))),
    )


def test_a_tick_that_is_held_whole_by_several_together_is_enough() -> None:
    reports = {"a": held(t9={0}), "b": held(t9={1}), "c": held(t9={2}, t4={0, 1, 2})}
    assert resumption(PLACED, reports) == ((9, 1), ())


def test_what_was_made_in_different_epochs_does_not_belong_together() -> None:
    """a was away when the others did tick 9 again, in another view: its 9 is not theirs."""
    reports = {"a": held(t9={0}, t4={0}), "b": held(t9_2={1}, t4={1}), "c": held(t9_2={2}, t4={2})}
    assert resumption(PLACED, reports) == ((4, 1), ())
    assert resumption(PLACED, {**reports, "c": held(t9_2={2, 0})}) == ((9, 2), (StateSource("c", to_bits({0})),))


def test_of_two_that_are_whole_the_later_made_counts() -> None:
    reports = {"a": held(t9={0, 1, 2}), "b": held(t9_2={0, 1, 2}), "c": held(t8_3={0, 1, 2})}
    (made, sources) = resumption((("b",), ("b",), ("b",)), reports)
    assert (made, sources) == ((9, 2), ())


shards = st.sampled_from("abcd")
placements = st.lists(st.lists(shards, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=6).map(
    tuple
)
mades = st.tuples(st.integers(1, 4), st.integers(1, 2))
states = st.dictionaries(mades, st.frozensets(st.integers(0, 5)), max_size=3)


@given(placements, st.fixed_dictionaries(dict.fromkeys("abcd", states)))
def test_it_is_never_below_a_tick_that_is_held_for_every_partition(
    placed: Placed, reports: dict[str, dict[Made, frozenset[int]]]
) -> None:
    made, sources = resumption(placed, reports)

    def having(partition: int, at: Made) -> set[str]:
        return {name for name, ticks in reports.items() if partition in ticks.get(at, ())}

    known = {at for ticks in reports.values() for at in ticks}
    whole = [at for at in known if all(having(partition, at) for partition in range(len(placed)))]
    assert made == max(whole, default=(0, 0))
    fetched = [(source.shard, partition) for source in sources for partition in from_bits(source.partitions)]
    lacking = [p for p, holders in enumerate(placed) if made[0] and holders[0] not in having(p, made)]
    assert sorted(partition for _, partition in fetched) == lacking, "once each, and only what a primary lacks"
    assert all(shard in having(partition, made) for shard, partition in fetched)

"""The barrier: entries, never their sum; any order, any number of times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.lockstep.barrier import PHASES, Barrier, entry_of, phase_of
from shoal.program.phase import Phase

MEMBERS = ("a", "b", "c")
NEWS = st.lists(st.tuples(st.sampled_from(MEMBERS), st.integers(0, 12)), max_size=20)


def test_one_shard_thrice_is_not_three_shards() -> None:
    barrier = Barrier(MEMBERS)
    barrier.advance("a", 3)
    assert not barrier.passed(1)
    assert barrier.missing(1) == ("b", "c")
    barrier.merge([("b", 1), ("c", 1)])
    assert barrier.passed(1)
    assert not barrier.passed(2)
    assert barrier.missing(2) == ("b", "c")


def test_strangers_have_no_entry() -> None:
    barrier = Barrier(MEMBERS)
    barrier.advance("x", 9)
    assert barrier.entries() == (("a", 0), ("b", 0), ("c", 0))


@given(NEWS, st.randoms(use_true_random=False))
def test_what_is_lost_repeated_or_late_does_no_harm(news: list[tuple[str, int]], random: object) -> None:
    once, again = Barrier(MEMBERS), Barrier(MEMBERS)
    once.merge(news)
    shuffled = [*news, *news]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again.merge(shuffled)
    assert once.entries() == again.entries()
    greatest = {name: max([entry for shard, entry in news if shard == name], default=0) for name in MEMBERS}
    assert dict(once.entries()) == greatest
    for entry in range(14):
        assert once.passed(entry) == (min(greatest.values()) >= entry)


@given(st.integers(0, 10**6), st.sampled_from(Phase))
def test_entries_number_all_phases_of_all_ticks(tick: int, phase: Phase) -> None:
    assert phase_of(entry_of(tick, phase)) == (tick, phase)
    assert entry_of(tick + 1, Phase.SENSE) == entry_of(tick, Phase.ADVANCE) + 1
    assert entry_of(tick + 1, phase) - entry_of(tick, phase) == PHASES

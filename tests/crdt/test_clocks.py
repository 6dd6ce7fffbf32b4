"""Dots, vectors, contexts, and the theorems of the hybrid logical clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import ClockDrift, Dot, DotContext, HybridLogicalClock, Timestamp, VersionVector
from crdt.clocks import LOGICAL_MAX
from tests.crdt.laws import examples

dots = st.builds(Dot, st.sampled_from("ab"), st.integers(1, 8))


def test_vectors_that_saw_different_events_are_concurrent() -> None:
    """Parker et al. 1983: a conflict is two vectors of which neither dominates."""
    left, right = VersionVector({"a": 2}), VersionVector({"a": 1, "b": 1})
    assert left.concurrent(right)
    assert not left.concurrent(left.merge(right))
    assert Dot("a", 2) in left
    assert Dot("a", 3) not in left
    assert left.increment("a") == VersionVector({"a": 3})


@examples(200)
@given(st.lists(st.frozensets(dots, max_size=10), max_size=4), st.permutations(range(4)))
def test_a_context_is_a_set_of_dots(groups: list[frozenset[Dot]], order: list[int]) -> None:
    """Against its dumb twin, a plain set: the same members, and one form for one set, however it came about."""
    context = DotContext()
    for index in order:
        if index < len(groups):
            context = context.merge(DotContext(cloud=groups[index]))
    twin = frozenset().union(*groups)
    everything = [Dot(replica, counter) for replica in "ab" for counter in range(1, 10)]
    assert {dot for dot in everything if dot in context} == twin
    assert context == DotContext(cloud=twin)
    for replica in "ab":
        assert (
            context.next_dot(replica).counter == max([d.counter for d in twin if d.replica == replica], default=0) + 1
        )
        assert Dot(replica, context.vector.entry(replica) + 1) not in context


@examples(200)
@given(st.frozensets(dots), st.frozensets(dots))
def test_the_order_of_contexts_is_inclusion(left: frozenset[Dot], right: frozenset[Dot]) -> None:
    assert (DotContext(cloud=left) <= DotContext(cloud=right)) == (left <= right)


def test_a_context_without_gaps_has_no_cloud() -> None:
    context = DotContext()
    for counter in range(500, 0, -1):
        context = context.add(Dot("a", counter))
    assert context == DotContext(VersionVector({"a": 500}))


@pytest.mark.parametrize("counter", [0, -1, 2**63])
def test_a_dot_counts_from_one(counter: int) -> None:
    with pytest.raises(ValueError, match="a count must be"):
        Dot("a", counter)


# The hybrid clock: a run of several machines, each with a wall clock that is off by a constant, exchanging messages.

DRIFT_NS = 50
events = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-3, 20), st.none() | st.integers(0, 40)), min_size=1, max_size=40
)
offsets = st.tuples(*[st.integers(0, DRIFT_NS)] * 3)


@examples(300)
@given(events, offsets)
def test_hybrid_clock_theorems(run: list[tuple[int, int, int | None]], off: tuple[int, int, int]) -> None:
    """Kulkarni et al. 2014: causes before effects (theorem 1), never behind the wall clock (theorem 2), never beyond
    the greatest wall clock it knows of (theorem 3), so never further from it than clocks differ (corollary 1), and a
    logical part of at most the events before it (corollary 2). Wall clocks here may stand still and go back."""
    clocks = [HybridLogicalClock(replica) for replica in "abc"]
    known, time = [0, 0, 0], 1_000
    sent: list[tuple[Timestamp, int]] = []
    for count, (who, passed, message) in enumerate(run):
        time = max(0, time + passed)
        now, before = time + off[who], clocks[who]
        causes = [before.stamp]
        if message is not None and sent:
            stamp, aware = sent[message % len(sent)]
            causes.append(stamp)
            known[who] = max(known[who], aware)
            clocks[who] = before.receive(stamp, now, drift_max_ns=10**9)
        else:
            clocks[who] = before.tick(now)
        known[who] = max(known[who], now)
        after = clocks[who]
        assert all(cause < after.stamp for cause in causes), "theorem 1"
        assert after.wall_ns >= now, "theorem 2"
        assert after.wall_ns == known[who], "theorem 3: the greatest wall clock known, and nothing made up"
        assert after.logical <= count, "corollary 2"
        if all(step >= 0 for _, step, _ in run):
            assert after.wall_ns - now <= DRIFT_NS, "corollary 1"
        sent.append((after.stamp, known[who]))


def test_a_stamp_from_too_far_ahead_is_refused() -> None:
    clock = HybridLogicalClock("a").tick(now=1_000)
    stamp = Timestamp(2_001, 0, "wrong")
    with pytest.raises(ClockDrift, match="'wrong' is 1001 ns ahead; at most 1000 are accepted"):
        clock.receive(stamp, now=1_000, drift_max_ns=1_000)
    assert clock.receive(stamp, now=1_001, drift_max_ns=1_000).stamp == Timestamp(2_001, 1, "a")


def test_a_full_logical_part_steps_the_wall_clock() -> None:
    clock = HybridLogicalClock("a").receive(Timestamp(5, LOGICAL_MAX, "b"), now=5, drift_max_ns=0)
    assert clock.stamp == Timestamp(6, 0, "a")
    assert clock.tick(now=5).stamp == Timestamp(6, 1, "a")


def test_a_clock_survives_a_restart_by_its_stamp() -> None:
    clock = HybridLogicalClock("a").tick(now=100)
    again = HybridLogicalClock("a", clock.stamp.wall_ns, clock.stamp.logical)
    assert again.tick(now=50).stamp > clock.stamp


@pytest.mark.parametrize("parts", [(-1, 0), (0, -1), (0, LOGICAL_MAX + 1), (2**63, 0)])
def test_a_timestamp_out_of_range_is_refused(parts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Timestamp(*parts, "a")

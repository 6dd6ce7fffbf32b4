"""Every lattice, one harness: the laws, deltas, and convergence however messages are lost, repeated or reordered."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import decode, encode, join
from tests.crdt.laws import SUBJECTS, Step, Subject, World, check_pair, check_triple, examples, histories

every_lattice = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


@every_lattice
@examples(100)
@given(history=histories, data=st.data())
def test_laws(subject: Subject, history: list[Step], data: st.DataObject) -> None:
    """SSS 2011, section 2: states form a join semilattice, and updates move upwards in it."""
    values = World.after(subject, history).values
    picks = data.draw(st.lists(st.sampled_from(range(len(values))), min_size=3, max_size=9))
    for x, y, z in zip(picks, picks[1:], picks[2:], strict=False):
        check_pair(values[x], values[y])
        check_triple(values[x], values[y], values[z])


@every_lattice
@examples(100)
@given(history=histories, seed=st.integers(0, 2**32))
def test_replicas_that_have_merged_all_are_equal(subject: Subject, history: list[Step], seed: int) -> None:
    """SSS 2011, Theorem 1: after any losses and repeats, one exchange of whole states in any order makes all equal."""
    world = World.after(subject, history)
    order = random.Random(seed)
    ends = []
    for state in world.states:
        arrivals = [*world.states, *order.sample(world.messages, k=len(world.messages) // 2)]
        arrivals += order.sample(arrivals, k=len(arrivals) // 2)
        order.shuffle(arrivals)
        ends.append(join(state, *arrivals))
    assert ends[0] == ends[1] == ends[2]
    assert len({encode(end) for end in ends}) == 1


@every_lattice
@examples(100)
@given(history=histories, seed=st.integers(0, 2**32))
def test_all_deltas_in_any_order_make_the_state(subject: Subject, history: list[Step], seed: int) -> None:
    """Almeida 2018, Definitions 2 and 3: a delta-group of all deltas, in any grouping, is the join of all states."""
    world = World.after(subject, history)
    order = random.Random(seed)
    arrivals = [*world.deltas, *order.choices(world.deltas, k=3 if world.deltas else 0)]
    order.shuffle(arrivals)
    half = len(arrivals) // 2
    grouped = join(subject.bottom, *arrivals[:half]).merge(join(subject.bottom, *arrivals[half:]))
    assert grouped == join(subject.bottom, *arrivals) == join(subject.bottom, *world.states)


@every_lattice
@examples(100)
@given(history=histories)
def test_codec_round_trip_of_all_that_can_be_reached(subject: Subject, history: list[Step]) -> None:
    """decode(encode(x)) == x, and equal values have the same bytes, whatever way they came about."""
    for value in World.after(subject, history).values:
        data = encode(value)
        again = decode(data, expect=type(value))
        assert again == value
        assert encode(again) == data


@every_lattice
@examples(50)
@given(history=histories)
def test_nothing_changes_in_place(subject: Subject, history: list[Step]) -> None:
    """A value that was merged, mutated and encoded is what it was before."""
    world = World.after(subject, history)
    before = copy.deepcopy(world.values)
    join(subject.bottom, *world.values)
    for value in world.values:
        encode(value)
    assert world.values == before


@every_lattice
def test_bottom_is_the_type_without_arguments(subject: Subject) -> None:
    assert type(subject.bottom)() == subject.bottom
    assert subject.bottom.merge(subject.bottom) == subject.bottom

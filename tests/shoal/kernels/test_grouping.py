"""Grouping is a stable sort by key; what is no grouping is refused, and nothing is written out of bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.graph import columns as col
from shoal.kernels import _native
from shoal.kernels.grouping import Grouping, distinct

KINDS: list[Any] = [np.uint8, np.uint16, np.int16, np.int32, np.int64]
VALUES: list[Any] = [np.bool_, np.int32, np.int64, np.float64]


@given(st.lists(st.integers(0, 9)), st.integers(0, 9), st.sampled_from(KINDS), st.sampled_from(VALUES))
def test_it_is_a_stable_sort(numbers: list[int], piles: int, kind: Any, value: Any) -> None:
    """What has a key beyond the piles is left out."""
    keys, values = np.array(numbers, kind), np.arange(len(numbers)).astype(value)
    expected = [i for i in np.argsort(keys, kind="stable").tolist() if numbers[i] < piles]
    grouping = Grouping(keys, piles)
    assert grouping.starts.tolist() == [sum(n < pile for n in numbers) for pile in range(piles + 1)]
    assert grouping.order().tolist() == expected
    assert grouping.deal(values).tolist() == values[expected].tolist()
    assert grouping.deal(values).dtype == values.dtype
    strings = pa.array([str(n) for n in numbers], pa.string())
    assert col.dealt(strings, grouping).to_pylist() == [str(numbers[i]) for i in expected]


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3))))
def test_an_order_through_another_is_the_order_by_both(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array([pair[k] for pair in pairs], np.int32) for k in (0, 1))
    got = Grouping(first, 4).order(Grouping(second, 4).order())
    whole = [i for i, pair in enumerate(pairs) if min(pair) >= 0]
    assert got.tolist() == sorted(whole, key=lambda i: pairs[i])


@given(st.lists(st.integers(0, 30)), st.sampled_from([np.int32, np.int64]), st.sampled_from([None, 31, 10_000]))
def test_distinct_numbers_are_those_of_a_set(numbers: list[int], kind: Any, below: int | None) -> None:
    """By flags and by sorting."""
    values = np.array(numbers, kind)
    assert distinct(values, below).tolist() == sorted(set(numbers))
    assert values.tolist() == numbers


def test_a_view_with_gaps_is_grouped_as_well() -> None:
    keys, values = np.arange(12, dtype=np.int32)[::3], np.arange(8.0)[::2]
    assert Grouping(keys % 2, 2).deal(values).tolist() == [0.0, 4.0, 2.0, 6.0]


def test_what_is_no_grouping_is_refused() -> None:
    keys, starts = np.array([0, 1, 1], np.int32), np.array([0, 1, 3])
    values, out = np.zeros(3), np.zeros(3)
    wrong: list[tuple[Any, ...]] = [
        (keys, starts[:0], values, out),
        (keys, starts, values[:2], out),
        (keys, starts, values, out[:2]),
        (keys, starts, values, np.zeros(3, np.int64)),
        (keys, starts + 1, values, out),
        (keys, -starts, values, np.zeros(1)),
        (keys, starts, values, np.zeros(4)),
    ]
    for case in wrong:
        with pytest.raises(ValueError, match=r"needed|starts|type"):
            _native.deal(*case)
    with pytest.raises(ValueError, match="starts of these keys"):
        _native.order(keys, starts, np.array([0, 3], np.int32), np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="starts of these keys"):
        _native.order(keys, starts, np.array([-1], np.int32), np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="starts of these keys"):  # or some of it would never have been written
        Grouping(keys, 2).order(np.array([0, 1], np.int32))
    with pytest.raises(TypeError, match="keys"):
        _native.tally(values, starts)
    frozen = starts.copy()
    frozen.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        _native.tally(keys, frozen)


def test_marks_are_only_made_where_there_is_room() -> None:
    ends, holders, places = (
        np.array([0, 1, 1, 2], np.int32),
        np.array([0, 1, 1], np.int32),
        np.array([0, -1, 1], np.int32),
    )
    marks = np.zeros(4, np.uint8)
    _native.touch(marks, ends, ends[::-1].copy(), holders, places, 2, 4)
    assert marks.tolist() == [0, 4, 4, 0]  # 0 sees 2, which 1 holds; 1 has no place; 2 sees 0
    for case in (
        (marks, ends + 1, ends, holders, places, 2, 1),
        (marks, ends, ends - 1, holders, places, 2, 1),
        (marks[:2], ends, ends[::-1].copy(), holders, places, 2, 1),
        (marks, ends, ends, holders - 1, places, 2, 1),
        (marks, ends, ends[1:], holders, places, 2, 1),
        (marks, ends, ends, holders[1:], places, 2, 1),
        (marks, ends, ends, holders, places, -1, 1),
    ):
        with pytest.raises(ValueError, match=r"an end of an edge|two ends|every node|wide"):
            _native.touch(*case)

"""Compiled reductions against a loop that says what they mean; rows that are none are refused."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.kernels import _native
from shoal.kernels.reductions import Kernel

WIDTH = 9
LEAST, MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max

rows_of_neighbours = st.lists(st.lists(st.integers(0, WIDTH - 1), max_size=70), max_size=WIDTH)
any_floats = st.lists(st.floats(width=64), min_size=WIDTH, max_size=WIDTH)
any_integers = st.lists(st.integers(LEAST, MOST), min_size=WIDTH, max_size=WIDTH)


def kernel_of(rows: list[list[int]], wide: bool = False, width: int = WIDTH) -> Kernel:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64 if wide else np.int32)
    return Kernel(indptr, np.array([n for row in rows for n in row], dtype=np.int32), width)


def bits(array: Any) -> list[int]:
    """Of floats; all that is not a number is alike."""
    array = np.asarray(array, np.float64)
    return np.where(np.isnan(array), np.float64(math.nan), array).view(np.int64).tolist()  # type: ignore[no-any-return]


def fold(
    rows: list[list[int]], take: Callable[[Any, Any], Any], read: Callable[[int, int], Any], identity: Any
) -> list[Any]:
    """Each row from left to right: `take` the total so far and what is `read` of a neighbour and an edge's position."""
    result, edge = [], 0
    for row in rows:
        total = identity
        for neighbour in row:
            total = take(total, read(neighbour, edge))
            edge += 1
        result.append(total)
    return result


def add(a: int, b: int) -> int:
    return wrapped(a + b)


def wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


@given(rows=rows_of_neighbours, floats=any_floats, wide=st.booleans(), threads=st.integers(1, 4), data=st.data())
@settings(deadline=None, max_examples=100)
def test_floats_from_left_to_right(
    rows: list[list[int]], floats: list[float], wide: bool, threads: int, data: st.DataObject
) -> None:
    """The same bits as Python's own arithmetic, on any number of threads."""
    kernel, v = kernel_of(rows, wide), np.array(floats)
    edges = len(kernel.neighbours)
    w = np.array(data.draw(st.lists(st.floats(-1e3, 1e3), min_size=edges, max_size=edges)), np.float64)
    with np.errstate(all="ignore"), ThreadPoolExecutor(threads) as pool:
        expected = bits(fold(rows, operator.add, lambda n, _: v[n], 0.0))
        assert bits(kernel.sum(v)) == bits(kernel.sum(v, pool, threads)) == expected
        expected = bits(fold(rows, operator.add, lambda n, e: v[n] * w[e], 0.0))
        assert bits(kernel.sum(v, weights=w)) == bits(kernel.sum(v, pool, threads, weights=w)) == expected
        for ufunc, identity in ((np.minimum, math.inf), (np.maximum, -math.inf)):
            expected = fold(rows, ufunc, lambda n, _: v[n], identity)
            np.testing.assert_array_equal(kernel.reduce(ufunc, v, identity), expected)
            np.testing.assert_array_equal(kernel.reduce(ufunc, v, identity, pool, threads), expected)
            expected = fold(rows, ufunc, lambda n, e: v[n] + w[e], identity)
            np.testing.assert_array_equal(kernel.reduce(ufunc, v, identity, weights=w), expected)


@given(rows=rows_of_neighbours, integers=any_integers, data=st.data())
@settings(deadline=None, max_examples=60)
def test_integers_wrap_around(rows: list[list[int]], integers: list[int], data: st.DataObject) -> None:
    kernel, v = kernel_of(rows), np.array(integers, np.int64)
    edges = len(kernel.neighbours)
    weights = data.draw(st.lists(st.integers(LEAST, MOST), min_size=edges, max_size=edges))
    w = np.array(weights, np.int64)
    assert kernel.sum(v).tolist() == fold(rows, add, lambda n, _: integers[n], 0)
    weighted = fold(rows, add, lambda n, e: integers[n] * weights[e], 0)
    assert kernel.sum(v, weights=w).tolist() == weighted
    for ufunc, take, identity in ((np.minimum, min, MOST), (np.maximum, max, LEAST)):
        expected = fold(rows, take, lambda n, _: integers[n], identity)
        assert kernel.reduce(ufunc, v, identity).tolist() == expected
        expected = fold(rows, take, lambda n, e: wrapped(integers[n] + weights[e]), identity)
        assert kernel.reduce(ufunc, v, identity, weights=w).tolist() == expected
        assert kernel.reduce(ufunc, v, 7).tolist() == [
            7 if not row else value for row, value in zip(rows, kernel.reduce(ufunc, v, identity).tolist(), strict=True)
        ]


@given(rows=rows_of_neighbours, flags=st.lists(st.booleans(), min_size=WIDTH, max_size=WIDTH))
@settings(deadline=None, max_examples=40)
def test_neighbours_that_are_not_zero_are_counted(rows: list[list[int]], flags: list[bool]) -> None:
    kernel, expected = kernel_of(rows), fold(rows, operator.add, lambda n, _: int(flags[n]), 0)
    for dtype in (np.bool_, np.int64, np.float64, np.int16):
        assert kernel.count(np.array(flags).astype(dtype)).tolist() == expected
    assert kernel.reduce(np.logical_or, np.array(flags), False).tolist() == [n > 0 for n in expected]


@given(rows=rows_of_neighbours, share=any_floats, damping=st.floats(0, 1), base=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_a_step_of_pagerank_has_the_bits_of_its_parts(
    rows: list[list[int]], share: list[float], damping: float, base: float
) -> None:
    kernel, shares, per_edge = kernel_of(rows), np.array(share), np.linspace(0, 1, len(rows))
    with np.errstate(all="ignore"):
        rank = kernel.sum(shares) * damping
        rank += base
        expected = bits(rank * per_edge)
    found, following = np.empty(len(rows)), np.empty(WIDTH)
    with ThreadPoolExecutor(2) as pool:
        kernel.rank_step(shares, per_edge, found, following, damping, base, pool, 2)
    assert bits(found) == bits(rank)
    assert bits(following[: len(rows)]) == expected


@given(
    rows=rows_of_neighbours,
    more=rows_of_neighbours,
    values=st.one_of(
        st.lists(st.integers(-2, 3), min_size=WIDTH, max_size=WIDTH),
        st.lists(st.integers(0, 3), min_size=WIDTH, max_size=WIDTH),
        st.lists(st.sampled_from([-1.5, 0.0, 0.25, math.inf]), min_size=WIDTH, max_size=WIDTH),
        any_integers,
    ),
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=100)
def test_the_most_frequent_value_and_the_least_of_several(
    rows: list[list[int]], more: list[list[int]], values: list[Any], threads: int
) -> None:
    def most_frequent(row: list[int]) -> Any:
        votes = Counter(values[n] for n in row)
        return min(votes, key=lambda value: (-votes[value], value), default=-7)

    v = np.array(values)
    more = (more + [[]] * len(rows))[: len(rows)]
    kernel, other = kernel_of(rows), kernel_of(more, wide=True)
    with ThreadPoolExecutor(threads) as pool:
        assert kernel.mode(v, -7, None, pool, threads).tolist() == [most_frequent(row) for row in rows]
        both = kernel.mode(v, -7, other, pool, threads)
    assert both.tolist() == [most_frequent(a + b) for a, b in zip(rows, more, strict=True)]
    assert both.dtype == v.dtype


def test_labels_that_do_not_fit_are_refused() -> None:
    kernel = kernel_of([[0, 8], [1]])
    with pytest.raises(ValueError, match="fewer labels"):
        kernel.mode(np.zeros(WIDTH - 1, np.int64), 0)
    with pytest.raises(ValueError, match="same nodes"):
        kernel.mode(np.zeros(WIDTH, np.int64), 0, kernel_of([[0]]))
    labels, found = np.zeros(WIDTH, np.int32), np.zeros(2, np.int32)
    for wrong in (-1, 3):
        labels[4] = wrong
        with pytest.raises(ValueError, match="out of bounds"):
            _native.mode(kernel.indptr, kernel.neighbours, None, None, labels, found, 3, WIDTH, 0, 2)


def test_values_of_other_types_and_layouts_are_taken() -> None:
    kernel = kernel_of([[0, 1], [], [2]], width=3)
    assert kernel.sum(np.arange(6.0)[::2]).tolist() == [2.0, 0.0, 4.0]
    assert kernel.sum(np.array([1, 2, 3], np.int32)).tolist() == [3, 0, 3]
    assert kernel.sum(np.array([1, 2, 3]), weights=np.array([0.5, 0.25, 2.0])).tolist() == [1.0, 0.0, 6.0]
    assert kernel.reduce(np.multiply, np.array([2, 3, 4]), 1).tolist() == [6, 1, 4]


@pytest.mark.parametrize(
    ("indptr", "neighbours", "width"),
    [
        ([0, 2], [0, 3], 3),
        ([0, 2], [0, -1], 3),
        ([0, 3], [0, 1], 3),
        ([1, 2], [0, 1], 3),
        ([0, 2, 1, 2], [0, 1], 3),
        ([], [], 3),
        ([0, 1], [0], 0),
    ],
)
def test_rows_that_are_none_are_refused(indptr: list[int], neighbours: list[int], width: int) -> None:
    for dtype in (np.int32, np.int64):
        with pytest.raises(ValueError, match=r"row|neighbour"):
            Kernel(np.array(indptr, dtype), np.array(neighbours, np.int32), width)


def test_a_kernel_cannot_be_bent_afterwards() -> None:
    kernel = kernel_of([[0, 1]])
    for array in (kernel.indptr, kernel.neighbours):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 99


def test_arrays_that_do_not_fit_are_refused() -> None:
    kernel, values = kernel_of([[0, 8], [1]]), np.zeros(WIDTH)
    with pytest.raises(ValueError, match="fewer values"):
        kernel.sum(values[:-1])
    with pytest.raises(ValueError, match="one weight an edge"):
        kernel.sum(values, weights=np.zeros(2))
    with pytest.raises(ValueError, match="fewer values"):
        kernel.count(values[:-1])
    with pytest.raises(TypeError, match="one dimension"):
        kernel.sum(np.zeros((WIDTH, 1)))
    ends = kernel.indptr, kernel.neighbours
    for first, last in ((-1, 2), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="no such rows"):
            _native.gather(*ends, values, None, np.zeros(2), 0, WIDTH, first, last)
    with pytest.raises(ValueError, match="value a row"):
        _native.gather(*ends, values, None, np.zeros(3), 0, WIDTH, 0, 2)
    with pytest.raises(ValueError, match="another type"):
        _native.gather(*ends, values, None, np.zeros(2, np.int64), 0, WIDTH, 0, 2)
    with pytest.raises(ValueError, match="no such merge"):
        _native.gather(*ends, values, None, np.zeros(2), 3, WIDTH, 0, 2)
    with pytest.raises(TypeError):
        _native.gather(*ends)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="of its own"):
        kernel.rank_step(values, np.zeros(2), np.zeros(2), values, 0.85, 0.1)

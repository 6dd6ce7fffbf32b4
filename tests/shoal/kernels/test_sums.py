"""Sums in our order: to the bit what numpy 2 gives on this machine, and what the definition says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shoal.kernels import _native
from shoal.kernels.merging import merged, merged_rows

Floats = NDArray[np.float64]


def pairwise(values: list[float]) -> float:
    """The definition: eight lanes for up to 128 numbers, and two halves beyond."""
    if len(values) < 8:
        return sum(values, start=-0.0)
    if len(values) > 128:
        half = len(values) // 2
        half -= half % 8
        return pairwise(values[:half]) + pairwise(values[half:])
    whole = len(values) - len(values) % 8
    lane = [0.0] * 8
    for j in range(8):
        lane[j] = values[j]
        for value in values[j + 8 : whole : 8]:
            lane[j] += value
    total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]))
    for value in values[whole:]:
        total += value
    return total


def drawn(count: int) -> Floats:
    """Numbers of very different sizes, so that every other order shows."""
    random = np.random.default_rng(count)
    return random.standard_normal(count) * 10.0 ** random.integers(-12, 12, count)


LENGTHS = [*range(1, 40), 63, 64, 65, 127, 128, 129, 130, 136, 137, 255, 256, 257, 258, 264, 1000, 4097, 100_000]


@pytest.mark.parametrize("count", LENGTHS)
def test_a_sum_is_in_pairs_and_has_the_bits_of_numpy_2(count: int) -> None:
    values = drawn(count)
    assert float(merged(np.add, values)).hex() == pairwise(values.tolist()).hex() == float(np.add.reduce(values)).hex()


@pytest.mark.parametrize("count", LENGTHS)
def test_a_row_is_its_first_number_and_the_others_in_pairs(count: int) -> None:
    values = drawn(count)
    first, *others = values.tolist()
    (total,) = merged_rows(np.add, values, np.zeros(1, np.intp))
    assert float(total).hex() == ((first + pairwise(others)) if others else first).hex()


@pytest.mark.parametrize("count", LENGTHS)
def test_rows_have_the_bits_of_numpy_2(count: int) -> None:
    values, random = drawn(count), np.random.default_rng(count)
    starts = np.unique(np.r_[0, random.integers(0, count, count // 7)])
    assert merged_rows(np.add, values, starts).tobytes() == np.add.reduceat(values, starts).tobytes()
    assert merged_rows(np.add, values[::-1], starts).tobytes() == np.add.reduceat(values[::-1].copy(), starts).tobytes()


@pytest.mark.parametrize("values", [[-0.0], [-0.0, -0.0], [0.0, -0.0], [-0.0] * 9, [np.inf, -np.inf], [np.nan, 1.0]])
def test_zeros_and_what_is_no_number(values: list[float]) -> None:
    ours = merged_rows(np.add, np.array(values), np.zeros(1, np.intp))
    with np.errstate(invalid="ignore"):
        theirs = np.add.reduceat(values, [0])
    assert np.signbit(ours).tolist() == np.signbit(theirs).tolist() or np.isnan(theirs).all()
    assert np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("starts", [[0, 0], [1, 0], [3], [-1], [0, 3]])
def test_rows_that_are_none_are_refused(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="rows ascend"):
        _native.sum_rows(np.ones(3), np.array(starts, np.int64), np.empty(len(starts)))


def test_integers_are_left_to_numpy() -> None:
    assert merged(np.add, np.array([2**62, 2**62 - 1], np.int64)) == 2**63 - 1

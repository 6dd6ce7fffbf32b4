"""The least and the greatest of floats have the same bits in any order, in any parts, and with any instruction set."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched  # type: ignore[attr-defined]

from shoal.kernels.merging import EXTREMES, merged, merged_at, merged_rows, one_nan, settled
from shoal.kernels.reductions import Kernel
from tests.signed import FLOATS, bits, extreme, of_type

floats = st.lists(st.one_of(st.sampled_from(FLOATS), st.floats()), min_size=1, max_size=70)
types = st.sampled_from([np.float32, np.float64])
merges = st.sampled_from(EXTREMES)


@given(ufunc=merges, values=floats, dtype=types, data=st.data())
@example(ufunc=np.minimum, values=[0.0, -0.0], dtype=np.float64, data=None)
@example(ufunc=np.maximum, values=[-0.0] * 17, dtype=np.float32, data=None)
@settings(deadline=None, max_examples=200)
def test_order_and_parts_make_no_difference(ufunc: np.ufunc, values: list[float], dtype: Any, data: Any) -> None:
    given_order = of_type(values, dtype)
    expected = bits(extreme(ufunc, given_order))
    draw = data.draw if data is not None else lambda strategy: None
    order = draw(st.permutations(range(len(values)))) or range(len(values))[::-1]
    shuffled = given_order[list(order)]
    starts = np.array(sorted({0, *(draw(st.lists(st.integers(0, len(values) - 1))) or [])}))
    parts = merged_rows(ufunc, shuffled, starts)
    identity = np.nan if ufunc in (np.fmin, np.fmax) else np.inf if ufunc is np.minimum else -np.inf
    nowhere = np.zeros(len(values), np.int64)
    for whole in (given_order, shuffled, parts, parts[::-1]):
        assert bits(merged(ufunc, whole)) == expected
        assert bits(merged_rows(ufunc, whole, np.zeros(1, np.int64))) == expected
        assert bits(merged_at(ufunc, identity, whole, nowhere[: len(whole)], 1)) == expected
        kernel = Kernel(np.array([0, len(whole)], np.int32), np.arange(len(whole), dtype=np.int32), len(whole))
        assert bits(kernel.reduce(ufunc, whole, dtype(identity))) == expected


@given(ufunc=st.sampled_from([np.minimum, np.maximum]), values=floats, dtype=types)
@settings(deadline=None, max_examples=100)
def test_a_weight_is_added_before(ufunc: np.ufunc, values: list[float], dtype: Any) -> None:
    with np.errstate(all="ignore"):
        v = of_type(values, dtype)
        weights = np.roll(v, 1)
        kernel = Kernel(np.array([0, len(v)], np.int32), np.arange(len(v), dtype=np.int32), len(v))
        found = kernel.reduce(ufunc, v, dtype(0), weights=weights)
        assert bits(found) == bits(extreme(ufunc, v + weights))


@given(values=floats, dtype=types, data=st.data())
@settings(deadline=None, max_examples=100)
def test_the_most_frequent_of_equal_floats_is_settled(values: list[float], dtype: Any, data: st.DataObject) -> None:
    v = of_type(values, dtype)
    shuffled = v[data.draw(st.permutations(range(len(v))))]
    found = [
        Kernel(np.array([0, len(v)], np.int32), np.arange(len(v), dtype=np.int32), len(v)).mode(each, dtype(0))
        for each in (v, shuffled)
    ]
    assert bits(found[0]) == bits(found[1]) == bits(settled(found[0].copy()))


@pytest.mark.parametrize("values", [[1, -1], [True, False]])
def test_other_numbers_stay(values: list[Any]) -> None:
    assert settled(np.array(values)).tolist() == one_nan(np.array(values)).tolist() == values
    assert merged(np.minimum, np.array(values)) == min(values)


def test_a_negative_zero_stays_where_nothing_has_to_choose() -> None:
    zeros = np.array([0.0, -0.0])
    assert bits(merged_rows(np.add, zeros, np.array([0, 1]))) == bits(one_nan(zeros)) == bits(zeros)


def test_there_is_one_nan() -> None:
    strange = np.array([1.0, math.nan, math.copysign(math.nan, -1), -0.0])
    before = bits(strange)
    assert bits(one_nan(strange)) == bits(np.array([1.0, math.nan, math.nan, -0.0]))
    assert bits(strange) == before, "what was given is not written to"


TRIES = """
from tests.shoal.kernels.test_merging import found_by_this_machine
print(found_by_this_machine())
"""


def found_by_this_machine() -> str:
    """A digest of many merges of zeros and NaNs."""
    rng, told = np.random.default_rng(11), hashlib.sha256()
    for size in range(1, 80):
        for dtype in (np.float32, np.float64):
            zeros = np.where(rng.random(4 * size) < 0.5, 0.0, -0.0).astype(dtype)
            strange = np.where(rng.random(4 * size) < 0.5, zeros, np.copysign(dtype(np.nan), zeros))
            for ufunc in EXTREMES:
                for values in (zeros, strange):
                    told.update(merged_rows(ufunc, values, np.arange(4) * size).tobytes())
                    told.update(merged(ufunc, values).tobytes())
    return told.hexdigest()


def test_instructions_of_the_machine_make_no_difference() -> None:
    disabled = {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)}
    environment = os.environ | disabled | {"PYTHONWARNINGS": "ignore"}
    told = subprocess.run([sys.executable, "-c", TRIES], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == found_by_this_machine()

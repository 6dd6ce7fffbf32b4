"""Frozen values: one value, one sequence of bytes."""

from __future__ import annotations

import enum
import struct

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import Malformed, Value
from crdt.values import freeze, thaw, thaw_strictly
from tests.crdt.laws import examples

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
values = scalars | st.lists(scalars, max_size=20).map(tuple)


@examples(400)
@given(values)
def test_thaw_of_freeze(value: Value) -> None:
    again = thaw_strictly(freeze(value))
    assert again == thaw(freeze(value)) == value
    assert repr(again) == repr(value), "types and the sign of zero too"
    assert freeze(again) == freeze(value)


@examples(1000)
@given(st.binary(max_size=12))
def test_freeze_of_thaw(data: bytes) -> None:
    try:
        value = thaw_strictly(data)
    except Malformed:
        return
    assert freeze(value) == data


def test_every_nan_is_one() -> None:
    signalling = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert freeze(signalling) == freeze(float("nan")) == bytes.fromhex("cb7ff8000000000000")
    assert freeze((signalling,)) == bytes.fromhex("91cb7ff8000000000000")
    with pytest.raises(Malformed, match="canonical"):
        thaw_strictly(bytes.fromhex("cbfff8000000000123"))


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, {1}, ((1,),), ([],), object(), 1j, numpy.int64(1), numpy.float64(1), Colour.RED, bytearray(b"x")],
)
def test_what_is_not_a_value(value: object) -> None:
    with pytest.raises(TypeError, match="a value is None, bool, int, float, str, bytes or a flat tuple"):
        freeze(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, (2**63,), "\ud800", ("\ud800",)])
def test_what_has_no_bytes(value: Value) -> None:
    with pytest.raises(ValueError):
        freeze(value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("", "nothing"),
        ("0101", "two objects"),
        ("cc01", "an int in a longer form"),
        ("d001", "an int in a signed form"),
        ("cfffffffffffffffff", "an int beyond 64 bits with sign"),
        ("ca3f800000", "a float of 32 bits"),
        ("d90161", "a str in a longer form"),
        ("a1ff", "a str that is not UTF-8"),
        ("a3eda080", "a str with a surrogate"),
        ("a261", "a str cut short"),
        ("dc000101", "an array in a longer form"),
        ("9101ff", "an array and one more"),
        ("9201", "an array cut short"),
        ("dc", "a header cut short"),
        ("9190", "an array in an array"),
        ("80", "a map"),
        ("810101", "a map with an entry"),
        ("d40000", "an extension"),
        ("c70005", "an empty extension"),
        ("d6ff00000000", "a time"),
        ("c1", "the byte that is never used"),
    ],
)
def test_what_freeze_never_writes(data: str, what: str) -> None:
    with pytest.raises(Malformed):
        thaw_strictly(bytes.fromhex(data))

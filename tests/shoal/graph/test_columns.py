"""Columns keep their values through normalising, encoding and the wire; what is not a column never gets in."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.graph import columns as col
from shoal.graph.table import BadGraph

VALUES = st.one_of(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1),
    st.lists(st.floats(), min_size=1),
    st.lists(st.booleans(), min_size=1),
    st.lists(st.text(), min_size=1),
    st.lists(st.sampled_from(["", "a", "ß", "日本"]), min_size=8, max_size=60),
)


def arrived(column: Any) -> Any:
    """Through the wire as it really is: msgpack for the spec, bytes for the frames."""
    spec, frames = col.to_wire(column)
    return col.from_wire(msgpack.unpackb(msgpack.packb(spec)), [bytes(frame) for frame in frames])


@given(VALUES, st.integers(0, 5))
@settings(deadline=None)
def test_what_arrives_is_what_was_sent(values: list[Any], cut: int) -> None:
    column = col.column_of(values, "it")[cut:]
    for each in (column, col.compact(column)):
        assert col.equal(arrived(each), column)
    if col.is_string(column):
        assert col.equal(arrived(column.dictionary_encode()), column)
        assert col.equal(arrived(column.cast(pa.large_string())), column)


@given(VALUES)
@settings(deadline=None)
def test_an_encoding_depends_on_the_values_alone(values: list[Any]) -> None:
    column = col.column_of(values, "it")
    once = col.compact(column)
    assert col.equal(once, column)
    if col.is_string(column):
        reversed_dictionary = pa.array([*reversed(values), "unused"]).dictionary_encode()
        other = pa.DictionaryArray.from_arrays(
            reversed_dictionary.indices[: len(values)].take(pa.array(range(len(values))[::-1])),
            reversed_dictionary.dictionary,
        )
        assert col.compact(other).type == once.type
        assert col.to_wire(col.compact(other))[0] == col.to_wire(once)[0]


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (np.array([1, 2], dtype=np.uint8), "int64", [1, 2]),
        (np.array([1.5], dtype=np.float32), "float64", [1.5]),
        (np.array(["a", "b"]), "string", ["a", "b"]),
        (np.array(["a", None], dtype=object), "string", ["a", ""]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ((True, False), "bool", [True, False]),
        (pa.chunked_array([[1], [2, 3]]), "int64", [1, 2, 3]),
        (pa.chunked_array([], pa.int64()), "int64", []),
        (pa.chunked_array([], pa.string()), "string", []),
        (pa.chunked_array([["a"], ["b"]]).dictionary_encode(), "string", ["a", "b"]),
        (pa.array([7, 7]).dictionary_encode(), "int64", [7, 7]),
        (pa.array(["a", None, "a"]).dictionary_encode(), "string", ["a", "", "a"]),
        (pa.array(["a"], pa.large_string()), "string", ["a"]),
    ],
)
def test_many_things_are_columns(values: Any, name: str, expected: list[Any]) -> None:
    column = col.column_of(values, "it")
    assert (col.type_name(column), column.tolist()) == (name, expected)


def test_a_missing_float_is_nan() -> None:
    assert np.isnan(col.column_of(pa.array([None, 1.0]), "it")).tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1, "a"], "must be all int, all float, all str or all bool"),
        ([True, 1], "must be all int"),
        ([1 << 63], "must be all int"),
        (["\ud800"], "must be all int"),
        ([1, None], "row 2 has no value"),
        ([[1]], "a column can't have the type list<item: int64>"),
        ([b"a"], "can't have the type binary"),
        (np.zeros((2, 2)), "must have one dimension"),
        (np.array([1 << 63], dtype=np.uint64), "does not fit a signed integer of 64 bits"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "a column can't have"),
    ],
)
def test_other_things_are_not(values: Any, sentence: str) -> None:
    with pytest.raises(BadGraph, match="^it: .*" + sentence):
        col.column_of(values, "it")


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.just([]),
    st.just({}),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*col.FRAMES]) | JUNK,
        "length": st.integers(0, 4) | JUNK,
        "distinct": st.integers(0, 4) | JUNK,
        "text": st.sampled_from([*col.STRINGS]) | JUNK,
    },
)
FRAME = st.binary(max_size=24) | st.lists(st.integers(-1, 4), max_size=5).map(lambda v: np.array(v, np.int32).tobytes())


@given(SPECS | JUNK, st.lists(FRAME | JUNK, max_size=4))
@settings(deadline=None, max_examples=400)
def test_junk_is_a_column_or_a_bad_graph(spec: Any, frames: list[Any]) -> None:
    try:
        column = col.from_wire(spec, frames)
    except BadGraph:
        return
    assert len(column) == spec["length"]
    assert len(column.tolist()) == len(column)  # reads every value


OFFSETS = np.array([0, 1, 2], dtype=np.int32).tobytes()


@pytest.mark.parametrize(
    ("spec", "frames", "sentence"),
    [
        ({"type": "int64", "length": 2}, [bytes(15)], "2 values take 16 bytes, 15 came"),
        ({"type": "int64", "length": 1 << 47}, [bytes(8)], "8 came"),
        ({"type": "int64", "length": -1}, [b""], "'length' is not a proper int"),
        ({"type": "int64", "length": True}, [bytes(8)], "'length' is not a proper int"),
        ({"type": "pickle", "length": 1}, [b""], "can't be sent"),
        ({"type": "bool", "length": 2}, [b"\x00\x02"], "0 or 1 on the wire, not 2"),
        ({"type": "string", "length": 2}, [OFFSETS, b"a"], "do not cut its 1 bytes into 2 strings"),
        ({"type": "string", "length": 2}, [OFFSETS[::-1], b"ab"], "do not cut"),
        ({"type": "string", "length": 2}, [OFFSETS, b"a\xff"], "Invalid UTF8"),
        ({"type": "string", "length": 2}, [OFFSETS, "ß".encode()], "Invalid UTF8"),
        ({"type": "string", "length": 2}, [OFFSETS], "2 frames are needed, 1 came"),
        ({"type": "int64", "length": 0}, ["text"], "not a buffer"),
        (
            {"type": "dictionary", "length": 1, "distinct": 2, "text": "string"},
            [np.array([2], np.int32), OFFSETS, b"ab"],
            "outside the dictionary of 2",
        ),
        (
            {"type": "dictionary", "length": 1, "distinct": 2, "text": "int64"},
            [np.array([0], np.int32), OFFSETS, b"ab"],
            "values are strings",
        ),
    ],
)
def test_nonsense_is_named(spec: Any, frames: list[Any], sentence: str) -> None:
    with pytest.raises(BadGraph, match=sentence):
        col.from_wire(spec, frames)


def test_frames_are_neither_copied_nor_written_to() -> None:
    column = np.arange(1000)
    _, frames = col.to_wire(column)
    assert np.shares_memory(frames[0], column)
    back = col.from_wire({"type": "int64", "length": 1000}, frames)
    assert np.shares_memory(back, column)
    assert not back.flags.writeable


def test_a_frame_cut_from_another_at_an_odd_place_is_read_all_the_same() -> None:
    data = memoryview(b"x" + np.arange(3).tobytes())[1:]
    column = col.from_wire({"type": "int64", "length": 3}, [data])
    assert column.tolist() == [0, 1, 2]
    assert column.flags.aligned


TEXTS = ["a", "b", "a", "b"] * 3


@pytest.mark.parametrize(
    "pieces",
    [
        [pa.array(TEXTS), pa.array(TEXTS)],
        [pa.array(TEXTS), pa.array(TEXTS).dictionary_encode()],
        [pa.array(TEXTS, pa.large_string()), pa.array(TEXTS)],
        [pa.array(TEXTS).dictionary_encode(), pa.array(TEXTS, pa.large_string()).dictionary_encode()],
        [pa.array(["b", "a", *TEXTS]).dictionary_encode(), pa.array([], pa.string()).dictionary_encode()],
        [pa.array(TEXTS).dictionary_encode()[3:5], pa.array(["c", *TEXTS]).dictionary_encode()],
    ],
)
def test_strings_are_joined_however_they_are_held(pieces: list[Any]) -> None:
    """As they come from different disks, where each partition was held the way that suited it."""
    whole = col.joined(pieces)
    assert whole.to_pylist() == [text for piece in pieces for text in piece.to_pylist()]
    spec, frames = col.to_wire(whole)
    assert col.equal(col.from_wire(spec, frames), whole)


def test_a_dictionary_goes_when_it_no_longer_pays() -> None:
    many = pa.array([f"t{n // 4}" for n in range(400)]).dictionary_encode()
    assert col.slim(many) is many
    few = col.slim(many[::7])
    assert few.type == pa.string()
    assert few.to_pylist() == many.to_pylist()[::7]
    assert col.slim(col.take(many, np.zeros(80, np.intp))).to_pylist() == ["t0"] * 80


@pytest.mark.parametrize("name", ["int64", "float64", "bool", "string"])
def test_an_empty_column_has_its_type(name: str) -> None:
    column = col.empty(name)
    assert (len(column), col.type_name(column)) == (0, name)
    assert col.equal(col.from_wire(*col.to_wire(column)), column)

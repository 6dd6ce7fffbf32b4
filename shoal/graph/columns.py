"""Columns: typed values of all nodes or all edges, in memory and on the wire.

| values | in memory | on the wire |
| --- | --- | --- |
| int64, float64, int32 (ordinals) | numpy array | the array |
| bool | numpy array | one byte each, 0 or 1 |
| string | pyarrow array | offsets (32 bits; 64 from 2 GiB on), UTF-8 bytes |
| string, few distinct | pyarrow dictionary array | codes (32 bits), then the distinct values as above |

A column is sent as a spec of plain values and a few frames (any buffers), all little-endian and as in memory.
`from_wire` trusts nothing: it checks every size against the actual frame before it allocates anything, and offsets,
codes and UTF-8 before it reads anything through them. It refuses data only with `BadGraph`.

A column has no nulls. A missing float is NaN and a missing string is empty; a missing int or bool is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.graph.arrow import pa, pc
from shoal.graph.table import BadGraph, Column
from shoal.kernels.grouping import Grouping

Spec: TypeAlias = dict[str, Any]

NUMBERS = {"int64": np.int64, "int32": np.int32, "float64": np.float64}
STRINGS = {"string": 4, "large_string": 8}
"""The types of strings on the wire, and the bytes per offset."""
FRAMES = {"int64": 1, "int32": 1, "float64": 1, "bool": 1, "string": 2, "large_string": 2, "dictionary": 3}

STRING_BYTES_MAX = (1 << 31) - 1
"""The most that 32-bit offsets can address."""
SAMPLE = 4096
"""How many values are sampled to decide whether a dictionary pays."""
DICTIONARY_SHARE = 4
"""A dictionary pays when at most one value in four is new: a code is 4 bytes and so is an offset."""


def type_name(column: Column) -> str:
    """Returns the name of a column's type: `int64`, `int32`, `float64`, `bool` or `string` (however it is encoded)."""
    return str(column.dtype.name) if isinstance(column, np.ndarray) else "string"


def is_string(column: Column) -> bool:
    """Returns whether a column holds strings."""
    return not isinstance(column, np.ndarray)


def column_of(values: Any, what: str) -> Column:
    """Converts any sequence, numpy or pyarrow array to a column; `what` begins the sentence of an error.

    >>> column_of([1, 2, 3], "column 'age'")
    array([1, 2, 3])
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        return _number_column(values, what)
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        items = values.tolist() if isinstance(values, np.ndarray) else list(values)
        try:
            values = pa.array(items)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as problem:
            raise BadGraph(f"{what}: the values must be all int, all float, all str or all bool: {problem}") from None
    return _arrow_column(values, what)


def _number_column(values: NDArray[Any], what: str) -> NDArray[Any]:
    if values.ndim != 1:
        raise BadGraph(f"{what}: the array must have one dimension, not {values.ndim}")
    match values.dtype.kind:
        case "b":
            return values.astype(np.bool_, copy=False)
        case "f":
            return values.astype(np.float64, copy=False)
        case _:
            if values.dtype == np.uint64 and len(values) and int(values.max()) > np.iinfo(np.int64).max:
                raise BadGraph(f"{what}: {int(values.max())} does not fit a signed integer of 64 bits")
            return values.astype(np.int64, copy=False)


def _arrow_column(values: Any, what: str) -> Column:
    kind = values.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        values = values.cast(kind.value_type)
        kind = values.type
    if len(values) == 0 and pa.types.is_null(kind):
        return np.empty(0, dtype=np.float64)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if values.null_count and not pa.types.is_floating(kind):
            row = pc.index(values.is_null(), True).as_py()
            raise BadGraph(
                f"{what}: row {row + 1} has no value; fill it in, or make the column a float, where NaN is no value"
            )
        if values.null_count:
            values = pc.fill_null(values, float("nan"))
        arrays = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        parts = [array.to_numpy(zero_copy_only=False) for array in arrays]
        joined = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, kind.to_pandas_dtype()), *parts])
        return _number_column(joined, what)
    if _is_text(kind) or (pa.types.is_dictionary(kind) and _is_text(kind.value_type)):
        try:
            values.validate(full=True)  # neither Parquet nor a cast validates UTF-8
        except pa.ArrowException as problem:
            raise BadGraph(f"{what}: the text is damaged: {problem}") from None
        return _string_column(values)
    raise BadGraph(f"{what}: a column can't have the type {kind}; make it int, float, string or bool")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _string_column(values: Any) -> Any:
    """Returns one array, without nulls, of `string` (or `large_string` from 2 GiB on) or a dictionary of it."""
    if pa.types.is_dictionary(values.type):
        if values.null_count:
            values = values.cast(values.type.value_type)
            return _string_column(values)
        if isinstance(values, pa.ChunkedArray):
            values = values.unify_dictionaries().combine_chunks()
            values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return pa.DictionaryArray.from_arrays(values.indices.cast(pa.int32()), _string_column(values.dictionary))
    if values.null_count:
        values = pc.fill_null(values, "")
    size = _text_bytes(values)
    values = values.cast(pa.string() if size <= STRING_BYTES_MAX else pa.large_string())
    if isinstance(values, pa.ChunkedArray):
        values = (
            values.chunk(0)
            if values.num_chunks == 1
            else pa.concat_arrays(values.chunks or [pa.array([], pa.string())])
        )
    return values


def _text_bytes(values: Any) -> int:
    return int(pc.sum(pc.binary_length(values)).as_py() or 0)


def compact(column: Column) -> Column:
    """Encodes strings with few distinct values as a dictionary, others plain. Only the values decide, so the same
    column is always encoded the same way.
    """
    if not is_string(column):
        return column
    if pa.types.is_dictionary(column.type):
        if len(column.dictionary) * DICTIONARY_SHARE <= len(column):
            # In order of first appearance, whatever the source's order, and without unused values.
            return _compact_plain(column.cast(column.type.value_type))
        column = column.cast(column.type.value_type)
    return _compact_plain(column)


def _compact_plain(column: Any) -> Any:
    sample = column[:SAMPLE]
    if len(pc.unique(sample)) * DICTIONARY_SHARE > len(sample):
        return column
    encoded = column.dictionary_encode()
    return encoded if len(encoded.dictionary) * DICTIONARY_SHARE <= len(column) else column


def take(column: Column, rows: NDArray[Any]) -> Column:
    """Returns the values at those rows."""
    return column[rows] if isinstance(column, np.ndarray) else column.take(pa.array(rows))


def dealt(column: Column, grouping: Grouping) -> Column:
    """Returns the values, one per item of the grouping, by key."""
    return take(column, grouping.order()) if is_string(column) else grouping.deal(column)


def slim(column: Column) -> Column:
    """Returns a column after rows were selected: without its dictionary if that no longer pays."""
    if not is_string(column) or not pa.types.is_dictionary(column.type):
        return column
    pays = len(column.dictionary) * DICTIONARY_SHARE <= len(column)
    return column if pays else _compact_plain(column.cast(column.type.value_type))


def empty(type_name: str) -> Column:
    """Returns a column of that type without values."""
    if type_name == "string":
        return pa.array([], pa.string())
    return np.empty(0, np.bool_ if type_name == "bool" else NUMBERS[type_name])


def joined(columns: Sequence[Column]) -> Column:
    """Concatenates columns of one type; a single one is returned as it is. Dictionaries become one if all have one;
    otherwise the values decide the encoding.
    """
    if len(columns) == 1:
        return columns[0]
    if not is_string(columns[0]):
        return np.concatenate(columns)
    coded = [pa.types.is_dictionary(column.type) for column in columns]
    if all(coded) and len({column.type for column in columns}) == 1:
        return slim(_string_column(pa.chunked_array(columns)))
    texts = [plain(column) for column in columns]
    if len({text.type for text in texts}) > 1 or sum(map(_text_bytes, texts)) > STRING_BYTES_MAX:
        texts = [text.cast(pa.large_string()) for text in texts]
    text = _string_column(pa.chunked_array(texts))
    return compact(text) if any(coded) else text


def concatenated(columns: Sequence[Column]) -> Column:
    """Concatenates columns of one type; strings without their dictionaries."""
    if is_string(columns[0]):
        return pa.concat_arrays([plain(column) for column in columns])
    return np.concatenate(columns)


def equal(left: Column, right: Column) -> bool:
    """Returns whether two columns hold the same values of the same type. NaN equals NaN; encodings do not matter."""
    if type_name(left) != type_name(right) or len(left) != len(right):
        return False
    if not is_string(left):
        return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))
    return bool(plain(left).cast(pa.large_string()).equals(plain(right).cast(pa.large_string())))


def plain(column: Any) -> Any:
    """Returns a string column without its dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def encoded(column: Any) -> tuple[NDArray[Any], Any]:
    """Returns a string column as codes and the values that the codes stand for."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.indices.to_numpy(), column.dictionary


def to_wire(column: Column) -> tuple[Spec, list[Any]]:
    """Returns a column's spec and frames; the frames are views of the column, not copies."""
    if isinstance(column, np.ndarray):
        name = type_name(column)
        assert name in FRAMES, f"a column of {name}"
        return {"type": name, "length": len(column)}, [np.ascontiguousarray(column).view(np.uint8)]
    if pa.types.is_dictionary(column.type):
        values = column.dictionary
        codes = np.ascontiguousarray(column.indices.to_numpy(), dtype=np.int32).view(np.uint8)
        spec = {"type": "dictionary", "length": len(column), "distinct": len(values), "text": str(values.type)}
        return spec, [codes, *_text_frames(values)]
    return {"type": str(column.type), "length": len(column)}, _text_frames(column)


def _text_frames(values: Any) -> list[Any]:
    width = np.dtype(np.int64 if pa.types.is_large_string(values.type) else np.int32)
    _, offset_buffer, data = values.buffers()
    if len(values) == 0 or offset_buffer is None:
        return [np.zeros(1, width).view(np.uint8), b""]
    offsets = np.frombuffer(offset_buffer, width, len(values) + 1, values.offset * width.itemsize)
    first, last = int(offsets[0]), int(offsets[-1])
    if first:
        offsets = offsets - width.type(first)
    return [offsets.view(np.uint8), memoryview(data)[first:last] if data is not None else b""]


def frame_count(spec: object) -> int:
    """Returns how many frames a column of that spec has."""
    kind = field(spec, "type", str)
    if kind not in FRAMES:
        raise BadGraph(f"a column of type {kind[:40]!r} can't be sent; use one of {', '.join(FRAMES)}")
    return FRAMES[kind]


class FrameReader:
    """Reads frames, column by column."""

    def __init__(self, frames: Sequence[Any]) -> None:
        self._frames, self._at = frames, 0

    def column(self, spec: object, what: str) -> Column:
        """Returns the next column. Raises `BadGraph`."""
        count = frame_count(spec)
        if self._at + count > len(self._frames):
            raise BadGraph(f"{what}: {count} frames are needed, {len(self._frames) - self._at} are left")
        self._at += count
        return from_wire(spec, self._frames[self._at - count : self._at], what)

    def numbers(self, spec: object, what: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Returns the next column, which must be an array of that type."""
        if field(spec, "type", str) != dtype.name:
            raise BadGraph(f"{what}: the values should be {dtype.name}")
        return np.asarray(self.column(spec, what))

    def columns(self, specs: Sequence[tuple[str, object]]) -> dict[str, Column]:
        """Returns the next columns, by name."""
        return {name: self.column(spec, f"column {name!r}") for name, spec in specs}

    def check_end(self) -> None:
        """Checks that no frame is left."""
        if self._at < len(self._frames):
            raise BadGraph(f"{len(self._frames)} frames came, and {self._at} are needed")


def from_wire(spec: object, frames: Sequence[Any], what: str = "a column") -> Column:
    """Returns the column that was sent, completely checked; its arrays are read-only views of the frames."""
    if len(frames) != frame_count(spec):
        raise BadGraph(f"{what}: {frame_count(spec)} frames are needed, {len(frames)} came")
    kind, length = field(spec, "type", str), field(spec, "length", int)
    if kind in NUMBERS:
        return _numbers(frames[0], np.dtype(NUMBERS[kind]), length, what)
    if kind == "bool":
        values = _numbers(frames[0], np.dtype(np.uint8), length, what)
        if length and values.max() > 1:
            raise BadGraph(f"{what}: a bool is 0 or 1 on the wire, not {int(values.max())}")
        return values.view(np.bool_)
    if kind in STRINGS:
        return _text(kind, frames, length, what)
    distinct, text = field(spec, "distinct", int), field(spec, "text", str)
    if text not in STRINGS:
        raise BadGraph(f"{what}: a dictionary's values are strings, not {text[:40]!r}")
    codes = _numbers(frames[0], np.dtype(np.int32), length, what)
    values = _text(text, frames[1:], distinct, what)
    if length and (int(codes.min()) < 0 or int(codes.max()) >= distinct):
        raise BadGraph(f"{what}: a code lies outside the dictionary of {distinct} values")
    return pa.DictionaryArray.from_arrays(pa.array(codes), values)


def field(spec: object, name: str, kind: type) -> Any:
    """Returns a field of an untrusted spec, of exactly that type; an int is a size and never negative."""
    if not isinstance(spec, Mapping) or name not in spec:
        raise BadGraph(f"the spec has no field {name!r}")
    value: Any = spec[name]
    proper = type(value) is kind
    if not proper or (kind is int and not 0 <= value < 1 << 48):
        raise BadGraph(f"the spec's field {name!r} is not a proper {kind.__name__}")
    return value


def _numbers(frame: Any, dtype: np.dtype[Any], length: int, what: str) -> NDArray[Any]:
    view = _bytes(frame, what)
    if view.nbytes != length * dtype.itemsize:
        raise BadGraph(f"{what}: {length} values take {length * dtype.itemsize} bytes, {view.nbytes} came")
    values = np.frombuffer(view, dtype) if view.nbytes else np.empty(0, dtype)
    if not values.flags.aligned:  # a frame that was cut from a larger one
        values = values.copy()
    values.flags.writeable = False
    return values


def _text(kind: str, frames: Sequence[Any], length: int, what: str) -> Any:
    width = STRINGS[kind]
    offsets = _numbers(frames[0], np.dtype(f"<i{width}"), length + 1, what)
    data = _bytes(frames[1], what)
    if offsets[0] != 0 or int(offsets[-1]) != data.nbytes or bool((np.diff(offsets) < 0).any()):
        raise BadGraph(f"{what}: the offsets do not cut its {data.nbytes} bytes into {length} strings")
    text = pa.py_buffer(data) if data.nbytes else pa.py_buffer(b"")
    array = pa.Array.from_buffers(pa.type_for_alias(kind), length, [None, pa.py_buffer(offsets), text], null_count=0)
    try:
        array.validate(full=True)
    except pa.ArrowException as problem:
        raise BadGraph(f"{what}: {problem}") from None
    return array


def _bytes(frame: Any, what: str) -> memoryview:
    try:
        return memoryview(frame).cast("B")
    except (TypeError, ValueError, NotImplementedError, BufferError):
        raise BadGraph(f"{what}: a frame is not a buffer of bytes") from None

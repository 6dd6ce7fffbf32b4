"""The values that registers, maps and sets hold, and their canonical bytes.

Purpose. Two replicas must agree on whether two values are equal and which is greater, whatever their language or
process. Python's `==` is unsuitable: `1 == True == 1.0`, `0.0 == -0.0`, and a NaN equals nothing. So a value is
*frozen* to canonical bytes when written, compared and sorted as bytes, and *thawed* when read.

A value is None, a bool, a signed 64-bit int, a float, a str, bytes, or a flat tuple of these. The bytes are its
MessagePack form (https://github.com/msgpack/msgpack/blob/master/spec.md), of which most values have several; this
package uses the shortest, always 64 bits for floats, and the same quiet NaN for every NaN.

Left out: lists and dicts (mutable), nested tuples (without a limit on depth, a few bytes can cost a reader much
memory), big integers, and numpy's scalars, which the caller converts with `.item()`.

>>> thaw(freeze((1, "x", b"y", None))) == (1, "x", b"y", None)
True
>>> freeze(1) == freeze(True), freeze(0.0) == freeze(-0.0), freeze(float("nan")) == freeze(-float("nan"))
(False, False, True)
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import msgpack

Scalar: TypeAlias = bool | int | float | str | bytes | None
Value: TypeAlias = Scalar | tuple[Scalar, ...]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
SCALARS = (type(None), bool, int, float, str, bytes)
NAN = math.nan  # packed as 7ff8000000000000, whatever bits the caller's NaN had


class Malformed(ValueError):
    """Raised for bytes that this package does not write; decoding raises nothing else, whatever the bytes."""


def freeze(value: Value) -> bytes:
    """Returns the canonical bytes of `value`. Raises TypeError or ValueError, with the reason, if it is not a value.

    >>> freeze([1])
    Traceback (most recent call last):
    TypeError: a value is None, bool, int, float, str, bytes or a flat tuple of these, not list
    """
    if type(value) is tuple:
        return pack([_checked_scalar(scalar) for scalar in value])
    return pack(_checked_scalar(value))


def thaw(frozen: bytes) -> Value:
    """Returns the value of bytes that `freeze` wrote; use `thaw_strictly` for bytes from outside."""
    return cast(Value, msgpack.unpackb(frozen, use_list=False))


def thaw_strictly(frozen: bytes) -> Value:
    """Returns the value of untrusted bytes. Raises Malformed unless `freeze` would write exactly these bytes."""
    if frozen and _is_array(frozen[0]):
        value: Value = tuple(unpack_flat(frozen))
    else:
        scalars = unpack_sequence(frozen)
        if len(scalars) != 1:
            raise Malformed(f"a value is one object, not {len(scalars)}")
        value = scalars[0]
    try:
        canonical = freeze(value)
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from error
    if canonical != frozen:
        raise Malformed("a value is not in its canonical form")
    return value


def pack(item: Any) -> bytes:
    """Returns MessagePack's bytes of an object made of scalars and lists, each in its shortest form."""
    return cast(bytes, msgpack.packb(item, use_bin_type=True))


def unpack_flat(data: bytes) -> list[Any]:
    """Returns the objects of an array that contains no other array or map (except empty ones, which callers refuse by
    type).
    """
    size, start = _array_header(data)
    items = unpack_sequence(data[start:])
    if len(items) != size:
        raise Malformed(f"an array of {size} objects holds {len(items)}")
    return items


def unpack_sequence(data: bytes) -> list[Any]:
    """Returns the objects in the sequence `data`, up to a truncated one.

    msgpack allocates memory for as many elements as an array's header announces, at each of up to 1024 levels, before
    it has read any. So nothing may be nested here: a megabyte that claims to be arrays in arrays would cost gigabytes.
    """
    size = max(len(data), 1)
    try:
        unpacker = msgpack.Unpacker(read_size=size, max_buffer_size=size, max_array_len=0, max_map_len=0, max_ext_len=0)
        unpacker.feed(data)
        return list(unpacker)
    except (ValueError, msgpack.UnpackException) as error:
        raise Malformed(f"not MessagePack, or nested: {error}") from error


def _checked_scalar(value: Value) -> Scalar:
    if type(value) not in SCALARS:
        raise TypeError(
            f"a value is None, bool, int, float, str, bytes or a flat tuple of these, not {type(value).__name__}"
        )
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        raise ValueError(f"an int must fit into 64 bits with sign, which {value} does not")
    if type(value) is float and math.isnan(value):
        return NAN
    return cast(Scalar, value)


def _is_array(first: int) -> bool:
    return first & 0xF0 == 0x90 or first in (0xDC, 0xDD)


def _array_header(data: bytes) -> tuple[int, int]:
    """Returns how many objects an array announces, and where the first one starts."""
    if not data or not _is_array(data[0]):
        raise Malformed("not an array")
    if data[0] == 0xDC:
        return int.from_bytes(data[1:3]), 3
    if data[0] == 0xDD:
        return int.from_bytes(data[1:5]), 5
    return data[0] & 0x0F, 1

"""Any message of any class, generated from its type hints; and bytes that are almost such messages."""

from __future__ import annotations

import os
from enum import Enum
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack
from hypothesis import settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from shoal.lockstep.frames import Frames

DEEP = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""Set for a soak; otherwise the tests take a few seconds."""


def examples(count: int) -> settings:
    """Returns settings for this many examples, or as many as a soak requests."""
    return settings(max_examples=DEEP or count, deadline=None)


NAMES = st.sampled_from(["alpha", "beta", "gamma", "nobody", "", "x" * 300])
INTS = st.one_of(st.integers(-2, 6), st.sampled_from([2**31, 2**62, 2**63 - 1, -(2**63), 2**64 - 1, 2**40]))
TEXT = NAMES | st.text(max_size=8)
BYTES = st.binary(max_size=24)


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Draws values of a field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint == Frames:
        return st.lists(st.binary(max_size=40), max_size=4).map(tuple)
    plain = {int: INTS, bool: st.booleans(), float: st.floats(), str: TEXT, bytes: BYTES, type(None): st.none()}
    if origin is Annotated:
        bounds = [(int(extra.ge or 0), int(extra.le or 0)) for extra in args[1:] if isinstance(extra, Meta)]
        ends = [end for least, most in bounds for end in (least, least + 1, most - 1, most)]
        return st.one_of(st.sampled_from(ends), INTS) if ends else values(args[0])
    if hint in plain or hint is None:
        return plain.get(hint, st.none())
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, UnionType):
        return st.one_of(*(values(arg) for arg in args))
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return st.lists(values(args[0]), max_size=4).map(tuple)
        return st.tuples(*(values(arg) for arg in args))
    if origin is frozenset:
        return st.frozensets(values(args[0]), max_size=4)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return messages(hint)
    return values(hint.__supertype__)  # a NewType


@cache
def messages(cls: type[Struct]) -> st.SearchStrategy[Any]:
    """Draws messages of a class; if the constructor refuses field values, it tries others."""
    hints = get_type_hints(cls, include_extras=True)
    return st.tuples(*(values(hints[name]) for name in cls.__struct_fields__)).map(lambda v: _made(cls, v)).filter(bool)


def _made(cls: Any, given: tuple[Any, ...]) -> Any:
    try:
        return cls(*given)
    except (ValueError, TypeError, AssertionError):
        return None


ANYTHING = st.recursive(
    st.none() | st.booleans() | INTS | st.floats() | TEXT | BYTES | st.sampled_from([float("nan"), float("inf")]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=25,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draws the same bytes, damaged in a few places."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[place:]
            case 1:
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 2:
                data[place:place] = draw(st.binary(max_size=6))
            case 3:
                data[place:place] = data[place : place + draw(st.integers(0, 40))]
            case _:  # announces more items than there are
                data[place:place] = draw(
                    st.sampled_from(
                        [b"\xdd\x7f\xff\xff\xff", b"\xdc\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xdf\0\xff\xff\xff"]
                    )
                )
    return bytes(data)


def bomb(levels: int, announced: int, size: int) -> bytes:
    """Returns nested arrays, each of which announces more than it has."""
    return (b"\xdd" + announced.to_bytes(4)) * levels + bytes(max(0, size - 5 * levels))


def packed(value: Any) -> bytes:
    """Returns any value as msgpack, however wrong it is."""
    return bytes(msgpack.packb(value, use_bin_type=True))

"""Canonical bytes: pinned, and nothing else is taken. (Round trips of reachable values are in test_laws.)"""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import (
    Dot,
    DotContext,
    Encodable,
    GCounter,
    LWWMap,
    LWWRegister,
    Malformed,
    ORSet,
    PNCounter,
    Timestamp,
    VersionVector,
    decode,
    encode,
)
from crdt.codec import READERS
from tests.crdt.laws import SUBJECTS, Step, Subject, World, examples, histories

AT = Timestamp(1_700_000_000_000_000_000, 7, "b")

PINNED: tuple[tuple[Encodable, str], ...] = (
    (GCounter(), "93010100"),
    (GCounter({"b": 300, "a": 2}), "97010102a16102a162cd012c"),
    (PNCounter(GCounter({"a": 5}), GCounter({"b": 1})), "98010201a1610501a16201"),
    (VersionVector({"a": 1, "é": 2**63 - 1}), "97010302a16101a2c3a9cf7fffffffffffffff"),
    (
        DotContext(VersionVector({"a": 1}), frozenset([Dot("b", 4), Dot("a", 10), Dot("a", 3)])),
        "9c010401a1610103a16103a1610aa16204",
    ),
    (Timestamp(), "9501050000a0"),
    (AT, "950105cf17979cfe362a000007a162"),
    (LWWRegister(), "9601060000a0c400"),
    (
        LWWRegister().set((1, -1.5, "x", b"\x00", None, True), AT),
        "960106cf17979cfe362a000007a162c4129601cbbff8000000000000a178c40100c0c3",
    ),
    (
        LWWMap().set("k", float("nan"), AT).remove(2, AT),
        "9d010702c40102cf17979cfe362a000007a162c400c402a16bcf17979cfe362a000007a162c409cb7ff8000000000000",
    ),
    (
        ORSet().add("x", "a").add("y", "b").remove("x").add("y", "c").merge(ORSet().add("y", "d")),
        "dc0013010804a16101a16201a16301a164010001c402a17902a16301a16401",
    ),
)


@pytest.mark.parametrize(
    ("value", "data"), PINNED, ids=[f"{type(value).__name__}-{n}" for n, (value, _) in enumerate(PINNED)]
)
def test_pinned_bytes(value: Encodable, data: str) -> None:
    """The format can't change unseen: what is on disks and in older daemons has these bytes. To change it on purpose,
    raise VERSION."""
    assert encode(value).hex() == data
    assert decode(bytes.fromhex(data)) == value


def test_every_tag_is_pinned() -> None:
    assert {type(value) for value, _ in PINNED} == {kind for kind, _ in READERS.values()}


def _is_refused_or_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except Malformed:
        return
    assert encode(value) == data


@examples(1000)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    _is_refused_or_canonical(data)


plausible = st.recursive(
    st.integers(-2, 10)
    | st.sampled_from(["", "a", "b", b"", b"\x01", b"\xa1x", b"\xcc\x01", None, True, 2**63, 2**64 - 1, 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@examples(700)
@given(st.integers(1, 8), st.lists(plausible, max_size=12))
def test_arrays_that_look_right_are_refused_or_canonical(tag: int, fields: list[Any]) -> None:
    _is_refused_or_canonical(msgpack.packb([1, tag, *fields]))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
@examples(60)
@given(history=histories, seed=st.integers(0, 2**32))
def test_damaged_messages_are_refused_or_canonical(subject: Subject, history: list[Step], seed: int) -> None:
    """Real messages with bytes changed, cut, doubled and swapped come much further than arbitrary ones."""
    chance = random.Random(seed)
    for value in World.after(subject, history).states:
        data = bytearray(encode(value))
        for _ in range(8):
            damaged, at = bytearray(data), chance.randrange(len(data))
            kind = chance.randrange(5)
            if kind == 0:
                damaged[at] = chance.randrange(256)
            elif kind == 1:
                damaged[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                del damaged[at:]
            elif kind == 3:
                damaged[at:at] = data[at : at + chance.randrange(1, 8)]
            else:
                other = chance.randrange(len(data))
                damaged[at], damaged[other] = damaged[other], damaged[at]
            _is_refused_or_canonical(bytes(damaged))


A, B = "a", "b"

MALFORMED: tuple[tuple[str, list[Any]], ...] = (
    ("no fields", []),
    ("no tag", [1]),
    ("no body", [1, 1]),
    ("unknown version", [2, 1, 0]),
    ("version of another type", [True, 1, 0]),
    ("unknown tag", [1, 99, 0]),
    ("negative tag", [1, -1, 0]),
    ("negative counter", [1, 1, 1, A, -1]),
    ("counter of zero", [1, 1, 1, A, 0]),
    ("counter too large", [1, 1, 1, A, 2**63]),
    ("counter of another type", [1, 1, 1, A, 1.0]),
    ("counter that is a bool", [1, 1, 1, A, True]),
    ("replica of another type", [1, 1, 1, b"a", 1]),
    ("replica without a name", [1, 1, 1, "", 1]),
    ("replicas out of order", [1, 1, 2, B, 1, A, 1]),
    ("replica twice", [1, 1, 2, A, 1, A, 1]),
    ("fewer entries than announced", [1, 1, 2, A, 1]),
    ("more fields than announced", [1, 1, 1, A, 1, B, 1]),
    ("negative size", [1, 1, -1]),
    ("huge size", [1, 1, 2**40]),
    ("nested", [1, 1, 1, A, [1]]),
    ("nested empty", [1, 1, 1, A, []]),
    ("map for a body", [1, 1, {A: 1}]),
    ("half a PNCounter", [1, 2, 1, A, 1]),
    ("dot in the vector", [1, 4, 1, A, 2, 1, A, 1]),
    ("dot just behind the vector", [1, 4, 1, A, 2, 1, A, 3]),
    ("dots out of order", [1, 4, 0, 2, A, 9, A, 5]),
    ("dot twice", [1, 4, 0, 2, A, 5, A, 5]),
    ("negative time", [1, 5, -1, 0, A]),
    ("negative logical time", [1, 5, 0, -1, A]),
    ("logical time too large", [1, 5, 0, 2**32, A]),
    ("value without a writer", [1, 6, 0, 0, "", b"\x01"]),
    ("clearing without a writer", [1, 6, 5, 0, "", b""]),
    ("value that is not frozen", [1, 6, 5, 0, A, 1]),
    ("value not canonical", [1, 6, 5, 0, A, b"\xcc\x01"]),
    ("value of two objects", [1, 6, 5, 0, A, b"\x01\x01"]),
    ("value nested", [1, 6, 5, 0, A, b"\x91\x91\x01"]),
    ("key without bytes", [1, 7, 1, b"", 5, 0, A, b"\x01"]),
    ("keys out of order", [1, 7, 2, b"\x02", 5, 0, A, b"\x01", b"\x01", 5, 0, A, b"\x01"]),
    ("key twice", [1, 7, 2, b"\x01", 5, 0, A, b"\x01", b"\x01", 6, 0, A, b"\x01"]),
    ("key never written", [1, 7, 1, b"\x01", 0, 0, "", b""]),
    ("element without dots", [1, 8, 1, A, 1, 0, 1, b"\x01", 0]),
    ("element's dot not in the context", [1, 8, 0, 0, 1, b"\x01", 1, A, 1]),
    ("dot of two elements", [1, 8, 1, A, 1, 0, 2, b"\x01", 1, A, 1, b"\x02", 1, A, 1]),
    ("elements out of order", [1, 8, 1, A, 2, 0, 2, b"\x02", 1, A, 1, b"\x01", 1, A, 2]),
)


@pytest.mark.parametrize(("what", "fields"), MALFORMED, ids=[what for what, _ in MALFORMED])
def test_malformed(what: str, fields: list[Any]) -> None:
    with pytest.raises(Malformed):
        decode(msgpack.packb(fields))


def test_other_spellings_of_the_same_array_are_refused() -> None:
    data = encode(GCounter({"a": 3}))
    assert data.hex() == "95010101a16103"
    for spelling in ("dc0005010101a16103", "dd00000005010101a16103", "95cc010101a16103", "95010101d9016103"):
        with pytest.raises(Malformed, match="canonical"):
            decode(bytes.fromhex(spelling))
    with pytest.raises(Malformed, match="an array of 5 objects holds 6"):
        decode(data + b"\x00")
    with pytest.raises(Malformed):
        decode(data[:-1])


def test_the_expected_type_is_checked() -> None:
    data = encode(GCounter({"a": 3}))
    assert decode(data, expect=GCounter) == GCounter({"a": 3})
    with pytest.raises(Malformed, match="a GCounter, where a VersionVector was expected"):
        decode(data, expect=VersionVector)


def test_an_oversize_message_is_refused_unread() -> None:
    data = encode(GCounter({"a": 3}))
    assert decode(data, bytes_max=len(data)) == GCounter({"a": 3})
    with pytest.raises(Malformed, match="7 bytes, of at most 6"):
        decode(data, bytes_max=len(data) - 1)


def test_a_short_message_cannot_cost_much_memory() -> None:
    """Arrays in arrays, each announcing as many objects as there are bytes, for which unpackb sets memory aside."""
    nested = b"\xdd\x00\x00\x13\x88" * 1000  # 5000 bytes; 40 MB when taken at their word
    bombs = [nested, b"\x93\x01\x01" + nested, msgpack.packb([1, 6, 5, 0, "a", nested])]
    for bomb in bombs:
        tracemalloc.start()
        try:
            with pytest.raises(Malformed):
                decode(bomb)
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()


def test_what_has_no_encoding() -> None:
    with pytest.raises(TypeError, match="int has no encoding"):
        encode(1)  # type: ignore[arg-type]

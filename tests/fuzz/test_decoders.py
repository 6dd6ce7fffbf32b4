"""Every decoder, given bytes of all kinds, raises its own error or returns a value, in bounded time and memory."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shoal
from crdt.codec import decode
from crdt.values import Malformed
from daemon.state import ReplicatedState, command_codec
from daemon.state.commands import RaiseVersion
from daemon.state.dispatch import TABLES
from daemon.state.envelope import CommandUnreadable
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec, Reason, Rejected
from daemon.wire.version import NEWEST
from shoal import GraphData
from shoal.graph.columns import column_of, compact, from_wire, to_wire
from shoal.graph.table import BadGraph
from tests.daemon.state.registries import formed, sealed
from tests.fuzz.values import ANYTHING, BYTES, bomb, damaged, examples, messages, packed

PLANES = {"control": CONTROL_TYPES, "ticks": TICK_TYPES}
CODECS = {plane: Codec("demo", types, version=NEWEST) for plane, types in PLANES.items()}


def _is_a_number(refused: Rejected) -> None:
    """Asserts that a value is outside its field's range; every other value of a message can be encoded."""
    assert refused.reason is Reason.RANGE


@pytest.mark.parametrize("plane", PLANES)
@examples(30)
@given(data=st.data())
def test_every_message_travels_and_its_damaged_bytes_are_refused_or_typed(plane: str, data: st.DataObject) -> None:
    codec = CODECS[plane]
    cls = data.draw(st.sampled_from(sorted(PLANES[plane].values(), key=lambda cls: cls.__name__)))
    message = data.draw(messages(cls))
    try:
        frames = [bytes(memoryview(frame)) for frame in codec.encode(1, "alpha", 1, message)]  # type: ignore[arg-type]
    except Rejected as refused:
        _is_a_number(refused)
        return
    assert repr(codec.decode(frames).message) == repr(message)
    spoilt = [data.draw(damaged(frame)) for frame in frames] + data.draw(st.lists(BYTES, max_size=2))
    with suppress(Rejected):
        codec.encode(1, "alpha", 1, codec.decode(spoilt).message)


@pytest.mark.parametrize("plane", PLANES)
@examples(30)
@given(data=st.data())
def test_any_values_in_place_of_the_fields_are_refused_or_typed(plane: str, data: st.DataObject) -> None:
    tag = data.draw(st.sampled_from(sorted(PLANES[plane])))
    header = packed([NEWEST, "demo", 1, "alpha", 1, tag, data.draw(ANYTHING)])
    with suppress(Rejected):
        CODECS[plane].decode([header, *data.draw(st.lists(BYTES, max_size=2))])


@examples(30)
@given(st.data())
def test_decisions_and_snapshots(data: st.DataObject) -> None:
    codec = command_codec(version=NEWEST)
    types = [kind for table in TABLES.values() for kind in table.values()]
    decision = data.draw(messages(data.draw(st.sampled_from(sorted(types, key=lambda cls: cls.__name__)))))
    try:
        whole = codec.encode(decision)
    except Rejected as refused:
        _is_a_number(refused)
        return
    if isinstance(decision, RaiseVersion) and decision.version > NEWEST:
        with pytest.raises(CommandUnreadable, match=f"this Shoal reads up to {NEWEST}"):
            codec.decode(codec.machine_of(decision), whole)
        return
    assert repr(codec.decode(codec.machine_of(decision), whole)) == repr(decision)
    with suppress(CommandUnreadable):
        codec.decode(codec.machine_of(decision), data.draw(damaged(whole)))
    with suppress(CommandUnreadable):
        codec.read(data.draw(damaged(sealed(decision, 7))))
    snapshot = data.draw(damaged(b"".join(formed().state.freeze())))
    with suppress(Rejected):
        ReplicatedState().thaw([snapshot])


@examples(30)
@given(st.binary(max_size=200) | ANYTHING.map(packed) | BYTES.map(lambda tail: b"\x95\x01" + tail))
def test_lattices(data: bytes) -> None:
    with suppress(Malformed):
        decode(data)


COLUMNS = [[1, 2, 3], [1.5, float("nan")], [True, False], ["a", "b", ""], ["x"] * 40]
SPEC_VALUES = ANYTHING | st.sampled_from(
    ["int64", "int32", "bool", "string", "large_string", "dictionary", 0, 1, 3, 2**40, 2**47, -1, True, 2**70]
)


@examples(40)
@given(st.data())
def test_columns(data: st.DataObject) -> None:
    spec, frames = to_wire(compact(column_of(data.draw(st.sampled_from(COLUMNS)), "it")))
    for name in data.draw(st.lists(st.sampled_from([*spec, "type", "length"]), max_size=2)):
        spec[name] = data.draw(SPEC_VALUES)
    buffers: list[Any] = [bytes(memoryview(frame).cast("B")) for frame in frames]
    for place in data.draw(st.sets(st.integers(0, len(buffers) - 1), max_size=2)):
        buffers[place] = data.draw(damaged(buffers[place]) | st.none() | BYTES)
    with suppress(BadGraph):
        column = from_wire(data.draw(st.just(spec) | ANYTHING), buffers)
        assert len(column) <= 1000


def _graph() -> GraphData:
    columns = {"weight": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]}
    return shoal.from_arrays(["x", "y", "z"], ["y", "z", "x"], edge_columns=columns)


@examples(40)
@given(st.data())
def test_graphs(data: st.DataObject) -> None:
    spec, frames = _graph().to_wire()
    spec = dict(spec)
    for name in data.draw(st.lists(st.sampled_from([*spec]), min_size=0, max_size=2)):
        spec[name] = data.draw(SPEC_VALUES)
    buffers = [bytes(memoryview(frame).cast("B")) for frame in frames]
    for place in data.draw(st.sets(st.integers(0, len(buffers) - 1), max_size=2)):
        buffers[place] = data.draw(damaged(buffers[place]) | BYTES)
    with suppress(BadGraph):
        GraphData.from_wire(data.draw(st.just(spec) | ANYTHING), buffers)


# -- time and memory ---------------------------------------------------------------------------------------------------

ENVELOPE = packed([NEWEST, "demo", 1, "alpha", 1, 1, None])[:-1]
BOMBS = [
    bomb(1000, 60_000, 60_000),
    bomb(1000, 60_000, 1 << 20),
    bomb(1, 2**31 - 1, 5000),
    bomb(200, 4000, 4000),
    ENVELOPE + bomb(900, 65_000, 65_000),
    b"\x91" * (1 << 20),
    b"\x91" * 10_000 + b"\xc0",
    b"\xdf\x7f\xff\xff\xff" * 5000,
    b"\xc6\x7f\xff\xff\xff" + bytes(5000),
]


def _refused_cheaply(decoder: Callable[[bytes], Any], data: bytes) -> None:
    """Checks that refusing takes at most 100 times the input's bytes, the cost of empty arrays, and little time."""
    tracemalloc.start()
    try:
        began = time.process_time()
        with suppress(Rejected, Malformed, CommandUnreadable):
            decoder(data)
        took = time.process_time() - began
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200_000 + 100 * len(data)
    assert took < 0.5


def _decoded(codec: Codec, data: bytes) -> None:
    with suppress(Rejected):
        codec.decode([data])
    codec.decode([memoryview(data)])


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_what_announces_more_than_it_holds_costs_no_more_than_it_holds(number: int) -> None:
    data = BOMBS[number]
    for codec in CODECS.values():
        _refused_cheaply(partial(_decoded, codec), data)
    _refused_cheaply(partial(command_codec(version=NEWEST).decode, "cluster"), data)
    _refused_cheaply(command_codec(version=NEWEST).open, data)
    _refused_cheaply(lambda bytes_: ReplicatedState().thaw([bytes_]), data)
    _refused_cheaply(lambda bytes_: decode(bytes_, bytes_max=2 << 20), data)


def test_the_unpacker_that_a_codec_keeps_is_as_new_after_nonsense() -> None:
    codec = CODECS["ticks"]
    good = packed([NEWEST, "demo", 1, "alpha", 1, 99, ["x" * 600]])
    for bad in (good[:-1], good + b"\0", bomb(1000, 60_000, 60_000), good + good):
        with pytest.raises(Rejected, match="malformed"):
            codec.decode([bad])
        with pytest.raises(Rejected, match="unknown_type"):
            codec.decode([good])


def test_a_header_of_empty_lists_is_not_looked_through_again_and_again() -> None:
    """The garbage collector took a third of a second for a million of them in one member's message."""
    header = ENVELOPE + b"\x9f" + (b"\xdc\xfd\xe8" + b"\x90" * 65_000) * 15
    runs: list[str] = []
    gc.callbacks.append(note := lambda phase, _: runs.append(phase))
    try:
        with suppress(Rejected):
            CODECS["control"].decode([header])
    finally:
        gc.callbacks.remove(note)
    assert len(runs) <= 4
    assert gc.isenabled()

from __future__ import annotations

import contextlib
import random
from enum import IntEnum, StrEnum
from typing import Literal

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.wire import Codec, Foreign, Reason, Rejected, Unsupported, WireLimits
from daemon.wire.version import FIRST, NEWEST
from shoal.api.struct import Number, Struct
from shoal.lockstep.frames import Frames


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Entry(Struct):
    term: Number
    data: bytes


class Mark(Struct):
    name: str


class EntryPart(Entry, tag=0):
    """As one of several structs in a union."""


class MarkPart(Mark, tag=1):
    """The other."""


class Plain(Struct):
    number: Number
    flag: bool
    ratio: float
    text: str
    blob: bytes


class Rich(Struct):
    maybe: Number | None
    entries: tuple[Entry, ...]
    pair: tuple[str, Number]
    part: EntryPart | MarkPart
    optional_part: Mark | None
    colour: Colour
    level: Level
    members: frozenset[str]
    key: Number | str
    kind: Literal["a", "b"]
    rows: tuple[tuple[Number, ...], ...]


class Data(Struct):
    tick: Number
    aggregates: bytes
    payload: Frames


class Bare(Struct):
    pass


class Even(Struct):
    number: Number

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


TABLE: dict[int, type] = {1: Plain, 2: Rich, 3: Data, 4: Bare, 200: Even}
LIMITS = WireLimits(header_bytes_max=20_000, frame_bytes_max=50_000, frames_max=8, text_bytes_max=100, items_max=50)
CODEC = Codec("demo", TABLE, LIMITS)

int64 = st.integers(-(2**62), 2**62)
short_text = st.text(max_size=20)
entries = st.builds(Entry, int64, st.binary(max_size=30))
marks = st.builds(Mark, short_text)
parts = st.builds(EntryPart, int64, st.binary(max_size=30)) | st.builds(MarkPart, short_text)
plains = st.builds(Plain, int64, st.booleans(), st.floats(allow_nan=False), short_text, st.binary(max_size=99))
riches = st.builds(
    Rich,
    maybe=st.none() | int64,
    entries=st.lists(entries, max_size=4).map(tuple),
    pair=st.tuples(short_text, int64),
    part=parts,
    optional_part=st.none() | marks,
    colour=st.sampled_from(Colour),
    level=st.sampled_from(Level),
    members=st.frozensets(short_text, max_size=4),
    key=int64 | short_text,
    kind=st.sampled_from(["a", "b"]),
    rows=st.lists(st.lists(int64, max_size=3).map(tuple), max_size=3).map(tuple),
)
sizes = st.sampled_from([0, 1, 100, 3000, 4096, 4097, 9000])
datas = st.builds(Data, int64, st.binary(max_size=20), st.lists(sizes.map(bytes), max_size=4).map(tuple))
messages = st.one_of(plains, riches, datas, st.just(Bare()), int64.map(lambda n: Even(n - n % 2)))


def reason(frames: object, codec: Codec = CODEC) -> Reason:
    with pytest.raises(Rejected) as caught:
        codec.decode(frames)  # type: ignore[arg-type]
    return caught.value.reason


def envelope(tag: int, body: object, **change: object) -> bytes:
    values = {"version": FIRST, "cluster": "demo", "epoch": 1, "sender": "a", "generation": 1}
    return bytes(msgpack.packb([*(values | change).values(), tag, body]))


@given(messages, st.integers(0, 2**62), short_text, st.integers(0, 2**62))
def test_what_goes_in_comes_out(message: object, epoch: int, sender: str, generation: int) -> None:
    assert CODEC.decode(CODEC.encode(epoch, sender, generation, message)) == (epoch, sender, generation, message, "")


@given(messages)
def test_equal_messages_have_equal_bytes_from_any_codec(message: object) -> None:
    other = Codec("demo", TABLE, LIMITS)
    assert other.encode(1, "a", 1, message) == CODEC.encode(1, "a", 1, message)


def test_sets_travel_sorted() -> None:
    class Members(Struct):
        names: frozenset[str]

    codec = Codec("demo", {1: Members})
    names = [f"shard-{n}" for n in range(30)]
    assert msgpack.unpackb(codec.encode(0, "", 0, Members(frozenset(names)))[0])[-1] == [sorted(names)]
    assert reason([envelope(1, [["b", "a"]])], codec) is Reason.MALFORMED
    assert reason([envelope(1, [["a", "a"]])], codec) is Reason.MALFORMED
    assert reason([envelope(1, [["a", 1]])], codec) is Reason.MALFORMED


class Leaf(Struct):
    size: Number
    ratio: float = 0.0
    name: str = ""


class Tree(Struct):
    leaves: tuple[Leaf, ...]
    top: Leaf | None = None


WIDE = msgspec.defstruct("Wide", [(f"field_{n}", Number, n) for n in range(20)], bases=(Struct,))


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        (b"\x92\x91\x93\x01\xcb\0\0\0\0\0\0\0\0\xa0\xc0", True),
        (b"\x92\x91\x93\x01\x00\xa0\xc0", True),  # an int for a float
        (b"\x92\x91\x93\xcd\0\x01\x00\xa0\xc0", True),  # a number that is longer than it need be
        (b"\xdc\0\x02\x91\x93\x01\x00\xa0\xc0", True),  # and an array
        (b"\x92\x91\x92\x01\x00\xc0", False),
        (b"\x92\x91\x91\x01\xc0", False),
        (b"\x92\x90\x91\x01", False),
        (b"\x91\x90", False),
    ],
)
def test_only_what_a_later_version_adds_may_be_missing(body: bytes, is_taken: bool) -> None:
    """A default is for the constructor's sake."""
    codec = Codec("demo", {1: Tree, 2: WIDE})
    header = envelope(1, [])[:-1] + body
    if is_taken:
        assert codec.decode([header]).message.leaves == (Leaf(1),)
    else:
        assert reason([header], codec) is Reason.MALFORMED
    assert codec.decode([envelope(2, list(range(20)))]).message == WIDE()
    assert reason([envelope(2, list(range(19)))], codec) is Reason.MALFORMED


def test_nan_and_infinities_are_numbers() -> None:
    blob = CODEC.decode(CODEC.encode(1, "a", 1, Plain(1, True, float("nan"), "", b""))).message
    assert np.isnan(blob.ratio)
    assert CODEC.decode(CODEC.encode(1, "a", 1, Plain(1, True, 3, "", b""))).message.ratio == 3.0


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        (1, [True, True, 1.0, "", b""]),  # a bool is no int
        (1, [1, 1, 1.0, "", b""]),  # nor an int a bool
        (1, [1, True, "1.0", "", b""]),
        (1, [1, True, True, "", b""]),
        (1, [1, True, 1.0, b"", b""]),
        (1, [1, True, 1.0, "", ""]),
        (1, [1, True, 1.0, ""]),  # a field too few
        (1, [1, True, 1.0, "", b"", 0]),  # a field too many
        (1, {"number": 1}),
        (1, None),
        (3, [1, b"", None]),
        (3, [1, b"", [1.5]]),
        (3, []),
        (4, [1]),
        (200, [3]),  # refused by its own constructor
    ],
)
def test_a_field_of_a_wrong_type_is_refused(tag: int, body: object) -> None:
    assert reason([envelope(tag, body)]) in (Reason.MALFORMED, Reason.OVERSIZE, Reason.FIELDS)


GOOD: list[object] = [None, [[1, b""]], ["x", 1], [0, 1, b""], None, "red", 1, ["a", "b"], "key", "a", [[1], []]]


def test_the_good_body_that_the_next_test_spoils_is_good() -> None:
    assert isinstance(CODEC.decode([envelope(2, GOOD)]).message, Rich)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "x"),
        (1, [[1]]),
        (1, [1]),
        (2, ["x"]),
        (2, [1, "x"]),
        (3, [-1, "x"]),
        (3, [True, "x"]),
        (3, ["x"]),
        (3, None),
        (4, "x"),
        (5, "green"),
        (5, 1),
        (6, 3),
        (6, True),
        (7, "ab"),
        (8, None),
        (8, 1.5),
        (9, "c"),
        (9, 1),
        (10, [[1], 1]),
        (10, [[1.0]]),
    ],
)
def test_a_part_of_a_wrong_type_is_refused(place: int, value: object) -> None:
    body = list(GOOD)
    body[place] = value
    assert reason([envelope(2, body)]) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("tag", "place", "value", "why"),
    [
        (2, 1, [[1, b"", 2]], Reason.FIELDS),
        (2, 3, [2, "x"], Reason.UNKNOWN_TYPE),
        (2, len(GOOD), None, Reason.FIELDS),
        (99, 0, None, Reason.UNKNOWN_TYPE),
    ],
)
def test_what_a_later_version_writes_is_told_from_nonsense(tag: int, place: int, value: object, why: Reason) -> None:
    body = [*GOOD[:place], value, *GOOD[place + 1 :]]
    assert reason([envelope(tag, body)]) is why
    assert CODEC.label(envelope(tag, body)) == (FIRST, tag)


def test_a_log_line_does_not_quote_what_a_stranger_writes() -> None:
    for place, value in ((5, "\x1b[2J"), (9, "\x1b[2J"), (3, ["\x1b[2J"]), (10, {"\x1b[2J": 1})):
        with pytest.raises(Rejected) as caught:
            CODEC.decode([envelope(2, [*GOOD[:place], value, *GOOD[place + 1 :]])])
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "told"),
    [(b"", (None, None)), (b"\x93nonsense", (None, None)), (b"\x90", (None, None)), (b"\x92\x07\x01", (7, None))],
)
def test_a_label_is_read_as_far_as_there_is_one(header: bytes, told: tuple[int | None, int | None]) -> None:
    assert CODEC.label(header) == told


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": NEWEST + 1}, Reason.VERSION),
        ({"version": "1"}, Reason.MALFORMED),
        ({"cluster": "other"}, Reason.CLUSTER),
        ({"cluster": None}, Reason.CLUSTER),
        ({"cluster": "other/a6ff"}, Reason.CLUSTER),
        ({"cluster": "demo/a6ff"}, Reason.FOREIGN),
        ({"cluster": "demo/a6/ff"}, Reason.MALFORMED),
        ({"cluster": "demo/\x1b[2J"}, Reason.MALFORMED),
        ({"cluster": "demo/" + "a" * 65}, Reason.MALFORMED),
        ({"cluster": "demo/a6ff", "sender": 1}, Reason.MALFORMED),
        ({"epoch": "1"}, Reason.MALFORMED),
        ({"sender": 1}, Reason.MALFORMED),
        ({"generation": False}, Reason.MALFORMED),
    ],
)
def test_the_envelope_is_checked(change: dict[str, object], expected: Reason) -> None:
    with pytest.raises(Rejected) as caught:
        CODEC.decode([envelope(4, [], **change)], "05c1")
    assert caught.value.reason is expected


def test_messages_of_another_founding_are_refused_before_their_body_is_looked_at() -> None:
    frames = CODEC.encode(1, "a", 1, Bare(), "a6ff")
    assert CODEC.decode(frames, "a6ff").founding == "a6ff"
    assert CODEC.decode(frames).founding == "a6ff", "who belongs to none yet hears everybody"
    assert CODEC.decode(CODEC.encode(1, "a", 1, Bare()), "05c1").founding == "", "and is heard by everybody"
    with pytest.raises(Foreign) as caught:
        CODEC.decode([envelope(99, "nothing that would be taken", cluster="demo/a6ff")], "05c1")
    assert (caught.value.founding, caught.value.sender) == ("a6ff", "a")


def test_another_version_is_named_even_if_its_envelope_has_another_shape() -> None:
    assert reason([msgpack.packb([9, "whatever"])]) is Reason.VERSION


def test_unknown_tags_are_refused() -> None:
    assert reason([envelope(99, [])]) is Reason.UNKNOWN_TYPE
    assert reason([msgpack.packb([FIRST, "demo", 1, "a", 1, "Plain", []])]) is Reason.UNKNOWN_TYPE
    assert reason([msgpack.packb([FIRST, "demo", 1, "a", 1, True, []])]) is Reason.UNKNOWN_TYPE


def test_maps_extension_types_and_rests_are_refused() -> None:
    timestamp = msgpack.packb([FIRST, "demo", 1, "a", 1, 200, [msgpack.Timestamp(1, 2)]])
    extension = msgpack.packb([FIRST, "demo", 1, "a", 1, 200, [msgpack.ExtType(5, b"xx")]])
    for header in (envelope(1, [{1: 2}]), timestamp, extension, envelope(4, []) + b"\0", b"\xc1", b""):
        assert reason([header]) in (Reason.MALFORMED, Reason.OVERSIZE)


def test_every_bound_is_kept() -> None:
    assert reason([b"x" * 20_001]) is Reason.OVERSIZE
    assert reason([envelope(1, [1, True, 1.0, "x" * 101, b""])]) is Reason.OVERSIZE
    assert reason([envelope(2, [0] * 51)]) is Reason.OVERSIZE
    assert reason([envelope(3, [1, b"", [b""] * 9])]) is Reason.OVERSIZE
    assert reason([envelope(3, [1, b"", [50_001]]), bytes(50_001)]) is Reason.OVERSIZE
    assert reason([envelope(3, [1, b"", []])] + [b""] * 9) is Reason.OVERSIZE
    assert reason([]) is Reason.TRUNCATED


def test_what_a_peer_would_refuse_is_not_encoded() -> None:
    mistakes = (
        Plain(1, True, 1.0, "x" * 101, b""),
        Plain(1, True, 1.0, "", bytes(20_001)),
        Data(1, b"", (b"",) * 9),
        Data(1, b"", (bytes(50_001),)),
        Rich(None, (), ("", 1), MarkPart(""), None, Colour.RED, Level.LOW, frozenset(), 1, "a", ((1,) * 51,)),
    )
    for message in mistakes:
        with pytest.raises(Rejected) as caught:
            CODEC.encode(1, "a", 1, message)
        assert caught.value.reason is Reason.OVERSIZE


def test_frames_must_be_those_that_the_header_names() -> None:
    header = envelope(3, [1, b"", [5000, b"in", 6000]])
    good = [header, bytes(5000), bytes(6000)]
    assert CODEC.decode(good).message.payload == (bytes(5000), b"in", bytes(6000))
    assert reason(good[:2]) is Reason.TRUNCATED
    assert reason([header, bytes(6000), bytes(5000)]) is Reason.TRUNCATED
    assert reason([*good, b""]) is Reason.MALFORMED
    assert reason([envelope(4, []), b""]) is Reason.MALFORMED


def test_large_frames_are_not_copied_and_small_ones_ride_in_the_header() -> None:
    array = np.arange(5000, dtype=np.float64).reshape(50, 100)
    encoded = CODEC.encode(1, "a", 1, Data(1, b"", (array, b"small")))
    assert len(encoded) == 2
    received = CODEC.decode(encoded).message.payload
    assert received[1] == b"small"
    array[0, 0] = 42.0
    assert np.array_equal(np.frombuffer(received[0]).reshape(50, 100), array)
    assert len(CODEC.encode(1, "a", 1, Data(1, b"", (bytes(4000), bytes(90))))) == 1
    assert len(CODEC.encode(1, "a", 1, Data(1, b"", (np.zeros((0, 3)),)))) == 1


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_random_bytes_are_refused(frames: list[bytes]) -> None:
    reason(frames)


@given(
    st.recursive(
        st.none() | st.booleans() | int64 | st.floats() | short_text | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=6),
        max_leaves=30,
    ),
    st.sampled_from(sorted(TABLE)),
)
def test_random_values_in_a_good_envelope_are_refused_or_typed(body: object, tag: int) -> None:
    try:
        message = CODEC.decode([envelope(tag, body)]).message
    except Rejected:
        return
    again = CODEC.decode(CODEC.encode(1, "a", 1, message)).message
    assert repr(again) == repr(message)  # by their text, as a NaN is not equal to itself


@given(messages, st.randoms(use_true_random=False))
def test_a_damaged_message_is_refused_or_typed(message: object, chance: random.Random) -> None:
    frames = [bytearray(frame) for frame in CODEC.encode(1, "a", 1, message)]
    hit = chance.choice(frames)
    match chance.randrange(3) if hit else 2:
        case 0:
            place = chance.randrange(len(hit))
            hit[place] ^= 1 << chance.randrange(8)
        case 1:
            del hit[chance.randrange(len(hit)) :]
        case _:
            frames.remove(hit)
    with contextlib.suppress(Rejected):
        CODEC.decode([bytes(frame) for frame in frames])


def test_nesting_bombs_cost_nothing() -> None:
    assert reason([b"\xdd\x00\x00\x00\x31" * 1500]) in (Reason.MALFORMED, Reason.OVERSIZE)
    assert reason([b"\x91" * 19_000]) in (Reason.MALFORMED, Reason.OVERSIZE)


def test_classes_that_cannot_travel_are_refused_when_the_codec_is_made() -> None:
    class Mutable(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
        a: Number

    class Open(Struct, forbid_unknown_fields=False):
        a: Number

    class Mapped(Struct):
        a: dict[str, Number]

    class Unbounded(Struct):
        a: int

    class Untagged(Struct):
        a: Entry | Mark

    class Twice(Struct):
        a: Frames
        b: Frames

    class Within(Struct):
        a: Data

    class Ambiguous(Struct):
        a: tuple[Number, ...] | Entry

    for cls in (int, Mutable, Open, Mapped, Unbounded, Untagged, Twice, Within, Ambiguous, Loop):
        with pytest.raises(Unsupported):
            Codec("demo", {1: cls})
    with pytest.raises(Unsupported):
        Codec("demo", {1: Plain, 2: Plain})


class Loop(Struct):
    again: Loop | None


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="frames_max"):
        WireLimits(frames_max=0)

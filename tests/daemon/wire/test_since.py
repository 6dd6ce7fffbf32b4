"""Fields, messages and members of unions that a later version brings: who writes and who reads them."""

from __future__ import annotations

from enum import IntEnum, nonmember
from typing import Annotated, Any, ClassVar

import msgpack
import pytest
from msgspec import defstruct, field

from daemon.wire import Codec, Reason, Rejected, Unsupported
from daemon.wire.version import FIRST, NEWEST, OLDEST
from shoal.api.struct import Count, Number, Since, Struct
from shoal.lockstep.frames import Frames

NEXT = NEWEST + 1
LAST = NEWEST + 2


class OldPart(Struct):
    size: Count


class Old(Struct):
    """As the older version knows it."""

    name: str
    parts: tuple[OldPart, ...] = ()
    frames: Frames = ()


class Part(Struct):
    size: Count
    weight: Annotated[Count, Since(LAST)] = 1


class New(Struct):
    """The same class of a later version."""

    name: str
    parts: tuple[Part, ...] = ()
    frames: Frames = ()
    colours: Annotated[tuple[str, ...], Since(NEXT)] = ("red",)
    seen: Annotated[Count, Since(NEXT, is_advisory=True)] = 0
    notes: Annotated[tuple[str, ...], Since(LAST)] = field(default_factory=tuple)


class Whole(Struct):
    SINCE: ClassVar[int] = NEXT
    name: str


class First(Struct):
    name: str


class Second(Struct):
    name: str


class FirstPart(First, tag="first"):
    """As a member of a union."""


class SecondPart(Second, tag="second"):
    """Another."""


class WholePart(Whole, tag="whole"):
    """One that a later version adds."""


class OldColour(IntEnum):
    RED = 0
    GREEN = 1


class Colour(IntEnum):
    """The same enum of a later version."""

    RED = 0
    GREEN = 1
    BLUE = 2
    GREY = 3
    SINCE = nonmember({"BLUE": NEXT, "GREY": LAST})


class OldPainted(Struct):
    colours: tuple[OldColour, ...]


class Painted(Struct):
    colours: tuple[Colour, ...]


class OldChoice(Struct):
    member: FirstPart | SecondPart


class Choice(Struct):
    member: FirstPart | SecondPart | WholePart


def older(version: int = NEWEST) -> Codec:
    return Codec("demo", {1: Old, 2: OldChoice, 4: OldPainted}, version=version)


def later(version: int) -> Codec:
    return Codec("demo", {1: New, 2: Choice, 3: Whole, 4: Painted}, version=version, newest=LAST)


def sent(codec: Codec, message: object) -> Any:
    return codec.encode(1, "a", 1, message)


def read(codec: Codec, frames: Any) -> Any:
    return codec.decode(frames).message


def reason(codec: Codec, frames: Any) -> Reason:
    with pytest.raises(Rejected) as caught:
        codec.decode(frames)
    return caught.value.reason


def test_a_later_version_reads_what_an_older_one_writes_and_defaults_fill_in() -> None:
    frames = sent(older(), Old("x", (OldPart(3),), (b"some", bytes(9000))))
    new = read(later(LAST), frames)
    assert new == New("x", (Part(3),), (b"some", bytes(9000)))
    assert (new.colours, new.seen, new.notes, new.parts[0].weight) == (("red",), 0, (), 1)


@pytest.mark.parametrize("version", range(FIRST, NEXT))
def test_what_a_later_version_writes_is_bounded_by_the_clusters(version: int) -> None:
    """Byte for byte what the older version itself would write."""
    new, old = New("x", (Part(3),), (b"some", bytes(9000)), seen=7), Old("x", (OldPart(3),), (b"some", bytes(9000)))
    assert sent(later(version), new) == sent(older(version), old)
    assert read(older(), sent(later(version), new)) == old


def test_each_version_of_a_record_is_read_by_itself_and_by_all_later_ones() -> None:
    message = New("x", (Part(3),), (b"some",), ("blue", "green"), 7)
    frames = sent(later(NEXT), message)
    assert read(later(NEXT), frames) == read(later(LAST), frames) == message
    assert read(later(LAST), sent(later(LAST), New("y", (Part(3, 2),), notes=("n",)))) == New(
        "y", (Part(3, 2),), notes=("n",)
    )


def test_a_value_of_an_enum_that_a_later_version_brings_is_written_from_that_version_on() -> None:
    known, new = Painted((Colour.GREEN, Colour.RED)), Painted((Colour.BLUE,))
    assert sent(later(NEWEST), known) == sent(older(), OldPainted((OldColour.GREEN, OldColour.RED)))
    assert read(later(NEXT), sent(later(NEXT), new)) == new
    assert read(later(LAST), sent(later(NEXT), new)) == new
    assert reason(older(), sent(later(NEXT), new)) is Reason.VERSION
    lying = bytearray(sent(later(NEXT), new)[0])
    lying[1] = NEWEST
    assert reason(older(), [bytes(lying)]) is Reason.MALFORMED


def test_fields_that_come_with_a_later_version_are_checked_like_all() -> None:
    short = [NEWEST, "demo", 1, "a", 1, 1, ["x", [[3]], [], ["red", 5]]]
    whole = [NEXT, "demo", 1, "a", 1, 1, ["x", [[3]], [], ["red"], -1, []]]
    assert reason(later(NEWEST), [msgpack.packb(short)]) is Reason.MALFORMED
    assert reason(later(NEWEST), [msgpack.packb(whole)]) is Reason.RANGE
    assert reason(later(NEWEST), [msgpack.packb([*short[:6], ["x", [[3]]]])]) is Reason.MALFORMED


def test_an_older_version_refuses_what_it_does_not_know() -> None:
    assert reason(older(), sent(later(NEXT), New("x"))) is Reason.VERSION
    lying = bytearray(sent(later(NEXT), New("x"))[0])
    lying[1] = NEWEST
    assert reason(older(), [bytes(lying)]) is Reason.FIELDS
    assert reason(older(), sent(later(NEXT), Choice(FirstPart("x")))) is Reason.VERSION
    whole = bytearray(sent(later(NEXT), Whole("x"))[0])
    whole[1] = NEWEST
    assert reason(older(), [bytes(whole)]) is Reason.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (New("x", colours=("blue",)), f"New.colours can be said from cluster version {NEXT} on"),
        (Whole("x"), f"Whole can be said from cluster version {NEXT} on, and the cluster is at {NEWEST}"),
        (Choice(WholePart("x")), "WholePart can be said"),
        (Painted((Colour.RED, Colour.BLUE)), f"Colour.BLUE can be said from cluster version {NEXT} on"),
        (Painted((Colour.GREY,)), f"Colour.GREY can be said from cluster version {LAST} on"),
        (New("x", (Part(1, 5),)), f"Part.weight can be said from cluster version {LAST} on"),
    ],
)
def test_what_an_older_cluster_would_read_as_something_else_is_not_written(message: object, words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        sent(later(NEWEST), message)
    assert caught.value.reason is Reason.VERSION
    codec = later(LAST)
    assert read(codec, sent(codec, message)) == message


def test_a_version_that_is_raised_holds_from_the_next_message_on() -> None:
    codec, message = later(NEWEST), New("x", seen=3)
    assert read(codec, sent(codec, message)).seen == 0
    codec.version = NEXT
    assert read(codec, sent(codec, message)).seen == 3


def test_a_message_carries_the_version_of_its_form_and_not_the_clusters() -> None:
    """So what has not changed is read by a shard that was left behind, and it can say what is wrong."""

    class Same(Struct):
        name: str

    codec = Codec("demo", {1: Same, 2: New}, version=LAST, newest=LAST)
    assert read(Codec("demo", {1: Same}), sent(codec, Same("x"))) == Same("x")
    assert [codec.label(sent(codec, one)[0])[0] for one in (Same("x"), New("x"))] == [FIRST, LAST]


def _a_class(*fields: Any) -> type:
    return defstruct("Wrong", fields, bases=(Struct,))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (_a_class(("a", Annotated[Number, Since(NEXT)])), "needs a default"),
        (_a_class(("a", Annotated[Number, Since(NEXT)], 1), ("b", Number, 1)), "comes behind what there is"),
        (_a_class(("a", Annotated[Number, Since(FIRST)], 1)), f"every version knows what is since {FIRST}"),
        (_a_class(("a", Annotated[Number, Since(LAST + 1)], 1)), "known to none"),
        (_a_class(("a", Annotated[Frames, Since(NEXT)], ())), "from the first"),
        (_a_class(("a", First | Whole)), "must be tagged"),
    ],
)
def test_a_class_that_older_versions_would_misread_is_a_mistake(wrong: type, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        Codec("demo", {1: wrong}, newest=LAST)


def test_versions_are_in_order() -> None:
    assert FIRST <= OLDEST <= NEWEST <= OLDEST + 1

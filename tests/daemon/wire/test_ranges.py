"""Numbers out of their ranges and texts that are none, refused by whoever sends and by whoever receives them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta
from msgspec.structs import replace

from daemon.wire import Codec, Reason, Rejected, Unsupported
from shoal.api.ranges import TICKS_MAX
from shoal.api.struct import Count, Number, Struct, Tick
from tests.daemon.wire.test_codec import CODEC, Mark, Plain, envelope, reason


class Ranged(Struct):
    tick: Tick
    steps: tuple[Annotated[int, Meta(ge=-1, le=9)], ...]
    maybe: Count | None
    pair: tuple[str, Tick]
    any: Number = 0
    more: Tick = 0


RANGED = Codec("demo", {1: Ranged})
FITS = Ranged(TICKS_MAX, (-1, 9), 2**62, ("x", 0), -(2**62), 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tick", -1),
        ("tick", TICKS_MAX + 1),
        ("steps", (0, 10)),
        ("steps", (-2,)),
        ("maybe", -1),
        ("maybe", 2**62 + 1),
        ("maybe", 2**64 - 1),
        ("pair", ("x", -1)),
        ("any", 2**63),
        ("any", 2**64 - 1),
        ("any", 2**64),
        ("any", 10**400),
        ("any", -(2**63)),
        ("more", TICKS_MAX + 1),
    ],
)
def test_a_number_out_of_its_range_is_refused_on_both_sides(name: str, value: Any) -> None:
    assert RANGED.decode(RANGED.encode(1, "a", 1, FITS)).message == FITS
    bad = replace(FITS, **{name: value})
    with pytest.raises(Rejected, match="range"):
        RANGED.encode(1, "a", 1, bad)
    fields = [list(v) if isinstance(v, tuple) else v for v in (getattr(bad, one) for one in Ranged.__struct_fields__)]
    if abs(value if isinstance(value, int) else 0) < 2**64:
        assert reason([envelope(1, fields)], RANGED) is Reason.RANGE
    assert RANGED.decode(RANGED.encode(1, "a", 1, FITS)).message == FITS, "the packer is as new"


@pytest.mark.parametrize(("epoch", "generation"), [(-1, 1), (2**62 + 1, 1), (1, -1), (1, 2**64 - 1)])
def test_an_envelope_has_no_number_that_no_shard_has(epoch: int, generation: int) -> None:
    assert reason([envelope(4, [], epoch=epoch, generation=generation)]) is Reason.RANGE


@pytest.mark.parametrize("text", ["caf\udce9", "\ud800", "\udfff\udfff"])
def test_text_that_cannot_be_utf_8_costs_its_message_alone(text: str) -> None:
    with pytest.raises(Rejected, match="text: Mark"):
        Codec("demo", {1: Mark}).encode(1, "a", 1, Mark(text))
    with pytest.raises(Rejected, match="text"):
        CODEC.encode(1, "a", 1, Plain(1, True, 1.0, text, b""))
    whole = Plain(1, True, 1.0, "café", b"")
    assert CODEC.decode(CODEC.encode(1, "a", 1, whole)).message == whole


def test_only_a_number_has_a_range() -> None:
    class Text(Struct):
        a: Annotated[str, Meta(ge=0, le=1)]

    with pytest.raises(Unsupported, match="range"):
        Codec("demo", {1: Text})

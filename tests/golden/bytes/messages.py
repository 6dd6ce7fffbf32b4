"""Messages as they are on the wire, envelope and frames, by the real codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from daemon.wire import Codec, Envelope
from daemon.wire.version import NEWEST
from tests.golden.bytes.older import forms
from tests.golden.bytes.section import Section, from_hex, named, only, packed, same
from tests.golden.golden_file import Entries, Entry

CLUSTER: Final = "harbour"
SENT = Envelope(
    epoch=4, sender="alpha", generation=1_700_000_000_000_000_003, message=None, founding="a6ff9791bf71d665"
)
ALONE = "without a founding"
"""The entry for a message from a shard that belongs to no cluster yet."""
NUMBERS = (b"\x01\x02\x03", memoryview(np.full(600, 0x0807060504030201, np.int64)), b"")
"""Frames: one sent in the header, one sent separately, and an empty one."""


def section_of(name: str, types: Mapping[int, type], examples: tuple[Any, ...]) -> Section:
    """Returns the golden file of one plane's messages."""
    codec = Codec(CLUSTER, types, version=NEWEST)
    written = forms(named(example for example in examples if type(example) in types.values()))

    def make() -> Entries:
        entries = {key: _entry(_at(codec, form.version), form.example) for key, form in written.items()}
        return {**entries, ALONE: _entry(_at(codec, NEWEST), examples[0], "")}

    def check(entries: Entries) -> None:
        for key, entry in only(entries, [*written, ALONE]).items():
            founding = "" if key == ALONE else SENT.founding
            message = examples[0] if key == ALONE else written[key].example
            sent = SENT._replace(message=message, founding=founding)
            read = codec.decode(from_hex(entry["hex"]), SENT.founding)
            same(key, read._replace(message=_flat(read.message)), sent._replace(message=_flat(sent.message)))

    how_to = f"add one to tests/golden/bytes/{name}.py"
    return Section(name, f"cluster version {NEWEST}", make, check, tuple(types.values()), examples, how_to)


def _at(codec: Codec, version: int) -> Codec:
    codec.version = version
    return codec


def _entry(codec: Codec, example: Any, founding: str = SENT.founding) -> Entry:
    return packed(codec.encode(SENT.epoch, SENT.sender, SENT.generation, example, founding))


def _flat(message: Any) -> Any:
    """Returns the message with its frames as bytes."""
    if "frames" not in type(message).__struct_fields__:
        return message
    return replace(message, frames=tuple(memoryview(frame).cast("B").tobytes() for frame in message.frames))

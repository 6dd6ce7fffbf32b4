"""A section of the golden bytes, one file, and how its bytes are written as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from tests.golden.golden_file import Entries, Entry, Golden

FOLDER: Final = Path(__file__).parent
HOW_TO_PIN: Final = "`python -m tests.golden.bytes --write`, and see in CONTRIBUTING.md when that is right"
REPEATS_MIN: Final = 64
"""A frame of at least this many equal 8-byte words is written as one word and a count."""


@dataclass(frozen=True)
class Section:
    """`make` makes the code write every example, as entries; `check` makes it read the pinned ones, and compares.

    `types` are those that each need an example, and `filled` the examples whose fields must all be distinguishable.
    `how_to` says what to do about a type without an example.
    """

    name: str
    version: str
    make: Callable[[], Entries]
    check: Callable[[Entries], None]
    types: tuple[type, ...] = ()
    filled: tuple[Any, ...] = ()
    how_to: str = ""

    @property
    def path(self) -> Path:
        """Returns where the golden file is."""
        return FOLDER / f"{self.name}.json"

    def made(self) -> Golden:
        """Returns what the file would contain if it were written now."""
        return Golden(self.version, self.make())

    def mistakes(self) -> list[str]:
        """Says what to do about each type without an example, and each example without a type."""
        shown = {type(example).__name__ for example in self.filled}
        there = {cls.__name__ for cls in self.types}
        missing = [f"{name} has no example: {self.how_to}, and pin it: {HOW_TO_PIN}" for name in sorted(there - shown)]
        gone = [
            f"{name} has an example, and is in no table of types: is it still read?" for name in sorted(shown - there)
        ]
        return missing + gone


def packed(frames: Sequence[Any], **more: Any) -> Entry:
    """Creates an entry of frames, the first of which is msgpack."""
    return {"hex": to_hex(frames), **more, "reads": told(bytes(frames[0]))}


def to_hex(frames: Sequence[Any]) -> str:
    """Writes frames as hex, separated by spaces; repeated words become `WORD*COUNT`."""
    return " ".join(_hex(memoryview(frame).cast("B").tobytes()) for frame in frames)


def from_hex(text: str) -> list[bytes]:
    """Reads the frames again."""
    found = []
    for word in text.split(" "):
        unit, _, count = word.partition("*")
        found.append(bytes.fromhex(unit) * int(count or 1))
    return found


def _hex(frame: bytes) -> str:
    count = len(frame) // 8
    return f"{frame[:8].hex()}*{count}" if count >= REPEATS_MIN and frame == frame[:8] * count else frame.hex()


def told(data: bytes) -> str:
    """Shows msgpack as Python values."""
    return repr(msgpack.unpackb(data, strict_map_key=False))


def named(examples: Iterable[object]) -> dict[str, Any]:
    """Names examples after their classes; further examples of a class are numbered."""
    found: dict[str, Any] = {}
    for example in examples:
        name, number = type(example).__name__, 1
        while (key := name if number == 1 else f"{name} {number}") in found:
            number += 1
        found[key] = example
    return found


def same(name: str, read: object, example: object) -> None:
    """Asserts that the value read from the pinned bytes equals the example."""
    assert read == example, f"{name}: the pinned bytes are read as another value:\n  {read}\n  instead of\n  {example}"


def only(entries: Entries, names: Iterable[str]) -> Mapping[str, Entry]:
    """Asserts that there are exactly these entries, and returns them."""
    assert entries.keys() == set(names), sorted(entries.keys() ^ set(names))
    return entries

"""What one golden file of bytes is about, and how its bytes are written down."""

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
"""A frame of so many equal words of eight bytes is written as one word and how often it comes."""


@dataclass(frozen=True)
class Section:
    """`make` has the code write every example, as entries; `check` has it read the pinned ones, and compares.

    `types` are those of which each needs an example, and `filled` the examples of which every field has to be told
    from the others. `how_to` says what to do about what has no entry, where that is looked for.
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
        """Returns what the file would be if it were written now."""
        return Golden(self.version, self.make())

    def mistakes(self) -> list[str]:
        """Says of each type without an example, and of each example that has no type any more, what to do."""
        shown = {type(example).__name__ for example in self.filled}
        there = {cls.__name__ for cls in self.types}
        missing = [f"{name} has no example: {self.how_to}, and pin it: {HOW_TO_PIN}" for name in sorted(there - shown)]
        gone = [
            f"{name} has an example, and is in no table of types: is it still read?" for name in sorted(shown - there)
        ]
        return missing + gone


def packed(frames: Sequence[Any], **more: Any) -> Entry:
    """Makes an entry of frames, the first of which is msgpack."""
    return {"hex": to_hex(frames), **more, "reads": told(bytes(frames[0]))}


def to_hex(frames: Sequence[Any]) -> str:
    """Writes frames as hex, a space between them; what is the same word again and again as `WORD*COUNT`."""
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
    """Shows msgpack as Python does."""
    return repr(msgpack.unpackb(data, strict_map_key=False))


def named(examples: Iterable[object]) -> dict[str, Any]:
    """Names examples after their classes; further ones of a class are numbered."""
    found: dict[str, Any] = {}
    for example in examples:
        name, number = type(example).__name__, 1
        while (key := name if number == 1 else f"{name} {number}") in found:
            number += 1
        found[key] = example
    return found


def same(name: str, read: object, example: object) -> None:
    """Asserts that what was read of the pinned bytes is what was written."""
    assert read == example, f"{name}: the pinned bytes are read as another value:\n  {read}\n  instead of\n  {example}"


def only(entries: Entries, names: Iterable[str]) -> Mapping[str, Entry]:
    """Asserts that there are just these entries, and returns them."""
    assert entries.keys() == set(names), sorted(entries.keys() ^ set(names))
    return entries

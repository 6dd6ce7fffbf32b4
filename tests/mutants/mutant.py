"""A mutant: one plausible fault, and the tests that must detect it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Stale(Exception):
    """A mutant's text does not occur exactly once in its file: the code has changed, and the mutant must follow."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replaces `old`, which occurs once in `file`, by `new`. `tests` are pytest's arguments, as few as detect it."""

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, tree: Path) -> str:
        """Returns the file's text with the fault in it."""
        path = tree / self.file
        text = path.read_text("utf-8") if path.is_file() else ""
        found = text.count(self.old)
        if found != 1:
            raise Stale(f"{self.file} has {found} times, not once: {self.old.strip()!r}")
        return text.replace(self.old, self.new)

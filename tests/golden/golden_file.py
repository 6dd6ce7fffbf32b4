"""A golden file: what must not change unnoticed, one entry per line, sorted by name, so that a diff is easy to read.

    {
    "version": "protocol 2",
    "entries": {
    "Ack": {"hex": "97...", "reads": "[2, 'harbour/...', ...]"},
    ...
    }}

`version` is the number by which other and later daemons recognize the format of these entries. While it is unchanged,
entries may be added but not changed: `harm` says what a rewrite would break.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]
Entries: TypeAlias = Mapping[str, Entry]


@dataclass(frozen=True)
class Golden:
    """The content of a golden file."""

    version: str
    entries: Entries

    def write(self, path: Path) -> None:
        """Writes the file; equal content gives equal bytes."""
        lines = [f"{json.dumps(name)}: {json.dumps(self.entries[name])}" for name in sorted(self.entries)]
        body = ",\n".join(lines)
        path.write_text(f'{{\n"version": {json.dumps(self.version)},\n"entries": {{\n{body}\n}}}}\n')


def read(path: Path) -> Golden:
    """Reads a golden file; a missing file has no entries."""
    if not path.exists():
        return Golden("", {})
    content = json.loads(path.read_text())
    return Golden(content["version"], content["entries"])


def differences(pinned: Golden, made: Golden, how_to: str) -> list[str]:
    """Describes each difference between what the code writes and what is pinned; `how_to` rewrites the file."""
    found = []
    if pinned.version != made.version:
        found.append(f"the file is of {pinned.version or 'no version'}, and the code of {made.version}")
    for name in sorted(pinned.entries.keys() | made.entries.keys()):
        before, now = pinned.entries.get(name), made.entries.get(name)
        if before is None:
            found.append(f"{name} is not pinned yet: {how_to}")
        elif now is None:
            found.append(f"{name} is pinned, and nothing writes it any more: {how_to}")
        elif before != now:
            found.append(f"{name} has changed:{_shown(before, now)}")
    return found


def harm(pinned: Golden, made: Golden) -> list[str]:
    """Lists the entries that would change or disappear under an unchanged version; a renamed entry does neither."""
    if pinned.version != made.version:
        return []
    new = [_essence(entry) for name, entry in made.entries.items() if name not in pinned.entries]
    return [name for name, entry in sorted(pinned.entries.items()) if not _stays(name, entry, made.entries, new)]


def _stays(name: str, entry: Entry, made: Entries, new: Sequence[Entry]) -> bool:
    return _essence(entry) == _essence(made[name]) if name in made else _essence(entry) in new


def _essence(entry: Entry) -> Entry:
    """Returns the part of an entry that counts; its readable form does not."""
    return {key: value for key, value in entry.items() if key != "reads"}


def _shown(before: Entry, now: Entry) -> str:
    """Shows the difference; for readable bytes, in readable form."""
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if "reads" in keys:
        keys = ["reads"]
    return "".join(f"\n  {key} before: {before.get(key)}\n  {key} now:    {now.get(key)}" for key in keys)

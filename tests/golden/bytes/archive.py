"""A backup's files. What differs between backups (its time, its size, its checksum) is masked."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from daemon.state import command_codec
from daemon.state.envelope import ARCHIVE_LIMITS
from daemon.store import schema
from daemon.store.archive import FORMAT, MANIFEST, Archive, ArchiveWriter
from daemon.store.folder import DATABASE
from daemon.wire.version import NEWEST
from tests.golden.bytes.commands import FORMS
from tests.golden.bytes.section import Section, same
from tests.golden.bytes.store import CLUSTER, build, fill, look_over, masked, rows_of
from tests.golden.golden_file import Entries

RESTORE = FORMS["Restore"].example
TOLD: Final = {
    "cluster": CLUSTER,
    "shard": "alpha",
    "version": "0.1.0",
    "epoch": 4,
    "made_unix_ns": 1_700_000_000_000_000_014,
    "graphs": [{"graph": "web", "nodes": 11, "edges": 12, "partitions": 10}],
    "runs": [{"run": "rank-7", "graph": "web", "state": "completed", "tick": 30}],
}
NUMBERS: Final = {"disk": "1", "generation": "2", "life": "2"}
"""Replaces numbers that came from a clock."""


def make() -> Entries:
    """Writes a backup, and returns its database row by row, and its manifest."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        folder = Path(at) / "backup"
        writer = ArchiveWriter(folder, CLUSTER)
        fill(writer.store)
        writer.finish(command_codec(ARCHIVE_LIMITS).encode(RESTORE), TOLD)
        files = sorted(path.name for path in folder.iterdir())
        manifest = json.loads((folder / MANIFEST).read_text())
        assert manifest["files"] == _files(folder / DATABASE)
        manifest["files"] = {DATABASE: {"bytes": 0, "sha256": ""}}
        entries = masked(rows_of(folder / DATABASE), NUMBERS)
    return {**entries, "files": {"names": files}, f"file {MANIFEST}": {"text": json.dumps(manifest)}}


def check(entries: Entries) -> None:
    """Opens a backup with the pinned rows and asserts that it is complete."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        folder = Path(at)
        build(folder / DATABASE, entries)
        manifest = json.loads(entries[f"file {MANIFEST}"]["text"])
        manifest["files"] = _files(folder / DATABASE)
        (folder / MANIFEST).write_text(json.dumps(manifest))
        with closing(Archive(folder)) as archive:
            same("manifest", {key: archive.manifest[key] for key in TOLD}, TOLD)
            same("decided", command_codec(ARCHIVE_LIMITS).decode("cluster", archive.decided()), RESTORE)
            look_over(archive)


def _files(database: Path) -> dict[str, Any]:
    data = database.read_bytes()
    return {DATABASE: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}


SECTION = Section(
    "archive",
    f"backup {FORMAT}, data folder {schema.FORMAT}, cluster version {NEWEST}",
    make,
    check,
    how_to="have `make` in tests/golden/bytes/archive.py write it",
)

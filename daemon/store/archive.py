"""A backup: a folder that is written once, completely or not at all, and only read from then on.

    manifest.json   the contents, for people and for verification: sizes and checksums
    shoal.db        a store's database: the slices, the states, and as consensus' snapshot the start of the new log

It is written as `DIR.partial` and renamed once all of it is durable, so a folder called `DIR` is always a complete
backup. The database is taken out of write-ahead mode at the end, which makes it one plain file that can be copied
anywhere and read from read-only media.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from consensus import Configuration, Stored
from consensus.effects import Persist
from daemon.store import high_water, schema
from daemon.store.consensus import ConsensusRows
from daemon.store.database import FAILURES, Database, Turn
from daemon.store.errors import StoreError, StoreFailed, sentence
from daemon.store.folder import DATABASE, LOCK, DataFolder, sync_names
from daemon.store.graphs import GraphRows
from daemon.store.states import StateRows
from daemon.store.store import Store

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
PARTIAL: Final = ".partial"
MANIFEST_BYTES_MAX: Final = 16 << 20
_SHARD: Final = "backup"
_REMEDY: Final = "restore it with that version, or load its graphs again"


class ArchiveWriter:
    """Writes a backup, on one thread. The constructor and `finish` raise `StoreError`."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder, self._partial = folder, folder.with_name(folder.name + PARTIAL)
        try:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise StoreError(f"{folder} exists and is not empty: name a new folder")
            if self._partial.exists():
                raise StoreError(f"{self._partial} is left from an interrupted backup: remove it first")
            self._partial.mkdir(mode=0o700)
        except OSError as error:
            raise StoreError(sentence(error, folder, "make the folder for a backup")) from error
        try:
            self._data = DataFolder(self._partial, cluster, _SHARD).open()
            try:
                self.store = Store(self._data)
            except BaseException:
                self._data.close()
                raise
        except BaseException:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise

    def discard(self) -> None:
        """Deletes everything that was written."""
        self._close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def finish(self, decided: bytes, told: Mapping[str, Any]) -> int:
        """Completes the backup once everything is written, and returns its size in bytes. `decided` is for the log of
        the restored cluster.
        """
        stored = Stored.bootstrap(Configuration.of([_SHARD], []), [decided])
        try:
            self.store.persist(Persist(stored.hard_state, stored.snapshot))
            self._close()
            database = self._partial / DATABASE
            _make_plain(database)
            for beside in (LOCK, high_water.FILE):
                (self._partial / beside).unlink()
            files = {DATABASE: {"bytes": database.stat().st_size, "sha256": _checksum(database)}}
            manifest = json.dumps({"format": FORMAT, **told, "files": files}, indent=2).encode() + b"\n"
            (self._partial / MANIFEST).write_bytes(manifest)
            for path in (database, self._partial / MANIFEST):
                _sync(path)
            sync_names(self._partial)
            self._partial.rename(self.folder)
            sync_names(self.folder.parent)
        except (StoreFailed, *FAILURES) as error:
            raise StoreError(sentence(error, self.folder, "write the backup")) from error
        return database_bytes(files) + len(manifest)

    def _close(self) -> None:
        self.store.close()
        self._data.close()


class Archive:
    """Reads a backup, on one thread. The constructor verifies all of it and raises `StoreError`."""

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        path = folder / DATABASE
        said = self.manifest["files"].get(DATABASE, {})
        try:
            size = path.stat().st_size
            if said.get("bytes") != size or said.get("sha256") != _checksum(path):
                raise StoreError(f"{path} is not the file that {MANIFEST} describes: use another copy of the backup")
            self._database = Database(path, Turn(), sealed=True)
            if schema.is_new(self._database.connection, path, _REMEDY):
                raise StoreError(f"{path} is empty: use another copy of the backup")
        except FAILURES as error:
            raise StoreError(sentence(error, path, "read the backup")) from error
        self._graphs, self._states = GraphRows(self._database), StateRows(self._database)

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def decided(self) -> bytes:
        """Returns what the log of the restored cluster begins with. Raises `StoreError`."""
        stored = ConsensusRows(self._database).load()
        return b"".join(stored.snapshot.chunks) if stored is not None else b""

    def graph(self, load: str) -> tuple[str, bytes, bytes]:
        """See `Store.graph`."""
        return self._graphs.graph(load)

    def slice(self, load: str, partition: int) -> tuple[bytes, list[bytes]]:
        """See `Store.slice`."""
        return self._graphs.slice(load, partition)

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """See `Store.state`."""
        return self._states.state(run, tick, partition)

    def states_held(self) -> dict[int, dict[int, frozenset[int]]]:
        """See `Store.states_held`."""
        return self._states.held()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns a backup's description of itself. Raises `StoreError`."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            manifest = json.loads(file.read(MANIFEST_BYTES_MAX))
    except FileNotFoundError:
        hint = "it was interrupted" if folder.name.endswith(PARTIAL) else "name the folder that `backup` created"
        raise StoreError(f"{folder} is not a backup, because it has no {MANIFEST}: {hint}") from None
    except OSError as error:
        raise StoreError(sentence(error, path, "read the backup")) from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}; use another copy of the backup") from error
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise StoreError(f"{path} is not of format {FORMAT}, which this version reads: use the version that wrote it")
    return manifest


def database_bytes(files: Mapping[str, Mapping[str, Any]]) -> int:
    """Returns the size of all files that a manifest names."""
    return sum(int(file["bytes"]) for file in files.values())


def _make_plain(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        ((mode,),) = connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        assert mode == "delete", mode
    finally:
        connection.close()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The data folder: used by one daemon at a time, of one cluster and shard, in successive lives.

    lock        flock; contains the id of the process that holds it. The lock ends with the process, the file remains
    shoal.db    the database, with shoal.db-wal and shoal.db-shm beside it
    reserve     space that is released when none is left
    high-water  the number of the last durable decision

Also, but not essential: `activity`, `stack` and `fatal_ends.json` (`runtime/guard`, `runtime/former_lives`).

**Disk and generation.** The disk's number is drawn when the folder is created. A shard that returns with another number
has forgotten its votes and its partitions, and counts as another server. The generation rises at each opening, even if
the clock was set back, and is durable before any message carries it.

Opening moves the whole write-ahead log into the database and syncs it, for safety: a previous life that ended with a
failed fsync may have left a log that is complete in the page cache but not on the disk, and anything written behind
such a gap would be lost with it at the next power cut.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from daemon.store import schema
from daemon.store.consensus import version_in
from daemon.store.database import FAILURES, WAL_BYTES_KEPT, Database, Turn
from daemon.store.errors import MOVE_AWAY, StoreError, StoreFailed, sentence
from daemon.store.graphs import GraphRows
from daemon.store.high_water import HighWater
from daemon.store.room import Marks, Room
from daemon.wire.version import NEWEST, OLDEST
from shoal import __version__

FOLDER_MODE: Final = 0o700
LOCK, DATABASE = "lock", "shoal.db"
PID_BYTES_MAX: Final = 20
START_BYTES: Final = 1 << 20


class FolderInUse(StoreError):
    """Another process uses the data folder."""


class DataFolder:
    """A data folder; `open` it first. As a context manager it closes itself."""

    def __init__(
        self,
        path: Path,
        cluster: str,
        shard: str,
        clock: Callable[[], int] = time.time_ns,
        marks: Marks | None = None,
        versions: tuple[int, int] = (OLDEST, NEWEST),
    ) -> None:
        """Without `marks`, the folder may fill its disk."""
        self.path, self.cluster, self.shard = Path(path), cluster, shard
        self.database_path = self.path / DATABASE
        self.turn = Turn()
        self.disk = 0
        self.generation = 0
        self.before = 0
        """The generation of the previous life."""
        self.forgot = False
        """Whether the database lacks decisions that were durable."""
        self.high_water: HighWater | None = None
        self.room = Room(self.path, marks) if marks is not None else None
        self._clock, self._versions = clock, versions
        self._lock: int | None = None

    def open(self) -> DataFolder:
        """Creates the folder if needed, locks it, and begins a new life. Raises `StoreError`."""
        try:
            self._make()
            self._take()
            self._begin_life()
        except StoreFailed as failed:
            self.close()
            raise StoreError(str(failed)) from failed
        except FAILURES as error:
            self.close()
            raise StoreError(sentence(error, self.database_path, "open the data folder")) from error
        except BaseException:
            self.close()
            raise
        return self

    def accept_loss(self) -> None:
        """Continues with the database as it is, although it lacks decisions that were durable. Raises `StoreError`."""
        assert self.high_water is not None, "not open"
        try:
            self.high_water.write(self.disk, 0)
        except OSError as error:
            raise StoreError(sentence(error, self.path, "note how far the decisions have come")) from error
        self.forgot = False

    def close(self) -> None:
        """Releases the folder. Close its stores before."""
        if self.high_water is not None:
            self.high_water.close()
            self.high_water = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if stat.S_IMODE(self.path.stat().st_mode) != FOLDER_MODE:
            self.path.chmod(FOLDER_MODE)

    def _take(self) -> None:
        assert self._lock is None, "open twice"
        self._lock = take_lock(self.path)
        if self.room is not None and self.room.free < START_BYTES:
            self.room.let_go()  # for the few writes of a start, and those that follow
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    @property
    def log_bytes_max(self) -> int:
        """The limit for the database's write-ahead log on this disk."""
        return self.room.log_bytes(WAL_BYTES_KEPT) if self.room is not None else WAL_BYTES_KEPT

    def _begin_life(self) -> None:
        database = Database(self.database_path, self.turn, self.room)
        try:
            new = schema.is_new(database.connection, self.database_path)
            database.settle(self.log_bytes_max)
            if new:
                self._create(database)
            else:
                if database.checkpoint("TRUNCATE"):
                    raise StoreError(f"{self.database_path} is being read by another process: end that one first")
                schema.check_cheaply(database.connection, self.database_path)
            meta = self._meta(database)
            self.disk, self.before = int(meta["disk"]), int(meta["life"])
            self._check_version(version_in(database))
            self.generation = max(int(meta["generation"]) + 1, self._clock())
            self.high_water = HighWater(self.path)
            self.forgot = self.high_water.read(self.disk) > int(meta["persisted"])
            statement = "UPDATE meta SET value = ? WHERE key IN ('generation', 'life')"
            database.execute("begin a life", statement, [(str(self.generation),)])
            GraphRows(database).sweep()
            if self.room is not None:
                self.room.keep_reserve()
            database.checkpoint("TRUNCATE")  # closing would do that too, but ignore a failure of the disk
        finally:
            database.close()

    def _create(self, database: Database) -> None:
        now = str(self._clock())
        meta = {
            "cluster": self.cluster,
            "shard": self.shard,
            "disk": now,
            "generation": "0",
            "life": "0",
            "persisted": "0",
        }
        with database.writing("make the database") as connection:
            schema.create(connection, meta)
        for folder in (self.path, self.path.parent):  # these hold the names of files and folder
            sync_names(folder)

    def _meta(self, database: Database) -> dict[str, Any]:
        """Returns the folder's metadata. Raises `StoreError` if it belongs to another shard or cluster."""
        meta = dict(database.rows("read whose folder it is", "SELECT key, value FROM meta"))
        numbers = [meta.get(key) for key in ("disk", "generation", "life", "persisted")]
        if not all(type(text) is str and text.isascii() and text.isdigit() and len(text) < 20 for text in numbers):
            raise StoreError(f"{self.database_path} is torn: it does not say which disk and life it is of; {MOVE_AWAY}")
        for word, ours in (("cluster", self.cluster), ("shard", self.shard)):
            if meta.get(word) != ours:
                raise StoreError(
                    f"{self.path} belongs to {word} {meta.get(word)!r:.80}, not to {ours!r}: give each shard a data"
                    " folder of its own, or, if this one is not needed any more, move it away and start again"
                )
        return meta

    def _check_version(self, version: int) -> None:
        """Refuses a folder at a cluster version that this Shoal does not support. Raises `StoreError`."""
        oldest, newest = self._versions
        if version and not oldest <= version <= newest:
            runs = f"{oldest}" if oldest == newest else f"{oldest} to {newest}"
            raise StoreError(
                f"{self.path} is of a cluster at version {version}, and this Shoal ({__version__}) supports {runs}:"
                f" install one that supports {version}, as on the other members"
            )


def take_lock(folder: Path) -> int:
    """Locks a data folder for this process until the descriptor is closed. Raises `FolderInUse`."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, PID_BYTES_MAX, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise FolderInUse(
            f"{folder} is in use by another daemon, process {holder}: stop that one, or give this one a folder of its"
            " own"
        ) from None
    except OSError:
        os.close(lock)
        raise
    return lock


def sync_names(folder: Path) -> None:
    """Makes the names in a folder durable. SQLite does so itself for its log, but ignores a failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

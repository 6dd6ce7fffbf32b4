"""A connection to the database: transactions take turns, and every failure is a `StoreFailed`.

**Turns.** SQLite lets waiting writers poll, with pauses of up to 100 ms, so a thread that writes one transaction after
the other would starve one that wants to write a single row. Therefore the writers of a process queue up before they ask
SQLite: a consensus write waits for at most one transaction of a load.

**Durability.** `writing()` returns when the transaction is synced. `writing(durable=False)` leaves the sync to the next
durable one or to the checkpoint, whichever comes first: the log is one file, so syncing a transaction syncs all earlier
ones. A slice is written in many such transactions and synced once, when it is sealed.

**The write-ahead log.** `checkpoint` moves it into the database, on the thread that writes most and outside a turn, so
that others can write meanwhile. `relieve` does so once everyone waiting has been answered, `wrote` in the middle of a
job that writes a lot. SQLite's own checkpoint, at a commit, remains for the case that only consensus writes; its
threshold is so high that it happens once in thousands of writes.

**Failure.** A write that finds no room is rolled back, and the store goes on; a write that is small, or frees more than
it takes, is repeated in the log's space after a checkpoint, and with the reserve released (`despite_full_disk`). After
any other failed write, no connection of the folder writes anything more: what a failed fsync has dropped from the page
cache looks written to everybody but the disk.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from daemon.store.errors import NoRoom, StoreFailed, is_full, is_torn, sentence
from daemon.store.room import Room
from shoal.lockstep.frames import Buffer

T = TypeVar("T")

PAGE_BYTES: Final = 16 << 10  # a state of 64 kB is 5 writes instead of 17; one row costs the same sync
BULK_BYTES: Final = 4 << 20  # one bulk transaction: 10 to 40 ms on a disk that writes 100 to 400 MB a second
CHECKPOINT_BYTES: Final = 8 << 20
CHECKPOINT_BYTES_MAX: Final = 32 << 20
WAL_BYTES_LONG: Final = 48 << 20
WAL_BYTES_KEPT: Final = 96 << 20  # a longer log is truncated to this when it restarts
BUSY_TIMEOUT_MS: Final = 10_000  # only for other processes that have the file open: our writers take turns
WAL_PAGES_ON_FULL_DISK: Final = 16
CACHE_KIB: Final = 8 << 10
# UnicodeDecodeError: sqlite3 decodes error texts strictly, and that of a torn schema quotes the torn bytes.
FAILURES: Final = (sqlite3.Error, OSError, MemoryError, UnicodeDecodeError)


class Turn:
    """Admits one writer at a time, first come, first served, for all connections of a folder, until a write has failed.

    With a single lock, a thread that releases and reacquires it at once would overtake the one that it has just woken.
    Here the next in line holds `_next`, and the other queues up behind it.
    """

    def __init__(self) -> None:
        self.failure: StoreFailed | None = None
        self.checkpointing = threading.Lock()
        """Allows one checkpoint at a time. Acquired also while holding the turn; its holder never asks for the turn."""
        self._next = threading.Lock()
        self._now = threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._now.acquire()

    def __exit__(self, *_: object) -> None:
        self._now.release()


class Database:
    """One connection, for the thread that makes it. The constructor raises what sqlite3 raises.

    `sealed` means that nobody writes the file any more, so it is read without locks or files beside it.
    """

    def __init__(self, path: Path, turn: Turn, room: Room | None = None, *, sealed: bool = False) -> None:
        self.path, self.turn, self._room = path, turn, room
        name = f"{path.absolute().as_uri()}?mode=ro&immutable=1" if sealed else path
        self.connection = sqlite3.connect(name, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, uri=sealed)
        self.connection.text_factory = _lenient  # the checksum detects torn text
        self._durable = True
        self._written_bytes = 0
        self._log_is_short = False
        self.log_bytes_max = WAL_BYTES_KEPT
        with self._closing_on_error():
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
                self.connection.execute(f"PRAGMA {pragma}")

    def settle(self, log_bytes_max: int = WAL_BYTES_KEPT) -> None:
        """Applies the settings that write, once the database is known to be ours. Raises what sqlite3 raises.

        The write-ahead log is limited to `log_bytes_max`, which is less on a small disk.
        """
        self.log_bytes_max = log_bytes_max
        with self._closing_on_error():
            for pragma in (
                f"page_size = {PAGE_BYTES}",  # for a new database; a no-op for any other
                "journal_mode = WAL",
                "synchronous = FULL",
                f"journal_size_limit = {log_bytes_max}",
                f"wal_autocheckpoint = {log_bytes_max // PAGE_BYTES}",
                "secure_delete = OFF",  # Debian's default overwrites deleted data: each old state once more
                f"cache_size = -{CACHE_KIB}",
            ):
                self.connection.execute(f"PRAGMA {pragma}").fetchall()

    def close(self) -> None:
        """Closes the connection. The last to close moves the log into the database, and ignores a failure to do so."""
        with suppress(sqlite3.Error):
            self.connection.close()

    @contextmanager
    def writing(self, doing: str, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Opens a transaction that applies the whole block, or nothing and raises `StoreFailed`. Any other exception
        rolls back, too.
        """
        with self.turn:
            self._refuse_after_failure()
            try:
                self._be(durable)
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            except FAILURES as error:
                self._roll_back()
                raise self._failed(error, doing) from error
            except BaseException:
                self._roll_back()
                raise

    def execute(self, doing: str, statement: str, rows: Sequence[Sequence[Any]], *, durable: bool = True) -> None:
        """Executes one statement for each row in one transaction, even on a full disk."""

        def write() -> None:
            with self.writing(doing, durable=durable) as connection:
                connection.executemany(statement, rows)

        self.despite_full_disk(write)

    def despite_full_disk(self, write: Callable[[], T], *, may_release: bool = True) -> T:
        """Performs a write of a few pages, such as a decision or a deletion, even on a full disk.

        Once the log has been moved into the database, the next write takes its space. If that is not enough, the
        reserve is released, unless the write can wait: then this raises `NoRoom`. Waits for readers of the log.

        Moving the log needs room for pages that are new in the database. So that the log does not take that as well, it
        is kept short until there is room again.
        """
        if self._log_is_short and self._room is not None and self._room.free > self._room.refuse:
            self._keep_log_short(False)
        for release in (False, may_release):
            with suppress(NoRoom):
                return write()
            if release and self._room is not None:
                self._room.let_go()
            with suppress(NoRoom), self.turn:
                self.checkpoint("RESTART")
            self._keep_log_short(self._room is not None)
        return write()

    def _keep_log_short(self, short: bool) -> None:
        self._log_is_short = short
        pages = WAL_PAGES_ON_FULL_DISK if short else self.log_bytes_max // PAGE_BYTES
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def rows(self, doing: str, statement: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of a query, as of one moment."""
        try:
            return self.connection.execute(statement, arguments).fetchall()
        except FAILURES as error:
            if is_torn(error):
                raise self._failed(error, doing) from error
            raise StoreFailed(sentence(error, self.path, doing)) from error

    def wrote(self, size: int) -> None:
        """Counts bytes written; call it outside a turn. After many bytes, moves the log into the database."""
        self._written_bytes += size
        if self._written_bytes >= min(CHECKPOINT_BYTES_MAX, self.log_bytes_max // 2):
            self._move_log()

    def relieve(self) -> None:
        """Moves the log into the database if that is worthwhile, while nobody waits."""
        if self._written_bytes >= min(CHECKPOINT_BYTES, self.log_bytes_max // 2):
            self._move_log()

    def _move_log(self) -> None:
        """Moves the log. It restarts once all of it has been moved and nobody has written since, which may never be the
        case under a steady stream of consensus writes; so the last few pages of a long log are moved within a turn.
        """
        self._written_bytes = 0
        with suppress(NoRoom):  # the log stays as it is, and its content counts as before
            if self.checkpoint("PASSIVE") >= min(WAL_BYTES_LONG, self.log_bytes_max // 2):
                with self.turn:
                    self.checkpoint("PASSIVE")

    def checkpoint(self, mode: str) -> int:
        """Moves the log into the database as far as nobody still reads it, and returns its previous size."""
        self._refuse_after_failure()
        try:
            with self.turn.checkpointing:  # SQLite would not wait for another connection's checkpoint, but do nothing
                ((_, pages, _),) = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            return int(pages) * PAGE_BYTES
        except FAILURES as error:
            raise self._failed(error, "move the log into the database") from error

    def log_growth(self) -> int:
        """Returns by how many bytes the write-ahead log may still grow."""
        log = self.path.with_name(self.path.name + "-wal")
        return max(0, self.log_bytes_max - (log.stat().st_size if log.exists() else 0))

    def reusable(self) -> int:
        """Returns the free bytes in the database file, which are used first."""
        ((pages,),) = self.rows("measure the database", "PRAGMA freelist_count")
        return int(pages) * PAGE_BYTES

    def torn(self, what: str) -> StoreFailed:
        """Returns the error for a record that differs from what was written."""
        error = sqlite3.DatabaseError(f"{what} is not what was written")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        return self._failed(error, f"read {what}")

    def _be(self, durable: bool) -> None:
        if durable != self._durable:
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _failed(self, error: BaseException, doing: str) -> StoreFailed:
        if is_full(error):
            return NoRoom(sentence(error, self.path, doing))
        failure = StoreFailed(sentence(error, self.path, doing))
        self.turn.failure = self.turn.failure or failure
        return failure

    def _refuse_after_failure(self) -> None:
        if self.turn.failure is not None:
            raise StoreFailed(f"{self.path}: nothing more is written since a write failed: {self.turn.failure}")

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except FAILURES:
            self.close()
            raise


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def view(buffer: Buffer) -> memoryview:
    """Returns the bytes of a C-contiguous buffer of any shape, including an empty one, which memoryview refuses to
    cast.
    """
    whole = memoryview(buffer)  # type: ignore[arg-type]
    return whole.cast("B") if whole.nbytes else memoryview(b"")

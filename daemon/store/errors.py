"""The errors of a disk, as sentences that tell what to do.

SQLite hides the system's errno behind codes of its own; `_meaning` recovers it as far as possible. A full disk may
appear as an input/output error: file systems that allocate late find out at the fsync, not at the write.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

MOVE_AWAY: Final = (
    "move the folder away and start again: the shard then fetches its partitions from the others that hold copies"
)
OR_MOVE_AWAY: Final = (
    "or, if others that run this version hold its partitions, move the folder away and start again; if none do, that"
    " would lose them: export what you need with the version that wrote it first, and load it again"
)
"""The alternative for a folder of another version. On all machines of a cluster at once, it would lose everything."""
_PRIMARY_CODE: Final = 0xFF
_MEANINGS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full (ENOSPC)", "make room, then start the shard again"),
    sqlite3.SQLITE_IOERR: (
        "the disk failed to read, write or sync, or filled up late (EIO)",
        "see the kernel's log, replace the disk or make room, then start the shard again",
    ),
    sqlite3.SQLITE_READONLY: (
        "the file system or the file is read-only (EROFS)",
        "see the kernel's log for why, and mount it writable",
    ),
    sqlite3.SQLITE_PERM: ("access is denied (EACCES)", "give the folder and its files to the user of shoald"),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened (EACCES, ENOENT, EMFILE or ENOSPC)",
        "give the folder and its files to the user of shoald, and make room",
    ),
    sqlite3.SQLITE_BUSY: ("another process holds the database (EBUSY)", "end it, then start the shard again"),
    sqlite3.SQLITE_NOMEM: ("memory ran out (ENOMEM)", "give the process more, then start the shard again"),
    sqlite3.SQLITE_TOOBIG: ("a record is over SQLite's limit of a thousand million bytes", "use more partitions"),
    sqlite3.SQLITE_CORRUPT: ("the database is torn", MOVE_AWAY),
    sqlite3.SQLITE_NOTADB: ("the file is not a database", MOVE_AWAY),
}
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_TORN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class StoreError(Exception):
    """The data folder cannot be used; the text says why and what to do."""


class StoreFailed(Exception):
    """A write, a sync or a required read failed; the text says why and what to do.

    After a failed write the disk may hold more or less than the process believes (a failed fsync drops what it did not
    write), so nothing more is written. After a restart, the disk's content is the truth.
    """


class NotHeld(StoreFailed):
    """A load or a slice is missing, or incomplete. The store remains usable."""


class NoRoom(StoreFailed):
    """Something was not written for lack of room. The store remains usable."""


def is_full(error: BaseException) -> bool:
    """Returns whether a write found no room. SQLite then rolls back its transaction, and everything synced before
    remains.

    The same holds if the index of its log (`-shm`) can't grow, which SQLite reports as an input/output error.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY_CODE == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def is_torn(error: BaseException) -> bool:
    """Returns whether the database itself is damaged, so that a write could damage it further."""
    return isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _TORN


def sentence(error: BaseException, path: Path, doing: str) -> str:
    """Returns a sentence that tells what failed, where, why, and what to do."""
    what, remedy = _meaning(error)
    return f"{path}: could not {doing}: {what}: {error}{_room(path)}; {remedy}"


def _meaning(error: BaseException) -> tuple[str, str]:
    if is_full(error) or (isinstance(error, OSError) and error.errno in FULL):
        return _MEANINGS[sqlite3.SQLITE_FULL]
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        return _MEANINGS.get(
            code, (f"the database refused ({getattr(error, 'sqlite_errorname', 'no code')})", MOVE_AWAY)
        )
    if isinstance(error, UnicodeDecodeError):
        return _MEANINGS[sqlite3.SQLITE_CORRUPT]
    if isinstance(error, MemoryError):
        return _MEANINGS[sqlite3.SQLITE_NOMEM]
    return "the system refused", "see the kernel's log and the folder's owner and mode, then start the shard again"


def _room(path: Path) -> str:
    """Returns the free space of the disk in words, which operators would ask for first."""
    try:
        about = os.statvfs(path.parent)
    except OSError:
        return ""
    return f" ({about.f_bavail * about.f_frsize} bytes free)"

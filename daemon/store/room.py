"""How much free space a data folder's disk has, and how much of it must stay free.

    |<------------------------- the disk ------------------------->|
    | others, the database and its log        |  free              |
                                              |    |refuse   |warn |     bulk data is accepted only down to `refuse`
                                              |reserve|                  a file, released when no other space is left

Bulk data (graphs, copies, states) is refused before it is written if it would leave less than `refuse`. Consensus'
writes are small, and may use what bulk data leaves. When even that is used up, the reserve is released: a daemon whose
disk others have filled still starts, reports it, and can be drained or have graphs dropped.

A database file does not shrink: deletions free space in it for later writes, not on the disk. Marks are capped by the
size of the disk, so that the defaults suit a small one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.store.errors import NoRoom

RESERVE: Final = "reserve"
OVERHEAD: Final = 16
"""One sixteenth is added for partly filled pages, row headers and indices."""
WARN_PART, REFUSE_PART, RESERVE_PART, LOG_PART = 5, 10, 20, 8
"""No mark exceeds this part of the disk. On 64 MB: warns below 12.8, refuses below 6.4, and reserves 3.2."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks in bytes; each is capped by a fraction of the disk."""

    warn: int = 2 << 30
    refuse: int = 1 << 30
    reserve: int = 16 << 20

    def __post_init__(self) -> None:
        assert 0 <= self.refuse <= self.warn, self


class Room:
    """The space of one folder's disk. Methods raise OSError if the disk can't be queried."""

    def __init__(self, folder: Path, marks: Marks) -> None:
        self._folder, self._marks = folder, marks

    @property
    def total(self) -> int:
        """The size of the disk in bytes."""
        about = os.statvfs(self._folder)
        return about.f_blocks * about.f_frsize

    @property
    def free(self) -> int:
        """The bytes on it that this process may still use."""
        about = os.statvfs(self._folder)
        return about.f_bavail * about.f_frsize

    @property
    def warn(self) -> int:
        """The mark below which a warning is logged."""
        return min(self._marks.warn, self.total // WARN_PART)

    @property
    def refuse(self) -> int:
        """The mark that bulk data must leave free."""
        return min(self._marks.refuse, self.total // REFUSE_PART)

    def log_bytes(self, most: int) -> int:
        """Returns the limit for the write-ahead log: `most` on a disk that is large enough."""
        return max(1 << 20, min(most, self.total // LOG_PART))

    def for_bulk(self, reusable: int, log_growth: int) -> int:
        """Returns how many bytes of bulk data may still be written, given the reusable bytes and the log's growth."""
        left = self.free - self.refuse - log_growth
        inside = reusable if self.free - log_growth >= self.refuse // 2 else 0
        return max(0, max(left, 0) + inside) * OVERHEAD // (OVERHEAD + 1)

    def require(self, nbytes: int, reusable: int, log_growth: int) -> None:
        """Raises `NoRoom` if so many bytes of bulk data must not be written.

        All of the log's growth counts, however little is to be written: a log that restarts is short, and needs its
        room again, or the freed space in the database could not be written to.
        """
        most = self.for_bulk(reusable, log_growth)
        if nbytes > most:
            raise NoRoom(
                f"{self._folder} has no room for {nbytes} bytes more: {self.free} bytes of its disk are free, of which"
                f" {self.refuse} stay free (storage.refuse_free), and {reusable} can be reused in the"
                " database; make room on the disk, or drop graphs"
            )

    # -- the reserve -----------------------------------------------------------------------------------------------

    def let_go(self) -> bool:
        """Releases the reserve; returns whether there was one."""
        try:
            (self._folder / RESERVE).unlink()
        except FileNotFoundError:
            return False
        return True

    def keep_reserve(self) -> bool:
        """Takes the reserve if it is missing and there is room for it; returns whether it exists now."""
        path, size = self._folder / RESERVE, max(1, min(self._marks.reserve, self.total // RESERVE_PART))
        with suppress(FileNotFoundError):
            if path.stat().st_size >= size:  # a smaller one was left incomplete
                return True
        if self.free - size < self.refuse:
            return False
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # no inode is free, or a quota is used up
            return False
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            path.unlink(missing_ok=True)  # another thread may have released it
            return False
        finally:
            os.close(descriptor)
        return True

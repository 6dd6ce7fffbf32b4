"""How much room a data folder's disk has, and how much of it is left alone.

    |<------------------------- the disk ------------------------->|
    | others, the database and its log        |  free              |
                                              |    |refuse   |warn |     bulk is taken only down to `refuse`
                                              |reserve|                  a file, let go of when nothing else is left

Bulk (graphs, copies, states) is refused before it is written if less than `refuse` would be left; what consensus
decides is small, and may use what bulk leaves. When even that is gone, the reserve is let go of: a daemon whose disk
was filled by somebody else still starts, says so, and can be drained, or have graphs dropped.

A database file does not shrink: what is deleted in it makes room for what comes, not on the disk. Marks are capped by
the size of the disk, so that the same ones do for a small one.
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
"""A sixteenth is allowed for pages that are not full, heads of rows and indices."""
WARN_PART, REFUSE_PART, RESERVE_PART, LOG_PART = 5, 10, 20, 8
"""No mark is above this part of the disk. Of 64 MB: warned below 12.8, refused below 6.4, and 3.2 are the reserve."""


@dataclass(frozen=True, slots=True)
class Marks:
    """In bytes; each is capped by a part of the disk."""

    warn: int = 2 << 30
    refuse: int = 1 << 30
    reserve: int = 16 << 20

    def __post_init__(self) -> None:
        assert 0 <= self.refuse <= self.warn, self


class Room:
    """Of one folder. Raises OSError if the disk can't even be asked."""

    def __init__(self, folder: Path, marks: Marks) -> None:
        self._folder, self._marks = folder, marks

    @property
    def total(self) -> int:
        """Bytes of the whole disk."""
        about = os.statvfs(self._folder)
        return about.f_blocks * about.f_frsize

    @property
    def free(self) -> int:
        """Bytes that this process may still use on it."""
        about = os.statvfs(self._folder)
        return about.f_bavail * about.f_frsize

    @property
    def warn(self) -> int:
        """Below this it is said that room runs out."""
        return min(self._marks.warn, self.total // WARN_PART)

    @property
    def refuse(self) -> int:
        """Bulk leaves so much alone."""
        return min(self._marks.refuse, self.total // REFUSE_PART)

    def log_bytes(self, most: int) -> int:
        """How long the write-ahead log may become, of `most` on a disk that is large enough."""
        return max(1 << 20, min(most, self.total // LOG_PART))

    def for_bulk(self, reusable: int, log_growth: int) -> int:
        """Bytes of bulk that may still be written, with so much reusable in the database and a log that may grow."""
        left = self.free - self.refuse - log_growth
        inside = reusable if self.free - log_growth >= self.refuse // 2 else 0
        return max(0, max(left, 0) + inside) * OVERHEAD // (OVERHEAD + 1)

    def require(self, nbytes: int, reusable: int, log_growth: int) -> None:
        """Raise `NoRoom` if so much bulk must not be written.

        All of the log counts, however little is to be written: a log that starts over is short, and must find its room
        again, or what was dropped in the database could not be written to.
        """
        most = self.for_bulk(reusable, log_growth)
        if nbytes > most:
            raise NoRoom(
                f"{self._folder} has no room for {nbytes} bytes more: {self.free} bytes of its disk are free, of which"
                f" {self.refuse} are left alone (storage.refuse_free), and {reusable} can be used again in the"
                " database; make room on the disk, or drop graphs"
            )

    # -- the reserve -----------------------------------------------------------------------------------------------

    def let_go(self) -> bool:
        """Give the reserve back to the disk; whether there was one."""
        try:
            (self._folder / RESERVE).unlink()
        except FileNotFoundError:
            return False
        return True

    def keep_reserve(self) -> bool:
        """Take the reserve, if there is none and room enough; whether there is one now."""
        path, size = self._folder / RESERVE, max(1, min(self._marks.reserve, self.total // RESERVE_PART))
        with suppress(FileNotFoundError):
            if path.stat().st_size >= size:  # it may have been left half-way
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
            path.unlink(missing_ok=True)  # another thread may have let go of it
            return False
        finally:
            os.close(descriptor)
        return True

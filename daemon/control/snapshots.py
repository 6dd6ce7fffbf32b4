"""When this shard's server takes a snapshot of its own state, and so cuts its log."""

from __future__ import annotations

from typing import Final

from consensus import Raft

SENDING_ENTRIES_FACTOR: Final = 8
"""A log may be so many times as long as otherwise while somebody is being sent a snapshot."""


class SnapshotSchedule:
    """One at a time, whenever the log is `entries` long; the last one was taken, or came, at `index`."""

    def __init__(self, entries: int) -> None:
        self.index = 0
        self.is_under_way = False
        self._entries = entries

    def begins(self, applied: int, raft: Raft, now: int) -> bool:
        """Whether to take one now. While one is on its way to somebody a new one would have that begin again, so the
        log may grow for a while.
        """
        grown = applied - self.index
        most = SENDING_ENTRIES_FACTOR * self._entries if raft.is_sending_snapshot(now) else self._entries
        if self.is_under_way or grown < most:
            return False
        self.index, self.is_under_way = applied, True
        return True

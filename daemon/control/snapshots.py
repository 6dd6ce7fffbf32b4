"""Decides when this shard's server takes a snapshot of its own state, and so cuts its log."""

from __future__ import annotations

from typing import Final

from consensus import Raft

SENDING_ENTRIES_FACTOR: Final = 8
"""While a follower receives a snapshot, the log may grow to so many times its usual length."""


class SnapshotSchedule:
    """One snapshot at a time, whenever the log is `entries` long; the last was taken, or received, at `index`."""

    def __init__(self, entries: int) -> None:
        self.index = 0
        self.is_under_way = False
        self._entries = entries

    def begins(self, applied: int, raft: Raft, now: int) -> bool:
        """Whether to take a snapshot now. The log may grow longer while a follower receives one, because a new snapshot
        would make it start over.
        """
        grown = applied - self.index
        most = SENDING_ENTRIES_FACTOR * self._entries if raft.is_sending_snapshot(now) else self._entries
        if self.is_under_way or grown < most:
            return False
        self.index, self.is_under_way = applied, True
        return True

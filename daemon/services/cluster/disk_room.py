"""Watches the free space on this shard's disk, for bulk transfers, `status`, metrics and the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Never

from daemon.runtime.context import HostContext
from daemon.runtime.service import Beat, Service
from daemon.store import Store

log = logging.getLogger("shoal.disk")

LOOK_BEATS = 5
"""In beats of the host: twice a second."""


@dataclass(frozen=True)
class Level:
    """In bytes: the disk's size, its free space, the thresholds, and how much bulk data may still be written."""

    total: int
    free: int
    warn: int
    refuse: int
    bulk: int
    has_reserve: bool

    @property
    def word(self) -> Literal["ok", "low", "full"]:
        """`ok`, `low` (a warning) or `full` (bulk data is refused)."""
        if self.free < self.refuse and self.bulk == 0:
            return "full"
        return "low" if self.free < self.warn else "ok"


class DiskRoom(Service[Never, Beat]):
    """One shard's disk. `level` is as of the last check; None without thresholds, or before the first check."""

    events = (Beat,)

    def __init__(self, context: HostContext) -> None:
        self._context = context
        self.level: Level | None = None
        self._is_looking = False

    def on_event(self, event: Beat) -> None:
        """Checks again when that is due, unless the last check is still running."""
        if event.number % LOOK_BEATS == 1 and not self._is_looking:
            self._is_looking = True
            self._context.spawn(self._look())

    async def _look(self) -> None:
        try:
            level = await self._context.disk.do(_level)
        finally:
            self._is_looking = False
        before, self.level = self.level, level
        if level is None:
            return
        self._context.ticks.has_room(level.bulk)
        if level.word != (before.word if before is not None else "ok"):
            _tell(level)


def _level(store: Store) -> Level | None:
    """Runs on the store's thread; takes the reserve again once there is room for it."""
    room, bulk = store.room, store.room_for_bulk()
    if room is None or bulk is None:
        return None
    return Level(room.total, room.free, room.warn, room.refuse, bulk, room.keep_reserve())


def _tell(level: Level) -> None:
    sizes = f"{level.free} of {level.total} bytes are free"
    if level.word == "full":
        log.error(
            "the data folder's disk is full: %s, and %d are reserved (storage.refuse_free); no graph, copy or state"
            " is accepted until there is room: free some space, drop graphs, or drain this shard",
            sizes,
            level.refuse,
        )
    elif level.word == "low":
        log.warning("the data folder's disk is filling up: %s, below storage.warn_free (%d)", sizes, level.warn)
    else:
        log.info("the data folder's disk has room again: %s", sizes)

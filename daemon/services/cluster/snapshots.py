"""Takes snapshots of the replicated state, so that the log can be cut, and reads a leader's, while all else goes on.

Capturing the state takes a moment. Encoding and writing it takes as long as it is large, so the store's thread does
both, piece by piece; consensus gets its turn on the disk between any two. Then a write as small as any other makes the
snapshot current (`daemon/store/consensus`). Reading a leader's takes even longer, so a worker does it.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Never, assert_never

from daemon.control.effects import ReadSnapshot, TakeSnapshot
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service
from daemon.state import Thawed
from daemon.store import NoRoom, Store
from daemon.wire import Rejected

log = logging.getLogger("shoal.disk")


class Snapshots(Service[Never, TakeSnapshot | ReadSnapshot]):
    """One shard's snapshots; the control plane requests one at a time."""

    events = (TakeSnapshot, ReadSnapshot)

    def __init__(self, context: HostContext) -> None:
        self._context = context

    def on_event(self, event: TakeSnapshot | ReadSnapshot) -> None:
        """Takes or reads a snapshot."""
        match event:
            case TakeSnapshot():
                self._context.spawn(self._take(event))
            case ReadSnapshot():
                self._context.spawn(self._read(event))
            case _:
                assert_never(event)

    async def _take(self, asked: TakeSnapshot) -> None:
        chunks = None
        try:
            chunks = await self._context.disk.do(partial(_staged, asked))
        except NoRoom as error:
            log.warning("the log is not compacted and grows until there is room for a snapshot: %s", error)
        self._context.orders.snapshot_taken(asked.index, chunks)

    async def _read(self, asked: ReadSnapshot) -> None:
        read: Thawed | Rejected
        try:
            read = await asyncio.get_running_loop().run_in_executor(self._context.workers, asked.read)
        except Rejected as mistake:
            read = mistake
        self._context.orders.snapshot_read(asked.snapshot, read)


def _staged(asked: TakeSnapshot, store: Store) -> tuple[bytes, ...]:
    return store.stage_snapshot(asked.index, asked.chunks)

"""Takes snapshots of what the log has decided, so that the log can be cut, while everything else goes on.

The state was captured in a moment. To encode it and write it takes as long as it is large, so the store's thread does
both, piece by piece; consensus has its turn on the disk between any two. Then the snapshot comes into force with a
write that is as small as any other (`daemon/store/consensus`).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Never

from daemon.control.effects import TakeSnapshot
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service
from daemon.store import NoRoom, Store

log = logging.getLogger("shoal.disk")


class Snapshots(Service[Never, TakeSnapshot]):
    """Of one shard; the control plane asks for one at a time."""

    events = (TakeSnapshot,)

    def __init__(self, context: HostContext) -> None:
        self._context = context

    def on_event(self, event: TakeSnapshot) -> None:
        """Has one taken."""
        self._context.spawn(self._take(event))

    async def _take(self, asked: TakeSnapshot) -> None:
        chunks = None
        try:
            chunks = await self._context.disk.do(partial(_staged, asked))
        except NoRoom as error:
            log.warning("the log is not compacted and grows until there is room for a snapshot: %s", error)
        self._context.orders.snapshot_taken(asked.index, chunks)


def _staged(asked: TakeSnapshot, store: Store) -> tuple[bytes, ...]:
    return store.stage_snapshot(asked.index, asked.chunks)

"""Awaitable jobs for the store's thread, so that the control loop never waits for a disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from daemon.runtime.store_thread import StoreThread
from daemon.store import NoRoom, NotHeld, StateRecord, Store, StoreFailed

log = logging.getLogger("shoal.disk")
T = TypeVar("T")


class Disk:
    """Runs the store's jobs for coroutines of one loop. `soon` calls a function on the loop from another thread."""

    again_seconds = 5.0
    """After how long to retry a deletion that has found no room."""

    def __init__(self, thread: StoreThread, soon: Callable[..., None]) -> None:
        self._thread, self._soon = thread, soon

    async def do(self, job: Callable[[Store], T]) -> T:
        """Runs a job and returns its result. Raises `NotHeld` if what it reads does not exist, `NoRoom` if the disk is
        full.

        Any other write that fails ends the daemon, and raises `StoreFailed` here and in all jobs that wait behind it.
        """
        done: asyncio.Future[T | StoreFailed] = asyncio.get_running_loop().create_future()

        def tell(result: T | StoreFailed) -> None:
            self._soon(_settle, done, result)

        self._thread.submit(partial(_looked_up, job), tell, tell)
        result = await done
        if isinstance(result, StoreFailed):
            raise result
        return result

    async def delete(self, job: Callable[[Store], None]) -> None:
        """Deletes something. If the disk is too full even for that, it is retried until it succeeds."""
        try:
            await self.do(job)
        except NoRoom as error:
            self._delete_later(job, error, 1)

    def order(self, job: Callable[[Store], None], attempts: int = 0) -> None:
        """Deletes something without waiting for the first attempt."""

        def done(result: StoreFailed | None) -> None:
            if isinstance(result, NoRoom):
                self._soon(self._delete_later, job, result, attempts + 1)

        self._thread.submit(partial(_looked_up, job), done)

    def _delete_later(self, job: Callable[[Store], None], error: NoRoom, attempts: int) -> None:
        if attempts == 1:
            log.warning("a deletion waits until the disk has room: %s", error)
        asyncio.get_running_loop().call_later(self.again_seconds, self.order, job, attempts)

    def submit(self, job: Callable[[Store], T], done: Callable[[T], None]) -> None:
        """Runs a job, from any thread; calls `done` on the store's thread."""
        self._thread.submit(job, done)

    def submit_states(self, record: StateRecord, done: Callable[[], None], lost: Callable[[StoreFailed], None]) -> None:
        """Writes states, from any thread; calls `done` once they are durable, or `lost` if they never will be."""
        self._thread.submit_states(record, done, lost)


def _looked_up(job: Callable[[Store], T], store: Store) -> T | StoreFailed:
    try:
        return job(store)
    except (NotHeld, NoRoom) as harmless:
        return harmless


def _settle(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)

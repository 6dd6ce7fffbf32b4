"""Tasks beside the loop's turns, and calls from other threads onto the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """One daemon's tasks. Calls `fatal` with an error that must end the process."""

    def __init__(self, fatal: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fatal = fatal
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        """The number of running tasks."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs a coroutine as a task; an exception in it ends the daemon, as one in a turn of the loop does."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def soon(self, do: Callable[..., None], *args: Any) -> None:
        """Calls a function on the loop from another thread, unless the loop is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do, *args)

    def close(self) -> None:
        """Cancels all tasks."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal(error)

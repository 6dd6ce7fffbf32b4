"""Pieces of loads that are being taken in here, each in a task of its own, and loads that come to nothing meanwhile.

A load is given up at any moment: its asker hangs up, or another shard refuses its piece. What is being written for it
has to come to an end first, or it would find its load deleted below it, or be written after that and stay for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from daemon.runtime.tasks import Tasks
from daemon.services.graphs.graphs import Graphs


class Pieces:
    """Those of one shard, by load."""

    def __init__(self, tasks: Tasks, graphs: Graphs) -> None:
        self._tasks, self._graphs = tasks, graphs
        self._taking: dict[str, asyncio.Task[Any]] = {}

    def take(self, load: str, work: Coroutine[Any, Any, None]) -> None:
        """A piece is whole: have it taken in."""
        task = self._taking[load] = self._tasks.spawn(work)
        task.add_done_callback(lambda done: self._forget(load, done))

    def give_up(self, load: str) -> None:
        """The load has come to nothing: keep nothing of it."""
        self._tasks.spawn(self._drop(load))

    async def _drop(self, load: str) -> None:
        task = self._taking.get(load)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._graphs.drop_load(load)

    def _forget(self, load: str, task: asyncio.Task[Any]) -> None:
        if self._taking.get(load) is task:
            del self._taking[load]

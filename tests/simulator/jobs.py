"""Long operations on a host, such as an operator's command: the result, or that the host went down first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shoal.api.errors import ShoalError
from tests.simulator.host import Host, SimDaemon


class Job:
    """One operation, which starts at once."""

    def __init__(self, host: Host, work: Callable[[SimDaemon], Awaitable[object]]) -> None:
        self._host, self._life, self._work = host, host.generation, work
        self.is_done = False
        self.error = ""
        """The error that the operator would see."""
        self.result: object = None
        self._task: asyncio.Task[object] | None = None
        host.spawn(self._run)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or its host has."""
        is_gone = not self._host.running or self._host.generation != self._life
        return self.is_done or bool(self.error) or is_gone

    def cancel(self) -> None:
        """Cancels it, as if the operator hung up."""
        if self._task is not None and not self.is_over:
            self._host.do(lambda _: self._task is not None and self._task.cancel())

    async def _run(self, daemon: SimDaemon) -> None:
        self._task = asyncio.current_task()
        try:
            self.result = await self._work(daemon)
        except ShoalError as error:
            self.error = str(error) or type(error).__name__
        else:
            self.is_done = True


async def tell_nobody(_: Mapping[str, Any]) -> None:
    """Ignores the progress."""

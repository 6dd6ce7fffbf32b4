"""Waits for conditions that become true in a turn of the control loop, like a condition variable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Conditions:
    """The conditions that coroutines wait for. The host checks them whenever something may have changed."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], object]] = {}

    async def until(self, holds: Callable[[], object], seconds: float | None = None) -> bool:
        """Waits until a condition holds, or for so many seconds; returns whether it holds."""
        if holds():
            return True
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[changed] = holds
        try:
            await asyncio.wait([changed], timeout=seconds)
        finally:
            del self._waiting[changed]
        if changed.done():
            changed.result()
        return bool(holds())

    def look(self) -> None:
        """Checks all conditions, and wakes the coroutines whose condition holds."""
        for changed, holds in list(self._waiting.items()):
            if changed.done():
                continue
            try:
                if holds():
                    changed.set_result(None)
            except Exception as error:  # it belongs to the waiting coroutine
                changed.set_exception(error)

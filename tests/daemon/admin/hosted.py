"""An admin server in a loop of its own thread, for tests that are clients of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from daemon.admin.registry import Registry
from daemon.admin.server import AdminLimits, AdminServer
from shoal.api.command import Exchange, Framed
from shoal.api.errors import Failed, Refused
from tests.daemon.admin import declared

SECONDS = 10.0


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until it is so."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.002)


class Hosted:
    """Serves `registry` at `path` while the context lasts; `seen` counts (command, outcome)."""

    def __init__(self, registry: Registry, path: Path, **limits: int) -> None:
        self.path = path
        self.seen: Counter[tuple[str, str]] = Counter()
        self.loop = asyncio.new_event_loop()
        self._registry = registry
        self._limits = AdminLimits(**limits)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.server = AdminServer(
            self._registry, self.path, limits=self._limits, observe=lambda *what: self.seen.update([what])
        )
        await self.server.start()
        self._ready.set()
        await self._stop.wait()
        await self.server.close()

    def __enter__(self) -> Hosted:
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def in_loop(self, coroutine: Any) -> Any:
        """Run something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)


class Handlers:
    """A small daemon's worth of commands."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.started = threading.Event()

    async def status(self, _: Any) -> Any:
        return {"shard": "a", "value": np.float64(1.5), "distance": float("inf")}

    async def load(self, asked: declared.Load, exchange: Exchange) -> Any:
        for done in range(3):
            await exchange.emit({"stage": "store", "done": done, "total": 3})
        return Framed({"name": asked.name, "bytes": [f.nbytes for f in exchange.frames]}, exchange.frames)

    async def wait(self, _: declared.Wait, exchange: Exchange) -> Any:
        self.started.set()
        try:
            while True:
                await exchange.emit({"tick": 1})
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def refuse(self, _: Any) -> Any:
        raise Refused("not now: there is no view")

    async def fail(self, _: Any) -> Any:
        raise Failed("tried")

    async def broken(self, _: Any) -> Any:
        raise ConnectionResetError("some other socket's")

    def registry(self) -> Registry:
        kinds = ("Status", "Load", "Wait", "Refuse", "Fail", "Broken", "Nobody")
        commands = Registry([getattr(declared, kind).contract for kind in kinds])
        commands.bind(
            declared.Status.answered_by(self.status),
            declared.Load.followed_by(self.load),
            declared.Wait.followed_by(self.wait),
            declared.Refuse.answered_by(self.refuse),
            declared.Fail.answered_by(self.fail),
            declared.Broken.answered_by(self.broken),
        )
        return commands

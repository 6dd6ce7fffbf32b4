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

from daemon.admin.registry import Command, Parameter, Registry, Reply, Request
from daemon.admin.server import AdminLimits, AdminServer
from shoal.api.errors import Failed, Refused

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

    async def status(self, _: Request) -> Reply:
        return Reply({"shard": "a", "value": np.float64(1.5), "distance": float("inf")})

    async def load(self, request: Request) -> Reply:
        for done in range(3):
            await request.emit({"stage": "store", "done": done, "total": 3})
        return Reply({"name": request.args["name"], "bytes": [f.nbytes for f in request.frames]}, request.frames)

    async def wait(self, request: Request) -> Reply:
        self.started.set()
        try:
            while True:
                await request.emit({"tick": 1})
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def refuse(self, _: Request) -> Reply:
        raise Refused("not now: there is no view")

    async def fail(self, _: Request) -> Reply:
        raise Failed("tried")

    async def broken(self, _: Request) -> Reply:
        raise ConnectionResetError("some other socket's")

    def registry(self) -> Registry:
        commands = Registry(
            [
                Command("status", "s"),
                Command("graph load", "l", (Parameter("name", "str", "n", required=True),), frames=True),
                Command("run wait", "w"),
                Command("refuse", "r"),
                Command("fail", "f"),
                Command("broken", "b"),
                Command("nobody", "n"),
            ]
        )
        for name, handler in (
            ("status", self.status), ("graph load", self.load), ("run wait", self.wait),
            ("refuse", self.refuse), ("fail", self.fail), ("broken", self.broken),
        ):  # fmt: skip
            commands.bind(name, handler)
        return commands

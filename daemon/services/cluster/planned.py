"""What the admin socket answers about planned work: going, coming back, and copies of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from daemon.admin.registry import Refused, Registry, Reply, Request
from daemon.runtime.loop import Runtime
from daemon.services.backup.backup import Backup
from daemon.services.cluster.drain import Departure, Tell

REPLY_SECONDS = 0.2
"""From the answer of `leave` to the end: the answer has to get out."""


class Planned:
    """The handlers. `stop` ends the daemon as a signal does."""

    def __init__(self, runtime: Runtime, commands: Registry, stop: Callable[[], None]) -> None:
        self._runtime, self._stop = runtime, stop
        self._departure = Departure(runtime)
        self._backing_up = asyncio.Lock()
        for name in ("drain", "leave", "join", "backup"):
            commands.bind(name, getattr(self, name))

    async def drain(self, request: Request) -> Reply:
        handed = await self._departure.drain(_teller(request, "drain"))
        return Reply({"shard": self._runtime.me.name, "state": "drained", **asdict(handed)})

    async def leave(self, request: Request) -> Reply:
        handed = await self._departure.drain(_teller(request, "drain"))
        await request.emit({"stage": "seat", "done": 0, "total": 1})
        await self._departure.hand_over_leadership()
        await self._departure.give_up_seat()
        asyncio.get_running_loop().call_later(REPLY_SECONDS, self._stop)
        return Reply({"shard": self._runtime.me.name, "state": "left", **asdict(handed)})

    async def join(self, request: Request) -> Reply:
        await self._departure.join(_teller(request, "join"))
        epoch = self._runtime.shard.registry.epoch
        return Reply({"shard": self._runtime.me.name, "state": "joined", "epoch": epoch})

    async def backup(self, request: Request) -> Reply:
        if self._backing_up.locked():
            raise Refused("another backup is under way here: wait for its end, or ask another daemon")
        async with self._backing_up:
            return Reply(await Backup(self._runtime, Path(request.args["dir"]), request.emit).run())


def _teller(request: Request, stage: str) -> Tell:
    async def tell(done: int, total: int) -> None:
        await request.emit({"stage": stage, "done": done, "total": total})

    return tell

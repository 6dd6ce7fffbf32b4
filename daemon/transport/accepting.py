"""Accepting clients on the control loop, for ports that are not libzmq's: a flood of them costs little, and is told.

Without a descriptor for a client that waits, the listener stays ready, so accepting at once again would spin; and while
all places are taken, each new client costs one that is there. So in both cases there is a pause, in which clients wait
in the kernel's queue. What was refused is said in the log once a minute (`daemon.transport.refusals`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from daemon.transport.refusals import Refusals, Teller

CROWDED_SECONDS: Final = 0.002
"""Five hundred a second are let in to a full house."""
NO_DESCRIPTOR_SECONDS: Final = 0.1

Adopt = Callable[[socket.socket, str], bool]
"""Takes over a client that does not block, from a source; whether there was a place for it."""


class Acceptor:
    """Of one port; to be used and closed on a running loop."""

    def __init__(self, port: str, adopt: Adopt, log: logging.Logger) -> None:
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._refusals = Teller(Refusals(port), log)
        self._listeners: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    def listen(self, listener: socket.socket) -> None:
        """Accepts on another socket, which must not block and belongs to this object from now on."""
        self._listeners.append(listener)
        self._tasks.append(asyncio.create_task(self._accept(listener), name="accept"))

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._listeners)

    def close(self) -> list[asyncio.Task[None]]:
        """Stops, and returns what has to be awaited."""
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            listener.close()
        self._refusals.close()
        return self._tasks

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            await asyncio.sleep(0)  # to accept who waits already does not yield by itself, and nobody would be served
            try:
                client, address = await self._loop.sock_accept(listener)
            except OSError:
                self._refusals.note("descriptors", "all")
                await asyncio.sleep(NO_DESCRIPTOR_SECONDS)
                continue
            client.setblocking(False)
            source = str(address[0]) if isinstance(address, tuple) else "this machine"
            if not self._adopt(client, source):
                self._refusals.note("crowd", source)
                await asyncio.sleep(CROWDED_SECONDS)

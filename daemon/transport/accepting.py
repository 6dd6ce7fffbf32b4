"""Accepts clients on the control loop, for ports that are not libzmq's. A flood of them costs little, and is logged.

Without a descriptor for a waiting client, the listener stays ready, so accepting again at once would spin; and while
all places are taken, each new client costs an existing one. In both cases there is a pause, during which clients wait
in the kernel's queue. Refusals are logged once a minute (`daemon.transport.refusals`)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from daemon.transport.refusals import Refusals, Teller

CROWDED_SECONDS: Final = 0.002
"""A full port accepts five hundred clients a second."""
NO_DESCRIPTOR_SECONDS: Final = 0.1

Adopt = Callable[[socket.socket, str], bool]
"""Takes over a non-blocking client from a source; returns whether a place was free."""


class Acceptor:
    """Accepts for one port. Create, use and close it on a running loop."""

    def __init__(self, port: str, adopt: Adopt, log: logging.Logger) -> None:
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._refusals = Teller(Refusals(port), log)
        self._listeners: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    def listen(self, listener: socket.socket) -> None:
        """Accepts on another non-blocking socket, which this object then owns."""
        self._listeners.append(listener)
        self._tasks.append(asyncio.create_task(self._accept(listener), name="accept"))

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._listeners)

    def close(self) -> list[asyncio.Task[None]]:
        """Stops, and returns the tasks to await."""
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            listener.close()
        self._refusals.close()
        return self._tasks

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            await asyncio.sleep(0)  # accepting a waiting client does not yield by itself, and nobody would be served
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

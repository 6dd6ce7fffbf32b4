"""Ports for dev clusters, each reserved from the moment it is found to be free.

This module binds a port without listening on it. Linux lets listeners with SO_REUSEADDR, such as libzmq's and
asyncio's, bind it too, but a search for a free port without that option, as in this module, finds it taken. So nothing
else can take the port between search and use, or while a killed shard is down.
"""

from __future__ import annotations

import errno
import socket
import weakref
import zlib
from typing import Final

PORTS: Final = range(20_000, 30_000)
"""Below the range that Linux uses for outgoing connections (32768 and up)."""


class ReservedPorts:
    """Hands out ports of this machine, each to one owner only, for as long as this object lives."""

    def __init__(self, salt: str, ports: range = PORTS) -> None:
        """`salt` chooses where the search begins, so that two clusters seldom try the same ports."""
        self._first, self._ports = zlib.crc32(salt.encode()) % len(ports), ports
        self._reservations: list[socket.socket] = []
        weakref.finalize(self, _release, self._reservations)

    def next(self) -> int:
        """Returns a free port and reserves it."""
        for step in range(len(self._ports)):
            port = self._ports[(self._first + step) % len(self._ports)]
            reservation = socket.socket()
            try:
                reservation.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reservations.append(reservation)
            return port
        raise OSError(errno.EADDRINUSE, f"no port from {self._ports.start} to {self._ports.stop - 1} is free")


def _release(reservations: list[socket.socket]) -> None:
    for reservation in reservations:
        reservation.close()

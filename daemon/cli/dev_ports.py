"""Ports for dev clusters, each reserved from the moment it is found free.

A port is bound here and never listened on. Linux lets a listener with SO_REUSEADDR bind it too, as libzmq's and
asyncio's have, while whoever looks for a free port as this module does, without that option, finds it taken. So there
is no moment between the look and the use, nor while a shard that has been killed is away.
"""

from __future__ import annotations

import errno
import socket
import weakref
import zlib
from typing import Final

PORTS: Final = range(20_000, 30_000)
"""Below what Linux hands out to outgoing connections (32768 and up)."""


class ReservedPorts:
    """Gives out ports of this machine that no other of its kind is given as long as it lives."""

    def __init__(self, salt: str, ports: range = PORTS) -> None:
        """`salt` chooses where the search begins, so that two clusters seldom try the same ports."""
        self._first, self._ports = zlib.crc32(salt.encode()) % len(ports), ports
        self._reservations: list[socket.socket] = []
        weakref.finalize(self, _release, self._reservations)

    def next(self) -> int:
        """Returns a port that was free, and is reserved now."""
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

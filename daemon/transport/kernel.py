"""The kernel's knowledge of a connection, through a descriptor that remains libzmq's.

libzmq does not tell how far a connection has come, what it has received or whose it is before a message was read from
it. The kernel does: `TCP_INFO` counts the bytes, and the other end can't falsify that.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

_INFO: Final = struct.Struct("=128xQ64xQQ")
"""struct tcp_info of linux/tcp.h: `tcpi_bytes_received`, and behind it `tcpi_bytes_sent` and `tcpi_bytes_retrans`."""
_DROP_ALL: Final = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
"""A classic BPF program of one instruction, BPF_RET 0: no packet passes."""
SO_ATTACH_FILTER: Final = 26
SO_DETACH_FILTER: Final = 27


@dataclass(frozen=True, slots=True)
class Traffic:
    """The bytes that a connection has carried, each counted once."""

    received: int
    sent: int


def peer_of(descriptor: int) -> tuple[str, int] | None:
    """Returns the address and port at the other end, or None if the connection has ended."""
    try:
        return _borrowed(descriptor, _peer)
    except OSError:
        return None


def traffic_of(descriptor: int) -> Traffic | None:
    """Returns a connection's traffic, or None if it has ended or the kernel does not count (before Linux 4.19)."""
    try:
        information = _borrowed(descriptor, _information, socket.AF_INET)
        received, sent, again = _INFO.unpack(information)
    except (OSError, struct.error):
        return None
    return Traffic(received, sent - again)


def hang_up(descriptor: int, peer: tuple[str, int]) -> bool:
    """Cuts the connection if it is still that peer's; libzmq notices and closes the descriptor."""
    with suppress(OSError):
        if _borrowed(descriptor, _peer) == peer:
            _borrowed(descriptor, lambda s: s.shutdown(socket.SHUT_RDWR))
            return True
    return False


class ListeningSocket:
    """The socket that libzmq accepts from, by a descriptor of our own, to pause it and shed waiting connections."""

    def __init__(self, descriptor: int) -> None:
        self._socket = _borrowed(descriptor, lambda s: s.dup())
        # The queue may be shed between libzmq's poll and its accept, which must not block then.
        self._socket.setblocking(False)

    def pause(self) -> None:
        """Lets the kernel drop new connection attempts from now on; clients retry by themselves."""
        program = struct.pack("@HP", 1, ctypes.addressof(_DROP_ALL))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def resume(self) -> None:
        """Accepts connections again."""
        with suppress(OSError):  # it was not paused
            self._socket.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def shed(self, most: int) -> int:
        """Cuts the connections waiting to be accepted, and returns how many. Needs a free descriptor."""
        for done in range(most):
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return done
            connection.close()
        return most

    def close(self) -> None:
        """Releases the address. Idempotent."""
        self._socket.close()


def _peer(connection: socket.socket) -> tuple[str, int]:
    address: tuple[str, int] = connection.getpeername()[:2]
    return address


def _information(connection: socket.socket) -> bytes:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)


def _borrowed(descriptor: int, do: Callable[[socket.socket], T], family: int = -1) -> T:
    """Wraps a descriptor without owning it. Giving the family saves three system calls."""
    borrowed = socket.socket(family, -1 if family < 0 else socket.SOCK_STREAM, -1 if family < 0 else 0, descriptor)
    try:
        return do(borrowed)
    finally:
        borrowed.detach()

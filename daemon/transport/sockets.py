"""What both planes share: limits, sockets set up alike, and one message in or out.

The first frame of a message is a header and small, the others are arrays (`daemon.wire` puts it so). So the first is
copied, which is cheapest for small ones, and the others are not: received as `zmq.Frame`, which a memoryview reads in
place, and sent from the caller's memory, which must not change until then.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import zmq

from daemon.protocol.frames import Buffer
from daemon.transport.security import Count, Curve, Doorman, secure_client, secure_server

__all__ = [
    "BindFailed",
    "Count",
    "Listener",
    "Speaker",
    "TransportLimits",
    "readable",
    "receive",
    "receive_from",
    "too_large",
]

# Plain ints: an operation on pyzmq's flags costs half a microsecond.
NOBLOCK = int(zmq.NOBLOCK)
NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
POLLIN = int(zmq.POLLIN)

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000 * MILLISECOND_NS

ENCRYPTION_BYTES_MAX = 64
"""What CURVE adds to a message part (RFC 26: a command name, a nonce and an authenticator: 33 bytes)."""
NO_COPY_BYTES = 64 << 10
"""pyzmq's own threshold: below it, a copy costs less than keeping the sender's buffer alive until it has been sent."""


class BindFailed(Exception):
    """An address that cannot be listened on; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds of what a peer can make this shard hold, and the clocks that find dead connections."""

    frame_bytes_max: int = 1 << 30
    frames_max: int = 1024
    queue_messages_max: int = 1000
    drain_max: int = 256
    peers_max: int = 1024
    idle_ns: int = 60 * SECOND_NS
    heartbeat_interval_ns: int = 5 * SECOND_NS
    heartbeat_timeout_ns: int = 15 * SECOND_NS
    handshake_timeout_ns: int = 5 * SECOND_NS
    reconnect_min_ns: int = 50 * MILLISECOND_NS
    reconnect_max_ns: int = 2 * SECOND_NS
    stuck_ns: int = 5 * SECOND_NS

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


class Listener:
    """A context with a bound PULL socket and its doorman."""

    def __init__(self, address: str, curve: Curve | None, limits: TransportLimits, count: Count) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PULL)
        _set_up(self.socket, limits)
        self.socket.rcvhwm = limits.queue_messages_max
        self.socket.maxmsgsize = limits.frame_bytes_max + ENCRYPTION_BYTES_MAX
        self.socket.ipv6 = "[" in address
        secure_server(self.socket, curve)
        self._doorman = Doorman(self.context, self.socket, curve, count)
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise BindFailed(_bind_sentence(address, error)) from error
        self.endpoint = cast(bytes, self.socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
        self.fd = cast(int, self.socket.get(zmq.FD))

    def close(self) -> None:
        """Close all but the sockets that others made in the context, which must be closed before."""
        self._doorman.stop()
        self.socket.close()
        self.context.term()


class Speaker:
    """A PUSH socket connected to one peer; it connects in the background, and again whenever the connection breaks.

    But libzmq connects no more once it has seen the peer break the protocol, which a peer does whose encryption is set
    differently: sends then fail for ever, even when the peer has been put right. So a socket that has taken nothing
    for `stuck_ns` is replaced. Where it was only full, what goes with it was stale.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        curve: Curve | None,
        server_key: bytes | None,
        limits: TransportLimits,
    ) -> None:
        self.address = address
        self.public_key = server_key
        self._context = context
        self._curve = curve
        self._limits = limits
        self._stuck_since: int | None = None
        self._socket = self._open()

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Hand a message to ZeroMQ without waiting; False where its queue is full. `zmq.ZMQError` for all else."""
        try:
            if len(frames) == 1:
                self._socket.send(frames[0], NOBLOCK)  # type: ignore[arg-type]
            else:
                _send_parts(self._socket, frames)
        except zmq.Again:
            now = time.monotonic_ns()
            if self._stuck_since is None:
                self._stuck_since = now
            elif now - self._stuck_since >= self._limits.stuck_ns:
                self._socket.close()
                self._socket = self._open()
                self._stuck_since = None
            return False
        self._stuck_since = None
        return True

    def close(self, linger_ns: int = 0) -> None:
        """Drop the connection, and what is still queued after `linger_ns`."""
        self._socket.close(linger=linger_ns // MILLISECOND_NS)

    def _open(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PUSH)
        try:
            _set_up(socket, self._limits)
            socket.sndhwm = self._limits.queue_messages_max
            socket.reconnect_ivl = max(1, self._limits.reconnect_min_ns // MILLISECOND_NS)
            socket.reconnect_ivl_max = max(1, self._limits.reconnect_max_ns // MILLISECOND_NS)
            socket.ipv6 = "[" in self.address
            secure_client(socket, self._curve, self.public_key)
            socket.connect(self.address)
        except BaseException:
            socket.close()
            raise
        return socket


def _send_parts(socket: zmq.Socket[bytes], frames: Sequence[Buffer]) -> None:
    last = len(frames) - 1
    socket.send(cast(bytes, frames[0]), NOBLOCK_MORE)
    for place in range(1, last + 1):
        frame = frames[place]
        size = len(frame) if type(frame) is bytes else memoryview(cast(bytes, frame)).nbytes
        socket.send(cast(bytes, frame), NOBLOCK_MORE if place < last else NOBLOCK, copy=size < NO_COPY_BYTES)


def readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message waits. Asking costs 1.4 us, to receive in vain, with its exception, 5.3."""
    return bool(cast(int, socket.get(zmq.EVENTS)) & POLLIN)


def receive(socket: zmq.Socket[bytes], frames_max: int) -> list[Buffer] | None:
    """The next message, waiting as the socket is set; None for one of more than `frames_max` frames, thrown away."""
    frame = socket.recv(copy=False)
    if not frame.more:
        return [frame.bytes]
    return _receive_rest(socket, frame, frames_max)


def receive_from(socket: zmq.Socket[bytes], frames_max: int) -> tuple[str, list[Buffer] | None]:
    """The same, with the name that belongs to the key which the sender has proved to hold; empty without encryption."""
    frame = socket.recv(copy=False)
    try:
        owner = str(frame.get("User-Id"))
    except zmq.ZMQError:
        owner = ""
    return owner, [frame.bytes] if not frame.more else _receive_rest(socket, frame, frames_max)


def _receive_rest(socket: zmq.Socket[bytes], frame: zmq.Frame, frames_max: int) -> list[Buffer] | None:
    frames: list[Any] = [frame.bytes]
    while frame.more:
        frame = socket.recv(copy=False)
        if len(frames) <= frames_max + 1:  # the header, the frames, and one to show that there were more
            frames.append(frame)
    return frames if len(frames) <= frames_max + 1 else None


def too_large(frames: Sequence[Buffer], limits: TransportLimits) -> bool:
    """Whether a peer with the same limits would refuse these frames, by cutting the connection."""
    bound = limits.frame_bytes_max
    if len(frames) == 1 and type(frames[0]) is bytes:  # nearly all
        return len(frames[0]) > bound
    if len(frames) > limits.frames_max + 1:
        return True
    for frame in frames:
        if (len(frame) if type(frame) is bytes else memoryview(cast(bytes, frame)).nbytes) > bound:
            return True
    return False


def _set_up(socket: zmq.Socket[bytes], limits: TransportLimits) -> None:
    socket.linger = 0
    socket.handshake_ivl = max(1, limits.handshake_timeout_ns // MILLISECOND_NS)
    socket.heartbeat_ivl = max(1, limits.heartbeat_interval_ns // MILLISECOND_NS)
    socket.heartbeat_timeout = max(1, limits.heartbeat_timeout_ns // MILLISECOND_NS)
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = 30
    socket.tcp_keepalive_intvl = 10
    socket.tcp_keepalive_cnt = 3


def _bind_sentence(address: str, error: zmq.ZMQError) -> str:
    hint = {
        errno.EADDRINUSE: "another process listens there: stop it, or choose another port",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.ENODEV: "the host must be an IP address or an interface of this machine",
        errno.EACCES: "not permitted: ports below 1024 are for root",
        errno.EINVAL: "this is not an address: write tcp://HOST:PORT",
    }.get(error.errno or 0, "choose another address")
    return f"cannot listen on {address}: {zmq.strerror(error.errno or 0).lower()}; {hint}"

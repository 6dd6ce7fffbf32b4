"""Shared by both planes: limits, the set-up of sockets, and sending or receiving one message.

The first frame of a message is a small header, the others are arrays (`daemon.wire` arranges that). So the first frame
is copied, which is cheapest for small ones, and the others are not: they are received as `zmq.Frame`, which a
memoryview reads in place, and sent from the caller's memory, which must not change until then.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import zmq

from daemon.transport.backlog import Backlog
from daemon.transport.connections import Room
from daemon.transport.security import Count, Curve, Doorman, Note, secure_client, secure_server
from shoal.lockstep.frames import Buffer

__all__ = [
    "BindFailed",
    "Count",
    "Listener",
    "Speaker",
    "TransportLimits",
    "too_large",
]

# Plain ints: an operation on pyzmq's flags costs half a microsecond.
NOBLOCK = int(zmq.NOBLOCK)
NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
POLLIN = int(zmq.POLLIN)

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000 * MILLISECOND_NS

ENCRYPTION_BYTES_MAX = 64
"""CURVE's overhead per message part (RFC 26: a command name, a nonce and an authenticator: 33 bytes)."""
RECEIVE_MESSAGES_MAX = 64
"""How many messages per connection libzmq reads ahead; the rest waits with the sender, which drops its own. A higher
limit gains nothing: messages of 1 KiB arrive as fast with 64 as with 1000."""
UNASKED_BYTES_MAX = 4096
"""What a sending socket accepts: a handshake. A PUSH never receives, but libzmq keeps what a peer sends to it."""
NO_COPY_BYTES = 64 << 10
"""pyzmq's own threshold: below it, a copy costs less than keeping the sender's buffer alive until it is sent."""


class BindFailed(Exception):
    """An address can't be bound; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Limits on what a peer can make this shard hold, and timeouts that detect dead connections."""

    frame_bytes_max: int = 1 << 30
    frames_max: int = 1024
    queue_messages_max: int = 1000
    queue_bytes_max: int = 256 << 20
    drain_max: int = 256
    peers_max: int = 1024
    speakers_max: int = 1024
    """The most outgoing connections of the control plane; the least recently used one is closed for a new one."""
    connections_max: int = 4096
    """The most incoming connections; `strangers_max` of them before they are admitted."""
    strangers_max: int = 128
    idle_ns: int = 60 * SECOND_NS
    unacknowledged_ns: int = 15 * SECOND_NS
    handshake_timeout_ns: int = 5 * SECOND_NS
    reconnect_min_ns: int = 50 * MILLISECOND_NS
    reconnect_max_ns: int = 200 * MILLISECOND_NS
    stuck_ns: int = 5 * SECOND_NS

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


class Listener:
    """A context with a bound socket and its doorman; a PULL, or a ROUTER where answers go back, as for operators.
    Calls `alarm` on the doorman's thread when `tend` is due. `check` and `connections` are thread-safe, all else is for
    one thread.
    """

    def __init__(
        self,
        address: str,
        curve: Curve | None,
        limits: TransportLimits,
        count: Count,
        alarm: Callable[[], None],
        *,
        port: str,
        kind: int = zmq.PULL,
        note: Note | None = None,
    ) -> None:
        """`port` is its name in the log."""
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        _set_up(self.socket, limits)
        if kind == zmq.ROUTER:
            self.socket.sndhwm = limits.queue_messages_max
            self.socket.router_mandatory = True  # a message that does not fit a queue, or has no recipient, is an error
        self.socket.rcvhwm = messages_max = min(limits.queue_messages_max, RECEIVE_MESSAGES_MAX)
        self.socket.maxmsgsize = limits.frame_bytes_max + ENCRYPTION_BYTES_MAX
        self.socket.ipv6 = "[" in address
        secure_server(self.socket, curve)
        self.backlog = Backlog(limits.queue_bytes_max, messages_max, curve is not None, self._ask)
        self.needs_care = False
        """Whether `tend` is due."""
        self._frames_max, self._curve = limits.frames_max, curve
        self._owners: dict[str, str] = {}  # by key; empty for one that is no longer allowed
        self._last: zmq.Frame | None = None
        self._count, self._alarm = count, alarm
        room = Room(
            limits.connections_max, limits.strangers_max, handshake_ns=limits.handshake_timeout_ns * 9 // 10
        )  # libzmq's own timeout is longer, and reports no name
        self._doorman = Doorman(self.context, self.socket, curve, count, self.backlog, room=room, port=port, note=note)
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise BindFailed(_bind_sentence(address, error)) from error
        self.endpoint = cast(bytes, self.socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
        self.fd = cast(int, self.socket.get(zmq.FD))

    def readable(self) -> bool:
        """Returns whether a message waits. Asking costs 1.4 us; a receive in vain, with its exception, 5.3."""
        if cast(int, self.socket.get(zmq.EVENTS)) & POLLIN:
            return True
        self.backlog.emptied()
        return False

    def receive(self) -> tuple[str, list[Buffer] | None]:
        """Returns the next message, waiting as the socket is set, with the owner of the key that the sender has proved
        to hold (empty without encryption). Returns None for a message that was dropped and counted: one of more than
        `frames_max` frames, or from an owner whose key is no longer allowed.
        """
        try:
            frame = self.socket.recv(copy=False)
        except zmq.Again:
            self.backlog.emptied()
            raise
        owner, reason, self._last = "", "", frame
        try:
            descriptor = frame.get(zmq.SRCFD)
            if self._curve is not None:
                owner = self.owner_of(descriptor, str(frame.get("User-Id")))
                if not owner:
                    reason = "revoked"
        except zmq.ZMQError:  # from this process itself
            descriptor = -1
        header = frame.bytes
        if descriptor >= 0:
            self.backlog.took(descriptor, len(header), is_last=not frame.more)
        frames: list[Any] | None = [header] if not frame.more else self._receive_rest(descriptor, frame, header)
        if frames is None:
            reason = reason or "oversize"
        if not reason:
            return owner, frames
        self._count("dropped", (reason,), 1)
        return owner, None

    def check(self) -> None:
        """Stops trusting connections that were admitted with a key that is no longer allowed."""
        self._owners = {}
        self._doorman.check()

    @property
    def connections(self) -> tuple[int, int]:
        """The number of incoming connections, and how many of them have not been admitted."""
        return len(self._doorman.connections), self._doorman.connections.pending

    @property
    def sender_address(self) -> str:
        """The host that sent the last message, according to the kernel; empty if unknown."""
        try:
            return str(self._last.get("Peer-Address")) if self._last is not None else ""
        except zmq.ZMQError:
            return ""

    def tend(self) -> None:
        """Notes if nothing waits."""
        self.needs_care = False
        self.readable()

    def close(self) -> None:
        """Closes everything except other sockets of the context, which must be closed before."""
        self._doorman.stop()
        self.socket.close()
        self.context.term()
        self._doorman.close()

    def owner_of(self, descriptor: int, key: str) -> str:
        """Returns the current owner of a message's key, or "" if there is none. For callers that receive from `socket`
        themselves.
        """
        assert self._curve is not None
        owners = self._owners
        owner = owners.get(key)
        if owner is None:
            owner = owners[key] = self._curve.owner_of(key.encode()) or ""
        if self._doorman.keys.get(descriptor) != key:
            self._doorman.keys[descriptor] = key
        if not owner:
            self._doorman.check()
        return owner

    def _ask(self) -> None:
        if not self.needs_care:
            self.needs_care = True
            self._alarm()

    def _receive_rest(self, descriptor: int, frame: zmq.Frame, header: bytes) -> list[Buffer] | None:
        frames: list[Any] = [header]
        while frame.more:
            frame = self.socket.recv(copy=False)
            self.backlog.took(descriptor, len(frame), is_last=not frame.more)
            if len(frames) <= self._frames_max + 1:  # the header, the frames, and one that shows that there were more
                frames.append(frame)
        return frames if len(frames) <= self._frames_max + 1 else None


class Speaker:
    """A PUSH socket connected to one peer; it connects in the background, and again whenever the connection breaks.

    But libzmq stops reconnecting once it has seen the peer break the protocol, as a peer with another encryption
    setting does, or once the peer has refused our key: sends then fail for ever, even after the peer is fixed. So a
    socket that has accepted nothing for `stuck_ns` is replaced. If it was only full, the messages lost with it were
    stale. A peer that has `refused` our key should be given up at once.
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
        self._socket, self._events = self._open()

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Passes a message to ZeroMQ without waiting; returns False if its queue is full. Raises `zmq.ZMQError` for any
        other failure.
        """
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
                self.reopen()
            return False
        self._stuck_since = None
        return True

    def reopen(self) -> None:
        """Makes a new connection. Without a descriptor for it, raises `zmq.ZMQError` and keeps the old one."""
        opened = self._open()
        self.close()
        self._socket, self._events = opened
        self._stuck_since = None

    def refused(self) -> bool:
        """Returns whether the peer has refused our key since the last call."""
        seen = False
        while self._events is not None:
            try:
                self._events.recv_multipart(NOBLOCK)
            except zmq.Again:
                break
            seen = True
        return seen

    def close(self, linger_ns: int = 0) -> None:
        """Closes the connection, and drops what is still queued after `linger_ns`."""
        if self._events is not None:
            self._socket.disable_monitor()
            self._events.close()
            self._events = None
        self._socket.close(linger=linger_ns // MILLISECOND_NS)

    def _open(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes] | None]:
        """Opens a socket, and if possible a monitor that reports refusals."""
        if not self.address.startswith("tcp://"):  # gossip may contain anything; files and this process are no peers
            raise zmq.ZMQError(zmq.EPROTONOSUPPORT)
        socket = self._context.socket(zmq.PUSH)
        events: zmq.Socket[bytes] | None = None
        try:
            _set_up(socket, self._limits)
            socket.sndhwm = self._limits.queue_messages_max
            socket.reconnect_ivl = max(1, self._limits.reconnect_min_ns // MILLISECOND_NS)
            socket.reconnect_ivl_max = max(1, self._limits.reconnect_max_ns // MILLISECOND_NS)
            socket.maxmsgsize = UNASKED_BYTES_MAX
            socket.ipv6 = "[" in self.address
            secure_client(socket, self._curve, self.public_key)
            if self._curve is not None:
                events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            socket.connect(self.address)
        except BaseException:
            if events is not None:
                events.close()
            socket.close()
            raise
        return socket, events


def _send_parts(socket: zmq.Socket[bytes], frames: Sequence[Buffer]) -> None:
    last = len(frames) - 1
    socket.send(cast(bytes, frames[0]), NOBLOCK_MORE)
    for place in range(1, last + 1):
        frame = frames[place]
        size = len(frame) if type(frame) is bytes else memoryview(cast(bytes, frame)).nbytes
        socket.send(cast(bytes, frame), NOBLOCK_MORE if place < last else NOBLOCK, copy=size < NO_COPY_BYTES)


def too_large(frames: Sequence[Buffer], limits: TransportLimits) -> bool:
    """Returns whether a peer with the same limits would refuse these frames by cutting the connection."""
    bound = limits.frame_bytes_max
    if len(frames) == 1 and type(frames[0]) is bytes:  # the vast majority
        return len(frames[0]) > bound
    if len(frames) > limits.frames_max + 1:
        return True
    total = 0
    for frame in frames:
        size = len(frame) if type(frame) is bytes else memoryview(cast(bytes, frame)).nbytes
        total += size
        if size > bound:
            return True
    return total > limits.queue_bytes_max


def _set_up(socket: zmq.Socket[bytes], limits: TransportLimits) -> None:
    socket.linger = 0
    socket.handshake_ivl = max(1, limits.handshake_timeout_ns // MILLISECOND_NS)
    # ZeroMQ's own heartbeats are not used: with them libzmq (4.3.5) aborts the process when a connection ends whose
    # queue is full (`Assertion failed: !_io_error`), and any peer can bring that about.
    socket.set(zmq.TCP_MAXRT, max(1, limits.unacknowledged_ns // MILLISECOND_NS))
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

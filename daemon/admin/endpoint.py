"""The operators' endpoint: the admin protocol for operators on other machines.

There is one protocol and one server. This module parses no command: for each operator's connection it creates a pair of
Unix sockets, hands one end to the `AdminServer`, which serves it like any local client, and copies bytes between the
other end and ZeroMQ (`shoal.client.tunnel`). So the server's limits, stalls and cancellation on disconnect apply to
remote clients, too. This costs one more copy of remote traffic; encryption costs several times that.

The CURVE handshake (`daemon.transport.security`) identifies the sender: only operators' keys are admitted, and every
message carries the key of its connection. When a key is removed from the list, its streams end at once (`check`).

All other input is checked: kinds, sizes, order, and the window, which bounds what a stream makes us hold (1 MiB each
way, and the kernel's 200 KiB). A message that breaks a rule is counted and ends its stream. The `Listener` and its
backlog bound what libzmq itself may hold for all streams.

ZeroMQ does not report that a peer has gone. But its monitor has the descriptors of connections that end, and every
message has that of its connection: when that ends, so does the stream. TCP detects a host that vanishes silently:
within 15 s if data is in flight to it, else within a minute (keepalive). There are no ZeroMQ heartbeats, for the reason
given in `daemon.transport.sockets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from daemon.admin.server import AdminServer
from daemon.transport.security import Count, Curve
from daemon.transport.sockets import NOBLOCK, NOBLOCK_MORE, Listener, TransportLimits
from shoal.client import tunnel
from shoal.client.tunnel import BadMessage, Message, Receiving, Sending, header, parsed

log = logging.getLogger("shoal.admin")

DRAIN_MAX: Final = 64
SWEEP_SECONDS: Final = 10.0
FAREWELL_SECONDS: Final = 0.1
"""How long to wait between notifying operators whose key was removed and cutting their connections."""
UNREAD_BYTES_MAX: Final = 1 << 30
"""How much libzmq may hold for all operators before a connection is cut. A client that keeps to its window never gets
near it. But the backlog of clients that have hung up is only estimated, on a busy machine far too high (`Backlog`). An
operator may make the daemon hold as much anyway, by loading a graph.
"""
ROUTING_IDS: Final = 1 << 32
PARTS_MAX: Final = 3
"""The most parts of a message that are kept and checked: one more than any valid message has."""

NameOf = Callable[[bytes], str | None]
"""Returns a key's owner, for the log; None if not (or no longer) allowed. Without encryption the key is empty."""


@dataclass(slots=True, eq=False)
class _Line:
    """A libzmq connection, by its descriptor, and the stream that it carries."""

    peer: bytes | None = None


class OperatorDoor:
    """Listens at `address` for operators and hands each to `server`. Create, use and close it on a running loop."""

    def __init__(
        self,
        address: str,
        server: AdminServer,
        *,
        curve: Curve | None,
        name_of: NameOf,
        count: Count,
        connections_max: int = 64,
        strangers_max: int = 32,
        stall_seconds: float = 60.0,
    ) -> None:
        """The `owner_of` of `curve` knows operators alone."""
        self._server, self._name_of, self._count = server, name_of, count
        self._stall_seconds = stall_seconds
        self._loop = asyncio.get_running_loop()
        self._streams: dict[bytes, _Stream] = {}  # by routing id, which libzmq assigns to each connection
        self._lines: dict[int, _Line] = {}
        self._notes: deque[tuple[int, bool]] = deque()  # from the doorman's thread
        self._closed = False
        self._encrypted = curve is not None
        limits = TransportLimits(
            frame_bytes_max=tunnel.CHUNK,
            queue_messages_max=tunnel.QUEUE_MESSAGES,
            queue_bytes_max=max(UNREAD_BYTES_MAX, 2 * tunnel.WINDOW * connections_max),
            connections_max=connections_max + strangers_max,
            strangers_max=strangers_max,
        )
        self._listener = Listener(
            address, curve, limits, self._counted, self._alarm, port="operators", kind=zmq.ROUTER, note=self._noted
        )
        self._loop.add_reader(self._listener.fd, self._drain)
        self._again: asyncio.Handle | None = self._loop.call_soon(self._drain)
        self._sweeper = self._loop.call_later(min(SWEEP_SECONDS, self._stall_seconds), self._sweep)

    @property
    def endpoint(self) -> str:
        """The listening address."""
        return self._listener.endpoint

    def __len__(self) -> int:
        """The number of connected operators."""
        return len(self._streams)

    @property
    def came(self) -> tuple[int, int]:
        """The number of incoming connections, and how many of them have not been admitted."""
        return self._listener.connections

    def check(self) -> None:
        """Ends the streams of owners that are no longer operators, after the list of keys has changed."""
        for stream in list(self._streams.values()):
            if self._name_of(stream.key) is None:
                log.info("hanging up on %s: the key is no longer an operator's", stream.asker)
                self.end(stream)
        self._loop.call_later(FAREWELL_SECONDS, self._check_connections)

    def _check_connections(self) -> None:
        if not self._closed:
            self._listener.check()

    def close(self) -> None:
        """Ends all streams and stops."""
        if self._closed:
            return
        for stream in list(self._streams.values()):
            self.end(stream)
        self._closed = True
        self._loop.remove_reader(self._listener.fd)
        for timer in (self._again, self._sweeper):
            if timer is not None:
                timer.cancel()
        self._listener.close()

    def _counted(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        """Passes on all counts except ended connections, which are normal for clients."""
        if name != "connection_lost":
            self._count(name, labels, amount)

    # -- the streams' output ---------------------------------------------------------------------------------------

    def send(self, peer: bytes, head: bytes, body: bytes = b"") -> bool:
        """Passes a message to ZeroMQ; returns False if the peer has gone, or its queue has overflowed, which can't
        happen to a peer that keeps the rules.
        """
        sender = self._listener.socket
        try:
            sender.send(peer, NOBLOCK_MORE)
            sender.send(head, NOBLOCK_MORE if body else NOBLOCK)
            if body:
                sender.send(body, NOBLOCK)
        except zmq.ZMQError:
            return False
        finally:
            self._look_again()  # a send also polls, and may have swallowed the edge of an incoming message
        return True

    def end(self, stream: _Stream) -> None:
        """Sends the end of a stream, and forgets it."""
        if self._streams.pop(stream.peer, None) is not None:
            self.send(stream.peer, header(tunnel.END))
            stream.close()

    # -- incoming messages -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Handles waiting messages, at most `DRAIN_MAX` before the loop gets its turn."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for _ in range(DRAIN_MAX):
            if self._closed or not self._listener.readable():
                return
            self._receive()
        self._look_again()

    def _receive(self) -> None:
        """Receives one message, behind the routing id that libzmq adds, which was not on the wire."""
        listener = self._listener
        frame = listener.socket.recv(copy=False)
        peer, descriptor, key = frame.bytes, -1, b""
        with contextlib.suppress(zmq.ZMQError):
            descriptor = int(frame.get(zmq.SRCFD))
            if self._encrypted:
                text = str(frame.get("User-Id"))
                listener.owner_of(descriptor, text)
                key = text.encode()
        parts: list[memoryview] = []
        while frame.more:
            frame = listener.socket.recv(copy=False)
            listener.backlog.took(descriptor, len(frame), is_last=not frame.more)
            if len(parts) < PARTS_MAX:
                parts.append(frame.buffer)
        self._take_notes()  # forget the previous connection of this descriptor before handling this message
        try:
            self._take(peer, descriptor, key, parsed(parts))
        except BadMessage as bad:
            self._count("dropped", ("malformed",), 1)
            stream = self._streams.get(peer)
            if stream is not None:
                log.warning("hanging up on %s: %s", stream.asker, bad)
                self.end(stream)

    def _take(self, peer: bytes, descriptor: int, key: bytes, message: Message) -> None:
        stream = self._streams.get(peer)
        match message.kind, stream:
            case tunnel.OPEN, None:
                self._open(peer, descriptor, key, message.number)
            case tunnel.DATA, _Stream():
                stream.take(message)
            case tunnel.CREDIT, _Stream():
                stream.credited(message.number)
            case ((tunnel.DATA | tunnel.CREDIT), None):
                self._count("dropped", ("late",), 1)  # it was in flight when the stream ended
            case _:
                raise BadMessage("out of order")

    def _open(self, peer: bytes, descriptor: int, key: bytes, version: int) -> None:
        line, asker = self._lines.get(descriptor), self._name_of(key)
        if line is None:
            return  # it has ended since
        if asker is None:  # removed from the list since the handshake
            self.send(peer, header(tunnel.END))
            return
        if version != tunnel.VERSION:
            self.send(peer, header(tunnel.OPEN, tunnel.VERSION))
            return
        if line.peer is not None and (former := self._streams.get(line.peer)) is not None:
            if _came_before(peer, former.peer):
                return  # it has ended, too, and its descriptor already belongs to a newer connection
            self.end(former)
        try:
            plug, client = socket.socketpair()
        except OSError:  # no descriptor left
            self._count("accept_failed", (), 1)
            self.send(peer, header(tunnel.END))
            return
        if not self.send(peer, header(tunnel.OPEN, tunnel.VERSION)):
            plug.close()
            client.close()
            return
        plug.setblocking(False)
        client.setblocking(False)
        line.peer = peer
        self._streams[peer] = _Stream(self, peer, key, asker, plug, self._loop)
        log.debug("%s connected", asker)
        self._server.adopt(client, asker)

    # -- connections that begin and end ----------------------------------------------------------------------------

    def _noted(self, descriptor: int, has_come: bool) -> None:
        """Runs on the doorman's thread."""
        self._notes.append((descriptor, has_come))
        if not has_come:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._take_notes)

    def _take_notes(self) -> None:
        while self._notes:
            descriptor, has_come = self._notes.popleft()
            line = self._lines.pop(descriptor, None)
            if has_come:
                self._lines[descriptor] = _Line()
            if line is not None and line.peer is not None and (stream := self._streams.pop(line.peer, None)):
                log.debug("%s disconnected", stream.asker)
                stream.close()

    # -- maintenance -----------------------------------------------------------------------------------------------

    def _alarm(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tend)

    def _tend(self) -> None:
        if not self._closed and self._listener.needs_care:
            self._listener.tend()
            self._look_again()

    def _look_again(self) -> None:
        if not self._closed and self._again is None:
            self._again = self._loop.call_soon(self._drain)

    def _sweep(self) -> None:
        """Ends streams whose operators have not read their replies for long. The server's own timeout does not see
        beyond the pair's buffer.
        """
        now = self._loop.time()
        for stream in list(self._streams.values()):
            if stream.stuck_since is not None and now - stream.stuck_since > self._stall_seconds:
                log.info("hanging up on %s, which does not read its replies", stream.asker)
                self.end(stream)
        self._sweeper = self._loop.call_later(min(SWEEP_SECONDS, self._stall_seconds), self._sweep)


def _came_before(peer: bytes, other: bytes) -> bool:
    """Compares two routing ids, a zero byte and 32 bits, which libzmq numbers from anywhere on."""
    ahead = int.from_bytes(other[1:]) - int.from_bytes(peer[1:])
    return 0 < ahead % ROUTING_IDS < ROUTING_IDS // 2


class _Stream:
    """One operator's stream: our end of the pair, and the bytes in flight in either direction."""

    def __init__(
        self,
        door: OperatorDoor,
        peer: bytes,
        key: bytes,
        asker: str,
        plug: socket.socket,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.peer, self.key, self.asker = peer, key, asker
        self.stuck_since: float | None = None
        """When the window ran out of room to send, in the loop's seconds."""
        self._door, self._plug, self._loop = door, plug, loop
        self._sending, self._receiving = Sending(), Receiving()
        self._waiting: deque[tuple[memoryview, int]] = deque()  # what the pair did not accept yet, and whole lengths
        self._loop.add_reader(plug, self._say)

    def take(self, message: Message) -> None:
        """Takes bytes for the server. Raises `BadMessage`."""
        self._receiving.took(message)
        self._waiting.append((message.body, len(message.body)))
        if len(self._waiting) == 1:
            self._feed()

    def credited(self, amount: int) -> None:
        """Notes that the operator has consumed so many bytes. Raises `BadMessage`."""
        self._sending.credited(amount)
        if self.stuck_since is not None:
            self.stuck_since = None
            self._loop.add_reader(self._plug, self._say)

    def close(self) -> None:
        """Closes the pair: to the server, the client hangs up. The door has already forgotten the stream."""
        self._loop.remove_reader(self._plug)
        self._loop.remove_writer(self._plug)
        self._waiting.clear()
        self._plug.close()

    def _feed(self) -> None:
        """Passes bytes to the server, as long as it accepts some."""
        while self._waiting:
            body, length = self._waiting[0]
            try:
                sent = self._plug.send(body)
            except BlockingIOError:
                self._loop.add_writer(self._plug, self._feed)
                return
            except OSError:
                # The server no longer reads. Its remaining output is read, and then its end.
                self._waiting.clear()
                break
            if sent < len(body):
                self._waiting[0] = (body[sent:], length)
                continue
            self._waiting.popleft()
            credit = self._receiving.used_up(length)
            if credit is not None and not self._door.send(self.peer, credit):
                self._door.end(self)
                return
        self._loop.remove_writer(self._plug)

    def _say(self) -> None:
        """Sends the server's bytes, one piece per turn, as far as the window has room."""
        room = self._sending.room
        if not room:
            self.stuck_since = self._loop.time()
            self._loop.remove_reader(self._plug)
            return
        try:
            data = self._plug.recv(room)
        except BlockingIOError:
            return
        except OSError:  # it closed with unread bytes of ours
            data = b""
        if not data or not self._door.send(self.peer, self._sending.sent(len(data)), data):
            self._door.end(self)

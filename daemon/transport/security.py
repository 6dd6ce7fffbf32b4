"""Encryption of sockets, and the doorman, which decides about connections.

CURVE (CurveZMQ, ZeroMQ RFC 26): the bound side is the server and proves its own key; the connecting side is the client,
knows the server's public key beforehand and shows its own, which the server's process accepts or refuses by ZAP
(RFC 27).

libzmq asks by ZAP over an inproc socket of the context and waits for the answer, and reports events of connections over
another (a socket monitor). The `Doorman` is one thread per context that answers the one and listens to the other.
pyzmq has a `ThreadAuthenticator` for the first half: an asyncio loop in a thread; as the second half needs a thread
anyway, and a ZAP handler for one rule is ten lines, one thread with a blocking poll does both.

The doorman also cuts connections that it has no room for: strangers that send more than a handshake, do not complete it
or are too many (`daemon.transport.connections`), members that send more than the reader reads (`backlog`), and
connections whose key is no longer allowed. Its actions are counted by reason, and logged (`daemon.transport.refusals`).

Without a descriptor for a waiting connection, libzmq retries at once and for ever: a core is busy with 100,000 failures
a second. So the doorman accepts and closes the waiting connections, with a descriptor kept for this, and the kernel
drops new ones for a while (`kernel.ListeningSocket`). The address stays bound meanwhile: binding it anew would need a
descriptor, without which libzmq ends the process.

ZAP is also used without keys, to admit every plain-text connection: libzmq then refuses peers that speak the
unversioned first protocol, for whose greeting it would take any random bytes.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import zmq
from zmq.utils import z85

from daemon.config.keys import KeyPair
from daemon.transport.backlog import LOOK_MS, Backlog
from daemon.transport.connections import Connection, Connections, Room
from daemon.transport.kernel import ListeningSocket, hang_up, peer_of, traffic_of
from daemon.transport.refusals import Refusals

log = logging.getLogger("shoal.transport")

Count = Callable[[str, tuple[str, ...], int], None]
"""Called with a name, label values and an amount, from any thread."""
Note = Callable[[int, bool], None]
"""Called with a descriptor and whether a connection has begun or ended there, on the doorman's thread."""

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"shoal"
ZAP_VERSION = b"1.0"
MONITOR_ENDPOINT = "inproc://shoal.monitor"
BATCH_MAX = 1000
STOP_SECONDS = 5.0
STRANGERS_LOOK_MS = 10
"""While strangers wait: a connection that floods before its handshake lasts so long."""
REST_NS = 1_000_000_000
"""How long nobody can connect after no descriptor was left for a connection."""
WAITING_MAX = 4096
GONE = ("gone at once", 0)
"""Used instead of an address for a connection that has ended before it was looked up."""

EVENT = struct.Struct("=Hi")
PROTOCOL_ERRORS = {0x11000001: "cryptographic", 0x11000002: "mechanism"}  # ZMQ_PROTOCOL_ERROR_ZMTP_... of zmq.h
WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_ACCEPT_FAILED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_LISTENING
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Encryption: our own keys, and `owner_of`, which returns the owner of an allowed public key (Z85)."""

    keys: KeyPair
    owner_of: Callable[[bytes], str | None]


def secure_server(socket: zmq.Socket[bytes], curve: Curve | None) -> None:
    """Secures a socket before it is bound."""
    socket.zap_domain = ZAP_DOMAIN
    if curve is not None:
        socket.curve_secretkey = curve.keys.secret
        socket.curve_publickey = curve.keys.public
        socket.curve_server = True


def secure_client(socket: zmq.Socket[bytes], curve: Curve | None, server_key: bytes | None) -> None:
    """Secures a socket before it is connected."""
    if curve is not None:
        assert server_key is not None
        socket.curve_secretkey = curve.keys.secret
        socket.curve_publickey = curve.keys.public
        socket.curve_serverkey = server_key


class Doorman:
    """The thread that admits connections, or counts why not; for one context and one bound socket in it.

    Create it before the socket is bound; from then on it watches the socket. `stop` it before the socket is closed, and
    `close` it once the context has ended.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        curve: Curve | None,
        count: Count,
        backlog: Backlog,
        *,
        room: Room,
        port: str,
        note: Note | None = None,
    ) -> None:
        """`port` is this one's name in the log.

        `note` is called before a connection's handshake completes, and in order.
        """
        self.keys: dict[int, str] = {}
        """By descriptor, the keys that came with messages; only the reader writes it."""
        self.connections = Connections(room, curve is not None)
        self._backlog, self._note = backlog, note
        self._curve = curve
        self._count = count
        self._socket = socket
        self._refusals = Refusals(port)
        self._owners: dict[str, str] = {}  # of the admitted keys
        self._recheck = False
        self._listening: ListeningSocket | None = None
        self._spare = _spare()
        self._paused_until: int | None = None
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(ZAP_ENDPOINT)
        socket.monitor(MONITOR_ENDPOINT, WATCHED)
        self._events = context.socket(zmq.PAIR)
        self._events.linger = 0
        self._events.connect(MONITOR_ENDPOINT)
        self._look_at = self._strangers_at = 0
        self._wake, self._over = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), False
        self._thread = threading.Thread(target=self._run, name="shoal-doorman", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Cuts connections whose keys are no longer allowed. Thread-safe."""
        if not self._recheck:
            self._recheck = True
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Ends the thread and closes its sockets. Call it once."""
        self._socket.disable_monitor()
        self._over = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            os.close(self._wake)
        if self._spare is not None:
            os.close(self._spare)

    def close(self) -> None:
        """Releases the address."""
        if self._listening is not None:
            self._listening.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        for source in (self._zap, self._events, self._wake):
            poller.register(source, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll(self._patience_ms()))
                if self._over:
                    return
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if self._events in ready:  # first, so that a connection is known before its first message is let in
                    self._watch()
                self._look(time.monotonic_ns())
                if self._zap in ready:
                    self._zap.send_multipart(self._answer(self._zap.recv_multipart()))
        finally:
            self._zap.close()
            self._events.close()

    def _patience_ms(self) -> int | None:
        if self.connections.pending:
            return STRANGERS_LOOK_MS
        if self._backlog.watches:
            return LOOK_MS
        due = [at for at in (self._refusals.deadline, self._paused_until) if at is not None]
        return max(1, (min(due) - time.monotonic_ns()) // 1_000_000 + 1) if due else None

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """Answers a ZAP request (RFC 27: version, request id, domain, address, identity, mechanism and credentials).
        libzmq sends it, so it is well formed. The connection is then identified by its key, as text.
        """
        request_id, address, mechanism, credentials = request[1], request[3], request[5], request[6:]
        source = address.decode("ascii", "replace")
        if self._backlog.full:
            self._refused("full", source)
            return [ZAP_VERSION, request_id, b"300", b"Later", b"", b""]
        key, owner = b"", None
        if self._curve is None:
            owner = "" if mechanism == b"NULL" else None
        elif mechanism == b"CURVE":
            key = z85.encode(credentials[0])
            owner = self._curve.owner_of(key)
        if owner is not None:
            self._owners[key.decode()] = owner
            return [ZAP_VERSION, request_id, b"200", b"OK", key, b""]
        self._refused("key", source)
        return [ZAP_VERSION, request_id, b"400", b"Not allowed", b"", b""]

    def _refused(self, reason: str, source: str, amount: int = 1) -> None:
        self._count("handshakes_failed", (reason,), amount)
        self._refusals.note(reason, source, time.monotonic_ns(), amount)

    # -- events ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Handles libzmq's events. At the descriptor limit it reports 100,000 failures a second."""
        without_descriptor = 0
        for _ in range(BATCH_MAX):
            try:
                message = self._events.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            event, value = EVENT.unpack(message[0])
            match event:
                case zmq.EVENT_LISTENING:
                    with suppress(OSError):
                        self._listening = ListeningSocket(value)
                case zmq.EVENT_ACCEPTED:
                    self._accepted(value)
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.connections.finished()
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    self.connections.failed("key")
                case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                    self.connections.failed("broken")
                case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                    self.connections.failed(PROTOCOL_ERRORS.get(value, "protocol"))
                case zmq.EVENT_ACCEPT_FAILED:
                    without_descriptor += value != errno.EAGAIN  # otherwise the client has just hung up
                case zmq.EVENT_DISCONNECTED:
                    self._ended(value)
        if without_descriptor:
            self._count("accept_failed", (), without_descriptor)
            self._without_descriptors(without_descriptor)

    def _accepted(self, descriptor: int) -> None:
        self.keys.pop(descriptor, None)
        self.connections.accepted(descriptor, peer_of(descriptor) or GONE, time.monotonic_ns())
        self._backlog.accepted(descriptor)
        if self._note is not None:
            self._note(descriptor, True)

    def _ended(self, descriptor: int) -> None:
        if self.connections.unplaced:
            self._measure(self.connections.strangers())
        end = self.connections.ended(descriptor)
        if end.connection is not None:
            self._backlog.ended(end.connection, end.was_let_in)
        if end.was_let_in:
            self._count("connection_lost", (), 1)
        elif end.reason and end.reason != "key":  # a refused key was counted where it was decided
            self._refused(end.reason, end.connection.source if end.connection is not None else "unknown")
        if self._note is not None:
            self._note(descriptor, False)

    def _without_descriptors(self, failures: int) -> None:
        """Cuts all connections waiting to be accepted, and accepts none for a while."""
        self._refusals.note("descriptors", "all", time.monotonic_ns(), failures)
        if self._listening is None:
            return
        if self._paused_until is None:
            self._count("listening_stopped", (), 1)
        with suppress(OSError):
            self._listening.pause()
        self._paused_until = time.monotonic_ns() + REST_NS
        if self._spare is not None:
            os.close(self._spare)
        self._listening.shed(WAITING_MAX)
        self._spare = _spare()

    # -- admitted and waiting connections --------------------------------------------------------------------------

    def _look(self, now: int) -> None:
        if self._recheck:
            self._recheck = False
            self._check_keys()
        if self._paused_until is not None and now >= self._paused_until and self._listening is not None:
            self._listening.resume()
            self._paused_until = None
        if self.connections.crowded or (self.connections.pending and now >= self._strangers_at):
            self._measure(self.connections.strangers())
            for connection, reason in self.connections.unwelcome(now):
                self._cut(connection, reason)
            self._strangers_at = time.monotonic_ns() + STRANGERS_LOOK_MS * 1_000_000
        if now >= self._look_at and self._backlog.watches:
            self._measure([one for one in self.connections if one.let_in])
            flooding = self._backlog.look(self.connections, now)
            if flooding is not None and self._cut(flooding, "flood"):
                self._count("dropped", ("flood",), 1)
            for connection, reason in self.connections.crowding(self.keys):
                self._cut(connection, reason)
            self._look_at = time.monotonic_ns() + LOOK_MS * 1_000_000
        if (said := self._refusals.due(now)) is not None:
            log.warning("%s", said)

    def _measure(self, connections: list[Connection]) -> None:
        for one in connections:
            traffic = traffic_of(one.descriptor)
            if traffic is not None:
                self.connections.measured(one, traffic.received, traffic.sent)

    def _cut(self, connection: Connection, reason: str) -> bool:
        """Cuts a connection. libzmq reports its end like any other; it is not counted twice."""
        if connection.cut or not hang_up(connection.descriptor, connection.peer):
            return False
        self.connections.cut(connection, reason)
        who = self._owners.get(self.keys.get(connection.descriptor, ""), "")
        source = f"{who} at {connection.source}" if who else connection.source
        self._refusals.note(reason, source, time.monotonic_ns())
        if reason != "flood":
            self._count("handshakes_failed" if not connection.let_in else "connections_cut", (reason,), 1)
        return True

    def _check_keys(self) -> None:
        """Cuts every connection whose key has lost its owner or has another one, and every connection that has not sent
        anything, since it may be one of them: it reconnects if it is allowed.
        """
        curve = self._curve
        if curve is None:
            return
        self._measure(self.connections.strangers())
        before = len(self._owners)
        self._owners = {key: owner for key, owner in self._owners.items() if curve.owner_of(key.encode()) == owner}
        changed = len(self._owners) < before
        for connection in self.connections:
            key = self.keys.get(connection.descriptor)
            if changed if key is None else key not in self._owners:
                self._cut(connection, "revoked")


def _spare() -> int | None:
    """Opens a descriptor that is given up when no other is left."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None

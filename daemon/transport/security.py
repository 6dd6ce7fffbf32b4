"""Encryption of sockets, and the doorman who decides about connections.

CURVE (CurveZMQ, ZeroMQ RFC 26): the bound side is the server and proves its own key; the connecting side is the client,
knows the server's public key beforehand and shows its own, on which the server's process decides by ZAP (RFC 27).

libzmq asks by ZAP over an inproc socket of the context and waits for the answer, and reports failed handshakes over
another (a socket monitor). The `Doorman` is one thread a context that answers the one and counts the other. pyzmq has a
`ThreadAuthenticator` for the first half: an asyncio loop in a thread; as the second half needs a thread anyway, and a
ZAP handler for one rule is ten lines, one thread with a blocking poll does both.

Without keys ZAP is on all the same, and lets every plain-text connection in: libzmq then refuses peers that speak the
unversioned first protocol, whose greeting any random bytes are.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils import z85

from daemon.keys import KeyPair
from daemon.transport.backlog import LOOK_MS, Backlog

Count = Callable[[str, tuple[str, ...], int], None]
"""Called with a name, label values and an amount; from any thread."""
Note = Callable[[int, bool], None]
"""Called with a descriptor, on the doorman's thread: whether a connection has come there, or gone."""

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"shoal"
ZAP_VERSION = b"1.0"
MONITOR_ENDPOINT = "inproc://shoal.monitor"
BATCH_MAX = 1000
STOP_SECONDS = 5.0

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
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Encryption: our own keys, and whose we take: `owner_of` names the owner of a public key (Z85) that is allowed."""

    keys: KeyPair
    owner_of: Callable[[bytes], str | None]


def secure_server(socket: zmq.Socket[bytes], curve: Curve | None) -> None:
    """Before bind."""
    socket.zap_domain = ZAP_DOMAIN
    if curve is not None:
        socket.curve_secretkey = curve.keys.secret
        socket.curve_publickey = curve.keys.public
        socket.curve_server = True


def secure_client(socket: zmq.Socket[bytes], curve: Curve | None, server_key: bytes | None) -> None:
    """Before connect."""
    if curve is not None:
        assert server_key is not None
        socket.curve_secretkey = curve.keys.secret
        socket.curve_publickey = curve.keys.public
        socket.curve_serverkey = server_key


class Doorman:
    """The thread that lets connections in, or counts why not; for one context and one bound socket in it.

    To be made before the socket is bound; from then on the socket is watched. `stop` before the socket is closed.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        curve: Curve | None,
        count: Count,
        backlog: Backlog,
        no_descriptor: Callable[[], None],
        note: Note | None = None,
    ) -> None:
        """`no_descriptor` is called, on the thread, when connections come and none is left.

        What `note` is told of a connection it is told before its handshake is over, and in order.
        """
        self._backlog, self._no_descriptor, self._note = backlog, no_descriptor, note
        self._curve = curve
        self._count = count
        self._socket = socket
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(ZAP_ENDPOINT)
        socket.monitor(MONITOR_ENDPOINT, WATCHED)
        self._events = context.socket(zmq.PAIR)
        self._events.linger = 0
        self._events.connect(MONITOR_ENDPOINT)
        self._connections = Connections()
        self._look_at = 0.0
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="shoal-doorman", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its sockets; once."""
        self._socket.disable_monitor()
        os.eventfd_write(self._stop, 1)
        self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            os.close(self._stop)

    def _run(self) -> None:
        poller = zmq.Poller()
        for source in (self._zap, self._events, self._stop):
            poller.register(source, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll(LOOK_MS if self._backlog.watches else None))
                if self._stop in ready:
                    return
                if self._events in ready:  # first: a connection is known before its first message is let in
                    self._watch()
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + LOOK_MS / 1000
                    self._backlog.look()
                if self._zap in ready:
                    self._zap.send_multipart(self._answer(self._zap.recv_multipart()))
        finally:
            self._zap.close()
            self._events.close()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """RFC 27: version, request id, domain, address, identity, mechanism and credentials come; libzmq sends them, so
        they are well formed."""
        request_id, mechanism, credentials = request[1], request[5], request[6:]
        owner: str | None = None
        if self._backlog.full:
            self._count("handshakes_failed", ("full",), 1)
            return [ZAP_VERSION, request_id, b"300", b"Later", b"", b""]
        if self._curve is None:
            owner = "" if mechanism == b"NULL" else None
        elif mechanism == b"CURVE":
            owner = self._curve.owner_of(z85.encode(credentials[0]))
        if owner is not None:
            return [ZAP_VERSION, request_id, b"200", b"OK", owner.encode(), b""]
        self._count("handshakes_failed", ("key",), 1)
        return [ZAP_VERSION, request_id, b"400", b"Not allowed", b"", b""]

    def _watch(self) -> None:
        """Count what has happened, added up: at the descriptor limit libzmq reports 100,000 failures a second."""
        counted: dict[tuple[str, tuple[str, ...]], int] = {}
        for _ in range(BATCH_MAX):
            try:
                message = self._events.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            event, value = EVENT.unpack(message[0])
            if event == zmq.EVENT_ACCEPTED:
                self._backlog.accepted(value)
            elif event == zmq.EVENT_DISCONNECTED:
                self._backlog.ended(value, not self._connections.pending(value))
            if self._note is not None and event in (zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED):
                self._note(value, event == zmq.EVENT_ACCEPTED)
            what = self._connections.step(event, value)
            if what is not None:
                counted[what] = counted.get(what, 0) + 1
        for (name, labels), amount in counted.items():
            self._count(name, labels, amount)
        if ("accept_failed", ()) in counted:
            self._no_descriptor()


class Connections:
    """What the monitor's events mean.

    libzmq reports a refused first greeting (anything that is not ZeroMQ's, versioned) by no event of its own: it looks
    like a connection that is accepted and ends. So the ones that have not finished their handshake are remembered, by
    descriptor. The event of a finished handshake names none; it is taken to be that of the newest, as what does not
    finish soon mostly never does. Where two shake hands at once that may credit the wrong one: then `connection_lost`
    and `handshakes_failed` swap one count each, and their sum is right.
    A failed handshake's event is followed by the end of the same connection.
    """

    def __init__(self) -> None:
        self._pending: dict[int, None] = {}
        self._failed = False

    def pending(self, descriptor: int) -> bool:
        """Whether a connection has not been let in, as far as that is known."""
        return descriptor in self._pending

    def step(self, event: int, value: int) -> tuple[str, tuple[str, ...]] | None:
        """Take an event; the counter to raise, if any."""
        match event:
            case zmq.EVENT_ACCEPTED:
                self._pending[value] = None
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                if self._pending:
                    self._pending.popitem()
            case zmq.EVENT_DISCONNECTED:
                failed, self._failed = self._failed, False
                if value in self._pending:
                    del self._pending[value]
                    return None if failed else ("handshakes_failed", ("protocol",))
                return None if failed else ("connection_lost", ())
            case zmq.EVENT_ACCEPT_FAILED:
                return "accept_failed", ()
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._failed = True  # counted where it was decided
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._failed = True
                return "handshakes_failed", ("broken",)
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._failed = True
                return "handshakes_failed", (PROTOCOL_ERRORS.get(value, "protocol"),)
        return None

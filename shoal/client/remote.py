"""A daemon on another machine: a socket for `admin_protocol`, over ZeroMQ with an operator's key.

    carol@here$  shoalctl --connect alpha@tcp://10.0.0.1:7103 --key carol.secret_key --known-keys allowed_keys status

Both ends authenticate (CURVE) before the client sends a byte: the daemon checks that the key is an operator's, and the
client that the daemon has the expected member's key. That key comes from a list such as the cluster's `allowed_keys`,
or is given directly. Without keys there is no encryption, and only addresses of this machine are accepted.

Calls block, and there is no thread: libzmq's own threads answer while a script computes, and the daemon learns from TCP
that the client is gone. The client likewise detects a machine that vanished silently: within 15 s if any data is in
transit to it, else within a minute. `shoal.client.tunnel` describes how the bytes travel.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import re
import struct
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

from shoal.api.errors import Unreachable, Usage
from shoal.client import tunnel
from shoal.client.key_files import KeyPair, is_key, load_pair, member_key
from shoal.client.tunnel import Receiving, Sending, header, parsed
from shoal.client.watched_sockets import WatchedSockets

ADDRESS: Final = re.compile(
    r"(?:([A-Za-z0-9][A-Za-z0-9._-]{0,62})@)?(tcp://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):\d{1,5})"
)
HANDSHAKE_SECONDS: Final = 10.0
UNACKNOWLEDGED_MS: Final = 15_000
EVENT: Final = struct.Struct("=Hi")
REFUSED_KEY: Final = 400


class BadAddress(Usage):
    """Raised for an address that can't be used as given; says what is missing."""


class NoConnection(Unreachable):
    """Raised if no connection was possible; the text is a hint about why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A daemon's operators' endpoint, and the keys for it; None if nothing is encrypted."""

    url: str
    server: str
    keys: tuple[KeyPair, bytes] | None


def target_of(
    address: str,
    key: str | os.PathLike[str] | None = None,
    server_key: str | None = None,
    known_keys: str | os.PathLike[str] | None = None,
) -> Target:
    """Parses and checks ``[NAME@]tcp://HOST:PORT`` and keys. Raises `BadAddress`, and `BadKeyFile` for a file."""
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise BadAddress(f"{address!r} should be NAME@tcp://HOST:PORT, such as alpha@tcp://10.0.0.1:7103")
    name, url, host = match[1] or "", match[2], match[3] or match[4]
    if key is None:
        if server_key is not None or known_keys is not None:
            raise BadAddress(f"{address}: your own key is missing: give its file with --key")
        if not _is_loopback(host):
            raise BadAddress(
                f"{address} needs an operator's key: give its file with --key "
                "(`shoalctl keygen --operator` makes one); commands are never sent in plain text"
            )
        return Target(url, name, None)
    pair = load_pair(Path(key).expanduser())
    if server_key is not None:
        if not is_key(server_key):
            raise BadAddress("the server's key should be 40 characters of Z85, as in its line of allowed_keys")
        return Target(url, name, (pair, server_key.encode()))
    if known_keys is None or not name:
        raise BadAddress(
            f"{address}: the server's key is unknown: write NAME@{url} and give a list with that name by --known-keys "
            "(the cluster's allowed_keys), or give the key itself with --server-key"
        )
    return Target(url, name, (pair, member_key(Path(known_keys).expanduser(), name)))


class RemoteSocket:
    """The part of a blocking stream socket that `AdminConnection` uses. For one thread, except `hang_up`."""

    def __init__(self, target: Target, timeout: float | None) -> None:
        """Raises `NoConnection`."""
        self._target, self._timeout = target, timeout
        self._sending, self._receiving = Sending(), Receiving()
        self._waiting: deque[memoryview] = deque()  # received, but not read yet: at most a window
        self._position = 0  # in the first of these
        self._is_open = self._is_over = False
        self._broken: str | None = None
        """Why there is no connection any more, once that is so."""
        self._sockets = WatchedSockets.here()
        self._watched = self._sockets.open(self, zmq.DEALER)
        self._socket, self._events = self._watched.socket, self._watched.events
        self._poller = zmq.Poller()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def gettimeout(self) -> float | None:
        """Returns how long the other side may be silent, in seconds."""
        return self._timeout

    def sendall(self, data: memoryview) -> None:
        """Sends, waiting for room. Raises `BrokenPipeError` if the other side hung up, `TimeoutError` if silent."""
        data = memoryview(data).cast("B")
        while len(data):
            if self._is_over or self._broken is not None:
                raise BrokenPipeError(self._broken or "hung up")
            room = self._sending.room
            if not room:
                self._wait(self._timeout)
                continue
            self._post(self._sending.sent(min(room, len(data))), data[:room])
            data = data[room:]

    def recv_into(self, buffer: memoryview) -> int:
        """Fills part of the buffer; returns 0 once the other side hung up. Raises `ConnectionResetError`."""
        while not self._waiting:
            if self._is_over:
                return 0
            if self._broken is not None:
                raise ConnectionResetError(104, self._broken)
            self._wait(self._timeout)
        body = self._waiting[0]
        count = min(len(buffer), len(body) - self._position)
        buffer[:count] = body[self._position : self._position + count]
        self._position += count
        if self._position == len(body):
            self._waiting.popleft()
            self._position = 0
            credit = self._receiving.used_up(len(body))
            if credit is not None:
                self._post(credit)
        return count

    def is_quiet(self) -> bool:
        """Whether both ends are open and nothing has arrived."""
        with contextlib.suppress(TimeoutError):
            while not (self._waiting or self._is_over or self._broken):
                self._wait(0)
        return not (self._waiting or self._is_over or self._broken)

    def hang_up(self) -> None:
        """Ends another thread's wait here. It must not touch a libzmq socket for that."""
        bell = self._bell
        if bell >= 0:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                os.eventfd_write(bell, 1)

    def close(self) -> None:
        """Hangs up."""
        bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)
        self._sockets.close(self._watched)

    def _begin(self) -> None:
        ours, watch = self._socket, self._events
        ours.reconnect_ivl = -1
        ours.handshake_ivl = int(HANDSHAKE_SECONDS * 1000)
        ours.rcvhwm = ours.sndhwm = tunnel.QUEUE_MESSAGES
        ours.maxmsgsize = tunnel.CHUNK + tunnel.MESSAGE_COST
        ours.ipv6 = "[" in self._target.url
        ours.tcp_maxrt = UNACKNOWLEDGED_MS
        ours.tcp_keepalive, ours.tcp_keepalive_idle, ours.tcp_keepalive_intvl, ours.tcp_keepalive_cnt = 1, 30, 10, 3
        if self._target.keys is not None:
            pair, server = self._target.keys
            ours.curve_secretkey, ours.curve_publickey, ours.curve_serverkey = pair.secret, pair.public, server
        self._poller.register(ours, zmq.POLLIN)
        self._poller.register(watch, zmq.POLLIN)
        self._poller.register(self._bell, zmq.POLLIN)
        try:
            ours.connect(self._target.url)
        except zmq.ZMQError as error:
            raise NoConnection(str(error).lower()) from error
        self._post(header(tunnel.OPEN, tunnel.VERSION))
        patience = HANDSHAKE_SECONDS if self._timeout is None else min(self._timeout, HANDSHAKE_SECONDS)
        until = time.monotonic() + patience
        while not self._is_open:
            try:
                self._wait(max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise NoConnection(f"no answer within {patience:g} seconds") from None
            self._refuse_if_over()

    def _refuse_if_over(self) -> None:
        if self._broken is not None or self._is_over:
            raise NoConnection(self._broken or "it no longer accepts this key")

    def _post(self, head: bytes, body: memoryview | None = None) -> None:
        """Queues a message. This fails silently if the connection is gone; an event tells why (see `_note`)."""
        with contextlib.suppress(zmq.Again):
            if body is None:
                self._socket.send(head, zmq.NOBLOCK)
            else:
                self._socket.send(head, zmq.NOBLOCK | zmq.SNDMORE)
                self._socket.send(body, zmq.NOBLOCK)

    def _wait(self, seconds: float | None) -> None:
        """Waits until something arrives, and handles it. Raises `TimeoutError`."""
        ready = dict(self._poller.poll(None if seconds is None else math.ceil(seconds * 1000)))
        if not ready:
            raise TimeoutError
        if self._bell in ready:
            self._broken = "the connection was closed here"
            return
        if self._socket in ready:
            self._hear()
        elif self._events in ready:
            self._note()

    def _hear(self) -> None:
        """Receives one message, which must be there."""
        try:
            message = parsed([frame.buffer for frame in self._socket.recv_multipart(copy=False)])
            if message.kind == tunnel.OPEN and not self._is_open:
                if message.number != tunnel.VERSION:
                    raise NoConnection("it is of another version: use the shoalctl of that machine's version")
                self._is_open = True
            elif message.kind == tunnel.DATA and self._is_open and not self._is_over:
                self._receiving.took(message)
                self._waiting.append(message.body)
            elif message.kind == tunnel.CREDIT and self._is_open:
                self._sending.credited(message.number)
            elif message.kind == tunnel.END:
                self._is_over = True
            else:
                raise tunnel.BadMessage("out of order")
        except tunnel.BadMessage as bad:
            self._broken = f"it violates the protocol: {bad}"

    def _note(self) -> None:
        """Handles libzmq's event about the connection. First reads what arrived before it broke."""
        event, value = EVENT.unpack(self._events.recv_multipart()[0])
        hint = self._hint(event, value)
        if hint is None:
            return
        while self._socket.poll(0):
            self._hear()
        self._broken = self._broken or hint

    def _hint(self, event: int, value: int) -> str | None:
        """Returns why there is no connection, if the event means that."""
        match event:
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH if value == REFUSED_KEY and self._target.keys is not None:
                pair = self._target.keys[0]
                return (
                    f"it does not accept '{pair.name}' as an operator: its allowed_keys should have the line "
                    f"`{pair.name} {pair.public.decode()} operator` (and be reloaded: systemctl reload shoald), and "
                    "the port be that of its admin.listen"
                )
            case (
                zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            ):
                # It depends on which side hangs up first.
                if self._target.keys is None:
                    return "it needs an operator's key (--key), or is not an operators' endpoint"
                return (
                    f"it does not prove to be '{self._target.server or 'the server'}': its key is another than "
                    "expected, it is not an operators' endpoint, or is full at the moment"
                )
            case zmq.EVENT_CLOSED:
                return "no daemon listens there: is it running, with admin.listen set?"
            case zmq.EVENT_DISCONNECTED:
                return "the daemon or the network has failed"
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

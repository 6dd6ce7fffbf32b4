"""The tick plane's transport: blocking, owned by the thread that runs the ticks.

An empty tick is nothing but a few exchanges with every peer. So receiving is one blocking call, straight into libzmq:
no event loop, no hand-over between threads, no descriptor polled beside the socket. That would need a receive in vain
before each wait, which costs 5.3 us with its exception, where one that finds a message costs 0.6. What this saves of a
whole tick could not be told apart from the noise of a shared machine; see `bench.floor`.

Other threads can only `wake` the waiting one, by a message over inproc to the same socket, which holds random bytes
drawn when the transport was made: no peer can send it.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Sequence

import zmq

from daemon.transport.security import Count, Curve
from daemon.transport.sockets import (
    MILLISECOND_NS,
    Listener,
    Speaker,
    TransportLimits,
    too_large,
)
from shoal.lockstep.frames import Buffer

WAKE_ENDPOINT = "inproc://shoal.wake"
TIMEOUT_MS_MAX = 2**31 - 1


class TickTransport:
    """Listens at `address`; sends to connected peers. All but `wake`, `check` and `came` is for one thread."""

    def __init__(
        self, address: str, *, curve: Curve | None, count: Count, limits: TransportLimits | None = None
    ) -> None:
        self._limits = limits or TransportLimits()
        self._curve = curve
        self.owner: str | None = None
        """The owner of the key of `poll`'s last message; None without encryption, where it is unknown."""
        self._count = count
        self._wake_lock = threading.Lock()  # held for `_waking`, `_waker` and its use
        self._waking = False
        self._waker: zmq.Socket[bytes] | None = None
        self._listener = Listener(address, curve, self._limits, count, self.wake, port="ticks")
        self._socket = self._listener.socket
        self._peers: dict[str, Speaker] = {}
        self._timeout_ms = -1
        self._wake_token = secrets.token_bytes(16)
        waker = self._listener.context.socket(zmq.PUSH)
        waker.linger = 0
        self._socket.bind(WAKE_ENDPOINT)
        waker.connect(WAKE_ENDPOINT)
        with self._wake_lock:
            self._waker = waker

    @property
    def endpoint(self) -> str:
        """The listening address, with the actual port if the configured one is 0."""
        return self._listener.endpoint

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the connected peers."""
        return tuple(self._peers)

    @property
    def came(self) -> tuple[int, int]:
        """The number of incoming connections, and how many of them have not been admitted. Thread-safe."""
        return self._listener.connections

    def connect(self, peer: str, address: str, public_key: bytes | None = None) -> bool:
        """Connects to `peer` at `address`; returns False, and counts it, if that is impossible.

        Messages sent before the connection is established are queued. Repeating a call changes nothing; another address
        or key replaces the connection, and messages queued for the old one are lost.
        """
        known = self._peers.get(peer)
        if known is not None and known.address == address and known.public_key == public_key:
            return True
        self.disconnect(peer)
        if self._curve is not None and public_key is None:
            return self._drop("no_key")
        if len(self._peers) >= self._limits.peers_max:
            return self._drop("too_many_peers")
        try:
            self._peers[peer] = Speaker(self._listener.context, address, self._curve, public_key, self._limits)
        except zmq.ZMQError:  # an invalid address or key, or no descriptor left
            return self._drop("failed")
        return True

    def connect_again(self) -> None:
        """Reconnects to peers that have refused our key, since they may have learned it by now. Call it about once a
        second.
        """
        for speaker in self._peers.values():
            if speaker.refused():
                self._count("refused_by_peer", (), 1)
                with contextlib.suppress(zmq.ZMQError):  # the old one stays, and is replaced once it is stuck
                    speaker.reopen()

    def disconnect(self, peer: str) -> None:
        """Disconnects from `peer`; messages still queued for it are lost."""
        known = self._peers.pop(peer, None)
        if known is not None:
            known.close()

    def send(self, peer: str, frames: Sequence[Buffer]) -> bool:
        """Queues a message without waiting; returns False if it was dropped.

        True is no promise: a message is lost with its connection. Frames of 64 KiB and more, except the first, are sent
        from the caller's memory, which must not change until the message has left.
        """
        known = self._peers.get(peer)
        if known is None:
            return self._drop("not_connected")
        if too_large(frames, self._limits):
            return self._drop("oversize")
        try:
            return known.send(frames) or self._drop("queue_full")
        except zmq.ZMQError:
            return self._drop("failed")

    def poll(self, timeout_ns: int) -> list[list[Buffer]]:
        """Returns the next message in a list, or an empty list if none comes in time.

        An empty list may also mean that `wake` was called, or that a message was dropped: check the time. The timeout
        is rounded up to milliseconds; without one (0 or less) it does not wait.
        """
        if timeout_ns <= 0:
            if not self._listener.readable():
                return []
        else:
            timeout_ms = min(-(-timeout_ns // MILLISECOND_NS), TIMEOUT_MS_MAX)
            if timeout_ms != self._timeout_ms:
                self._socket.set(zmq.RCVTIMEO, timeout_ms)
                self._timeout_ms = timeout_ms
        try:
            owner, frames = self._listener.receive()
        except zmq.Again:
            return []
        if self._curve is not None:
            self.owner = owner
        if frames is None:
            return []
        if frames[0] == self._wake_token:
            with self._wake_lock:
                self._waking = False
            if self._listener.needs_care:
                self._listener.tend()
            return []
        return [frames]

    def check(self) -> None:
        """Cuts connections whose keys are no longer allowed. Thread-safe."""
        self._listener.check()

    def wake(self) -> None:
        """Ends the wait of `poll`, or the next one before it begins. Thread-safe."""
        with self._wake_lock:
            if self._waker is not None and not self._waking:
                self._waker.send(self._wake_token, zmq.NOBLOCK)
                self._waking = True

    def close(self, linger_ns: int = 0) -> None:
        """Stops. Waits at most `linger_ns` for queued messages."""
        with self._wake_lock:
            if self._waker is None:
                return
            self._waker.close()
            self._waker = None
        for speaker in self._peers.values():
            speaker.close(linger_ns)
        self._peers.clear()
        self._listener.close()

    def _drop(self, reason: str) -> bool:
        self._count("dropped", (reason,), 1)
        return False

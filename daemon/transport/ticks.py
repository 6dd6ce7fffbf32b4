"""The tick plane's transport: blocking, owned by the thread that runs the ticks.

A tick is nothing but a few exchanges with every peer, so what one costs is what an empty tick costs. Here that is one
descriptor poll and one receive a message: no event loop, no hand-over between threads. Another thread can only `wake`
the one that waits.

The descriptor of the PULL socket is edge-triggered (see `control`): it is waited on only after a receive has found
nothing, and a wait that ends does not promise a message.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Sequence

import zmq

from daemon.protocol.frames import Buffer
from daemon.transport.security import Count, Curve
from daemon.transport.sockets import MILLISECOND_NS, Listener, Speaker, TransportLimits, receive, too_large


class TickTransport:
    """Listens at `address`; speaks to the peers it is told of. All but `wake` is for one thread."""

    def __init__(
        self, address: str, *, curve: Curve | None, count: Count, limits: TransportLimits | None = None
    ) -> None:
        self._limits = limits or TransportLimits()
        self._curve = curve
        self._count = count
        self._listener = Listener(address, curve, self._limits, count)
        self._socket = self._listener.socket
        self._peers: dict[str, Speaker] = {}
        self._wake_lock = threading.Lock()
        self._wake_fd: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiter = select.poll()
        self._waiter.register(self._listener.fd, select.POLLIN)
        self._waiter.register(self._wake_fd, select.POLLIN)

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port that was given if the address left that open."""
        return self._listener.endpoint

    @property
    def peers(self) -> tuple[str, ...]:
        """Whom it speaks to."""
        return tuple(self._peers)

    def connect(self, peer: str, address: str, public_key: bytes | None = None) -> bool:
        """Speak to `peer` at `address` from now on; False, and counted, if that cannot be.

        What is sent before the connection stands is queued. The same again changes nothing; another address or key
        replaces the connection, and what was queued for the old one is lost.
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
        except zmq.ZMQError:  # an address or key that is none, or no descriptor left
            return self._drop("failed")
        return True

    def disconnect(self, peer: str) -> None:
        """Speak to `peer` no longer; what is still queued for it is lost."""
        known = self._peers.pop(peer, None)
        if known is not None:
            known.close()

    def send(self, peer: str, frames: Sequence[Buffer]) -> bool:
        """Queue a message without waiting; False if it was dropped instead.

        True is no promise: a message is lost when its connection is. Frames of 64 KiB and more, but the first, are sent
        from the caller's memory, which must not change until the message has gone out.
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
        """The messages that wait, in the order of their arrival, at most `drain_max`; waits for one if there is none.

        An empty list means that the time is over, that `wake` was called, or nothing at all: look at the clock.
        """
        messages = self._drain()
        if messages or timeout_ns <= 0:
            return messages
        for fd, _ in self._waiter.poll(-(-timeout_ns // MILLISECOND_NS)):
            if fd == self._wake_fd:
                os.eventfd_read(fd)
        return self._drain()

    def wake(self) -> None:
        """End the wait of `poll`, or the next one before it begins; from any thread, at any time."""
        with self._wake_lock:
            if self._wake_fd is not None:
                os.eventfd_write(self._wake_fd, 1)

    def close(self, linger_ns: int = 0) -> None:
        """Stop; wait at most `linger_ns` for what is queued."""
        with self._wake_lock:
            if self._wake_fd is None:
                return
            os.close(self._wake_fd)
            self._wake_fd = None
        for speaker in self._peers.values():
            speaker.close(linger_ns)
        self._peers.clear()
        self._listener.close()

    def _drop(self, reason: str) -> bool:
        self._count("dropped", (reason,), 1)
        return False

    def _drain(self) -> list[list[Buffer]]:
        messages: list[list[Buffer]] = []
        socket, frames_max = self._socket, self._limits.frames_max
        for _ in range(self._limits.drain_max):
            try:
                frames = receive(socket, frames_max)
            except zmq.Again:
                break
            if frames is None:
                self._drop("oversize")
            else:
                messages.append(frames)
        return messages

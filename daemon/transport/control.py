"""The control plane's transport, on the asyncio loop of its daemon.

Why not `zmq.asyncio`: a round trip through it takes 136 us, this one 59 (measured over loopback: a reader callback on
the socket's descriptor that does its work immediately, plain sockets, no future per message).

The descriptor of a ZeroMQ socket is edge-triggered: it signals once that something has happened inside, not that a
message waits. So the callback receives until nothing is left, or, after `drain_max` messages, asks the loop to be
called again behind whatever else waits there. Sends can't swallow an edge here: they use sockets of their own.

A connection belongs to an address and a key. Gossip may place a fictitious or a former member at the address of
another: each one's messages use their own connection, and neither closes the other's.

Invariants: every send returns at once; a peer that does not read costs at most a queue of `queue_messages_max`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from daemon.transport.security import Count, Curve
from daemon.transport.sockets import SECOND_NS, Listener, Speaker, TransportLimits, too_large
from shoal.lockstep.frames import Buffer

log = logging.getLogger("shoal.transport")

REFUSALS_SECONDS = 1.0
TURN_SECONDS = 0.005
"""After so long in one turn, the rest of the loop gets its own, however few messages that were."""
REFUSED_AGAIN_SECONDS = 60.0

Deliver = Callable[[str, list[Buffer]], None]


@dataclass(slots=True)
class _Peer:
    speaker: Speaker
    used: float  # loop time of the last send


class ControlTransport:
    """Listens at `address` and passes each message to `deliver`, with the name of
    its sender's key (empty without encryption). Create, use and close it on a running loop."""

    def __init__(
        self,
        address: str,
        deliver: Deliver,
        *,
        curve: Curve | None,
        count: Count,
        limits: TransportLimits | None = None,
    ) -> None:
        self._limits = limits or TransportLimits()
        self._deliver = deliver
        self._curve = curve
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(address, curve, self._limits, count, self._alarm, port="control")
        self._peers: dict[tuple[str, bytes | None], _Peer] = {}  # by address and key, the least recently used first
        self._closed = False
        self._loop.add_reader(self._listener.fd, self._drain)
        self._again: asyncio.Handle | None = self._loop.call_soon(
            self._drain
        )  # an edge may have come before the reader was added
        self._sweep = self._loop.call_later(self._idle_seconds / 2, self._close_idle)
        self._refused_at: dict[str, float] = {}
        self._refusals = self._loop.call_later(REFUSALS_SECONDS, self._look_for_refusals)

    @property
    def endpoint(self) -> str:
        """The listening address, with the actual port if the configured one is 0."""
        return self._listener.endpoint

    @property
    def sender_address(self) -> str:
        """The host that sent the message being delivered; empty if unknown."""
        return self._listener.sender_address

    @property
    def connections(self) -> tuple[str, ...]:
        """The addresses with an open socket."""
        return tuple(address for address, _ in self._peers)

    @property
    def came(self) -> tuple[int, int]:
        """The number of incoming connections, and how many of them have not been admitted."""
        return self._listener.connections

    def send(self, address: str, public_key: bytes | None, frames: Sequence[Buffer]) -> bool:
        """Queues a message for the shard at `address` with this public key; returns False if it was dropped.

        True is no promise: a message is lost with its connection.
        """
        if self._closed:
            return self._drop("not_connected")
        if too_large(frames, self._limits):
            return self._drop("oversize")
        peer = self._peers.pop((address, public_key), None) or self._connect(address, public_key)
        if peer is None:
            return False
        self._peers[address, public_key] = peer
        peer.used = self._loop.time()
        try:
            return peer.speaker.send(frames) or self._drop("queue_full")
        except zmq.ZMQError:
            return self._drop("failed")

    def check(self) -> None:
        """Cuts all connections whose keys are no longer allowed, incoming and outgoing."""
        self._listener.check()
        for target, peer in list(self._peers.items()):
            if self._curve is not None and self._curve.owner_of(peer.speaker.public_key or b"") is None:
                peer.speaker.close()
                del self._peers[target]

    def close(self, linger_ns: int = 0) -> None:
        """Stops. Waits at most `linger_ns` for queued messages, which blocks the loop."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._listener.fd)
        self._sweep.cancel()
        self._refusals.cancel()
        if self._again is not None:
            self._again.cancel()
        for peer in self._peers.values():
            peer.speaker.close(linger_ns)
        self._peers.clear()
        self._listener.close()

    @property
    def _idle_seconds(self) -> float:
        return self._limits.idle_ns / SECOND_NS

    def _connect(self, address: str, public_key: bytes | None) -> _Peer | None:
        if self._curve is not None and public_key is None:
            self._drop("no_key")
            return None
        if len(self._peers) >= min(self._limits.peers_max, self._limits.speakers_max):
            oldest = next(iter(self._peers))
            self._peers.pop(oldest).speaker.close()
            self._count("connections_evicted", (), 1)
        try:
            speaker = Speaker(self._listener.context, address, self._curve, public_key, self._limits)
        except zmq.ZMQError:  # an invalid address or key, or no descriptor left
            self._drop("failed")
            return None
        return _Peer(speaker, self._loop.time())

    def _drop(self, reason: str) -> bool:
        self._count("dropped", (reason,), 1)
        return False

    def _drain(self) -> None:
        """Delivers waiting messages, at most `drain_max` before the loop gets its turn."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        until = self._loop.time() + TURN_SECONDS
        for _ in range(self._limits.drain_max):
            if not self._listener.readable():
                return
            if self._loop.time() > until:
                break
            owner, frames = self._listener.receive()
            if frames is None:
                continue
            try:
                self._deliver(owner, frames)
            except BaseException:
                self._look_again()  # the loop handles the error; the messages behind must not wait for an edge
                raise
            if self._closed:
                return
        self._look_again()

    def _alarm(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tend)

    def _tend(self) -> None:
        if not self._closed and self._listener.needs_care:
            self._listener.tend()
            self._drain()  # checking for a message may have swallowed an edge

    def _look_again(self) -> None:
        if not self._closed:
            self._again = self._loop.call_soon(self._drain)

    def _look_for_refusals(self) -> None:
        """Logs peers that refuse us because their list lacks our key; otherwise only their log would show it.

        libzmq does not retry by itself; the next message does.
        """
        now = self._loop.time()
        for (address, key), peer in list(self._peers.items()):
            if not peer.speaker.refused():
                continue
            peer.speaker.close()
            del self._peers[address, key]
            self._count("refused_by_peer", (), 1)
            if now - self._refused_at.get(address, -REFUSED_AGAIN_SECONDS) >= REFUSED_AGAIN_SECONDS:
                self._refused_at[address] = now
                log.warning("%s refuses our key: is the key in its allowed_keys, and have they been reloaded?", address)
        self._refused_at = {at: when for at, when in self._refused_at.items() if now - when < REFUSED_AGAIN_SECONDS}
        self._refusals = self._loop.call_later(REFUSALS_SECONDS, self._look_for_refusals)

    def _close_idle(self) -> None:
        """Closes the sockets that have been unused for `idle_ns`; the least recently used come first."""
        now = self._loop.time()
        for target, peer in list(self._peers.items()):
            if now - peer.used < self._idle_seconds:
                break
            peer.speaker.close()
            del self._peers[target]
        self._sweep = self._loop.call_later(self._idle_seconds / 2, self._close_idle)

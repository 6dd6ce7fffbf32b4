"""Sends and receives the messages of the control plane, checks their senders, and counts them.

A message is accepted only if its sender owns the key of the connection, so no allowed member can pose as another. And
nothing is sent to a key that gossip has announced but that is not in the list of allowed keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from daemon.config.keys import AllowedKeys
from daemon.membership.machine import Membership
from daemon.observe.metrics import Metrics
from daemon.runtime.allowance import Allowance
from daemon.runtime.other_clusters import OtherClusters
from daemon.state.commands import Identity
from daemon.transport.control import ControlTransport, Deliver
from daemon.transport.refusals import MESSAGES, Refusals, Teller
from daemon.transport.security import Count
from daemon.wire import Codec, Foreign, Rejected
from shoal.api.commands.cluster import OtherCluster
from shoal.lockstep.frames import size_of

log = logging.getLogger("shoal.post")

LINGER_NS = 200_000_000
NONSENSE = ("_nonsense", "_refused", "_unsound", "_over_limit", "_conflicts")
INSIDERS_SHARE, INSIDERS_BURST_NS, INSIDERS_SILENCE_NS = 0.2, 1_000_000_000, 250_000_000
"""The loop's time for messages of one member of the view. A leader is silent for longer before an election."""
OUTSIDERS_SHARE, OUTSIDERS_BURST_NS = 0.02, 500_000_000
"""For a sender outside of the view: in lockstep, all members wait for each shard that is held up."""


class Connect(Protocol):
    """Makes the sockets of the control plane, which pass on what they receive and count what they drop."""

    def __call__(self, *, deliver: Deliver, count: Count) -> ControlTransport: ...


class Messenger:
    """Sends and receives for one shard; calls `heard` with each accepted message."""

    def __init__(
        self,
        me: Identity,
        codec: Codec,
        connect: Connect,
        allowed: AllowedKeys | None,
        seeds: Mapping[str, str | None],
        metrics: Metrics,
        heard: Callable[[Identity, Any], None],
    ) -> None:
        """`seeds` maps addresses to the names whose keys they have; `connect` makes the sockets."""
        self._me, self._codec, self._allowed, self._seeds = me, codec, allowed, seeds
        self._metrics, self._heard = metrics, heard
        self._membership: Membership | None = None
        self._insiders = Allowance(INSIDERS_SHARE, INSIDERS_BURST_NS, INSIDERS_SILENCE_NS)
        self._outsiders = Allowance(OUTSIDERS_SHARE, OUTSIDERS_BURST_NS)
        self._view: frozenset[str] = frozenset()
        self._told = Teller(Refusals("control", MESSAGES), log)
        self._speaker = ""  # the sender of the message being handled
        self._founding: Callable[[], str] = str
        self._epoch = 0
        self._other_clusters = OtherClusters()
        self._transport = connect(deliver=self._deliver, count=metrics.count)

    def raise_version(self, version: int) -> None:
        """Allows messages in formats that are new in this cluster version."""
        self._codec.version = version

    def know(self, membership: Membership, founding: Callable[[], str]) -> None:
        """Sets where to look up members' addresses and keys, and this shard's present cluster."""
        self._membership, self._founding = membership, founding

    @property
    def came(self) -> tuple[int, int]:
        """How many incoming connections there were, and how many of them were refused."""
        return self._transport.came

    def enter_view(self, epoch: int, members: frozenset[str]) -> None:
        """Sends for an epoch from now on. `members` are the view's, or none while this shard is not one of them."""
        self._epoch, self._view = epoch, members

    def strangers(self) -> list[OtherCluster]:
        """Returns the members of other clusters that have sent messages lately."""
        return self._other_clusters.recent()

    def check(self) -> None:
        """Checks the connections after the allowed keys have changed."""
        self._transport.check()

    def close(self) -> None:
        """Gives queued messages a moment to leave, and closes."""
        self._told.close()
        self._transport.close(LINGER_NS)

    def send(self, to: str, message: object) -> None:
        """Sends a message to a member."""
        assert self._membership is not None
        member = self._membership.member(to)
        if member is None:
            self._metrics.dropped("unknown_member")
        else:
            self._send(member.control, self.key_of(member.public_key), to, message)

    def send_to_address(self, address: str, message: object, name: str = "") -> None:
        """Sends a message to an address: a seed's, or that of an unknown shard that gave that name."""
        key = self._key_at(address)
        if key is None and name and self._allowed is not None:
            key = self._allowed.key_of(name)
        self._send(address, key, "", message)

    def key_of(self, public_key: bytes) -> bytes | None:
        """Returns a key that gossip has announced, if it is allowed."""
        if self._allowed is None:
            return None
        return public_key if public_key in self._allowed else None

    def _key_at(self, address: str) -> bytes | None:
        assert self._membership is not None
        if self._allowed is not None and address in self._seeds:
            return self._allowed.key_of(self._seeds[address] or "")
        for record in self._membership.members():
            if record.member.control == address:
                return self.key_of(record.member.public_key)
        return None

    def _send(self, address: str, key: bytes | None, to: str, message: object) -> None:
        try:
            frames = self._codec.encode(self._epoch, self._me.name, self._me.generation, message, self._founding())
        except Rejected as rejected:
            log.error("cannot send %s: %s", type(message).__name__, rejected)
            self._metrics.dropped("oversize")
            return
        if self._transport.send(address, key, frames) and to:
            self._count("out", message, to, frames)

    def _deliver(self, owner: str, frames: list[Any]) -> None:
        allowance = self._insiders if not self._view or owner in self._view else self._outsiders
        if allowance.exhausted(owner, time.monotonic_ns()):
            self.refuse("flood", owner)
            return
        began = time.thread_time_ns()  # processor time: waiting for a disk is not the sender's fault
        self._speaker = owner
        try:
            self._hear(owner, frames)
        finally:
            self._speaker = ""
            if owner:  # without encryption the owner is unknown
                allowance.spent(owner, time.thread_time_ns() - began, time.monotonic_ns())

    def _hear(self, owner: str, frames: list[Any]) -> None:
        try:
            envelope = self._codec.decode(frames, self._founding())
        except Foreign as foreign:
            self._metrics.dropped(foreign.reason.value)
            if self._allowed is None or owner == foreign.sender:
                self._other_clusters.heard(foreign.founding, foreign.sender, self._transport.sender_address)
            return
        except Rejected as rejected:
            self.refuse(rejected.reason.value, owner)
            return
        if self._allowed is not None and owner != envelope.sender:
            self.refuse("impostor", owner)
            return
        if self._membership is not None and self._membership.status(envelope.sender) is not None:
            self._count("in", envelope.message, envelope.sender, frames)
        self._speaker = envelope.sender
        self._heard(Identity(envelope.sender, envelope.generation), envelope.message)

    def refuse(self, reason: str, sender: str) -> None:
        """Counts and logs a message that is refused."""
        self._metrics.dropped(reason)
        self._told.note(reason, sender or "not known")

    def note(self, event: str, amount: int) -> None:
        """Logs a counted event if the message being handled should not have caused it."""
        if self._speaker and event.endswith(NONSENSE):
            self._told.note(event, self._speaker, amount)

    def _count(self, direction: str, message: object, peer: str, frames: list[Any]) -> None:
        self._metrics.message(direction, type(message).__name__, peer, size_of(frames))

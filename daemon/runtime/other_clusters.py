"""Tracks members of other clusters that send messages to this shard, for a warning a minute and for operators.

Two clusters with the same name and each other's keys meet through a seed of the wrong one, or at an address that a
machine of the other has taken over. Their messages are refused (`wire`); an operator has to fix the cause.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from shoal.api.commands.cluster import OtherCluster

log = logging.getLogger("shoal.post")

SENDERS_MAX = 64
SAY_AGAIN_SECONDS = 60.0
SHOWN_SECONDS = 300.0


@dataclass(slots=True)
class _Sender:
    address: str
    messages: int = 0
    last: float = 0.0
    said: float | None = None


class OtherClusters:
    """By founding id and sender's name; if there are too many, the one silent for longest is forgotten."""

    def __init__(self) -> None:
        self._senders: dict[tuple[str, str], _Sender] = {}

    def heard(self, cluster: str, name: str, address: str) -> None:
        """Notes a refused message."""
        now = time.monotonic()
        sender = self._senders.pop((cluster, name), None) or _Sender(address)
        self._senders[cluster, name] = sender
        if len(self._senders) > SENDERS_MAX:
            del self._senders[next(iter(self._senders))]
        sender.address, sender.messages, sender.last = address, sender.messages + 1, now
        if sender.said is None or now - sender.said >= SAY_AGAIN_SECONDS:
            sender.said = now
            log.warning(
                "%.80r at %s belongs to another cluster, founded as %s, and is ignored (%d messages so far):"
                " does a seed of either cluster name the other, or does it have the address of a former member?",
                name,
                address or "an unknown address",
                cluster,
                sender.messages,
            )

    def recent(self) -> list[OtherCluster]:
        """Returns the senders heard lately."""
        now = time.monotonic()
        return [
            {
                "cluster": cluster,
                "name": name,
                "address": sender.address,
                "messages": sender.messages,
                "seconds_ago": now - sender.last,
            }
            for (cluster, name), sender in sorted(self._senders.items())
            if now - sender.last < SHOWN_SECONDS
        ]

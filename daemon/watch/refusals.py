"""Who was turned away at a port, for the log: once, soon, and then once a minute, however many come.

    ticks: 4213 connections turned away: 4200 sent more than a handshake (127.0.0.9), 13 with a key that is not allowed
    (10.0.0.7 9, 10.0.0.8 4)

May be told from any thread; said by whoever asks `due`, with the clock as an argument.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

SOON_NS: Final = 1_000_000_000
AGAIN_NS: Final = 60_000_000_000
SOURCES_MAX: Final = 256
SOURCES_SHOWN: Final = 3
OTHERS: Final = "others"
PHRASES: Final = {
    "key": "with a key that is not allowed",
    "revoked": "with a key that is no longer allowed",
    "mechanism": "with other encryption than ours",
    "cryptographic": "with a wrong server key",
    "protocol": "that do not speak our protocol",
    "broken": "ended in their handshake",
    "oversize": "sent more than a handshake",
    "slow": "did not finish their handshake in time",
    "crowd": "too many at a time",
    "full": "while too much waits to be read",
    "flood": "sent faster than is read",
    "descriptors": "without a file descriptor left",
}


class Refusals:
    """Of one port."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._due: int | None = None
        self._said_at: int | None = None

    def note(self, reason: str, source: str, now: int, amount: int = 1) -> None:
        """Somebody was turned away."""
        with self._lock:
            sources = self._counts.setdefault(reason, Counter())
            sources[source if source in sources or len(sources) < SOURCES_MAX else OTHERS] += amount
            if self._due is None:
                soon = now + SOON_NS
                self._due = soon if self._said_at is None else max(soon, self._said_at + AGAIN_NS)

    @property
    def deadline(self) -> int | None:
        """When something is to be said; None if there is nothing to say."""
        return self._due

    def due(self, now: int) -> str | None:
        """What is to be said now."""
        with self._lock:
            if self._due is None or now < self._due:
                return None
            counts, self._counts = self._counts, {}
            self._due, self._said_at = None, now
        total = sum(sources.total() for sources in counts.values())
        parts = (
            f"{sources.total()} {PHRASES.get(reason, reason)} ({_shown(sources)})"
            for reason, sources in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        )
        return f"{self._port}: {total} connection{'s' if total > 1 else ''} turned away: {', '.join(parts)}"


def _shown(sources: Counter[str]) -> str:
    if len(sources) == 1:
        return next(iter(sources))
    shown = [f"{source} {count}" for source, count in sources.most_common(SOURCES_SHOWN)]
    left = len(sources) - len(shown)
    return ", ".join(shown) + (f", {left} more" if left else "")

"""Logs who was turned away at a port, or ignored: soon after the first, then once a minute, however many come.

    ticks: 4213 connections turned away: 4200 sent more than a handshake (127.0.0.9), 13 with a key that is not allowed
    (10.0.0.7 9, 10.0.0.8 4)

`note` may be called from any thread; the caller of `due`, which takes the time as an argument, writes the log line.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from typing import Final

SOON_NS: Final = 1_000_000_000
AGAIN_NS: Final = 60_000_000_000
SOURCES_MAX: Final = 256
SOURCES_SHOWN: Final = 3
OTHERS: Final = "others"
CONNECTIONS, MESSAGES = ("connection", "turned away"), ("message", "dropped")
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
"""The words for connections; for messages, the counted reason itself is used."""


class Refusals:
    """One port's refusals."""

    def __init__(self, port: str, what: tuple[str, str] = CONNECTIONS) -> None:
        self._port, self._what = port, what
        self._phrases = PHRASES if what == CONNECTIONS else {}
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._due: int | None = None
        self._said_at: int | None = None

    def note(self, reason: str, source: str, now: int, amount: int = 1) -> None:
        """Notes a refusal."""
        with self._lock:
            sources = self._counts.setdefault(reason, Counter())
            sources[source if source in sources or len(sources) < SOURCES_MAX else OTHERS] += amount
            if self._due is None:
                soon = now + SOON_NS
                self._due = soon if self._said_at is None else max(soon, self._said_at + AGAIN_NS)

    @property
    def deadline(self) -> int | None:
        """When the next line is due; None if there is nothing to log."""
        return self._due

    def due(self, now: int) -> str | None:
        """Returns the line to log now, or None."""
        with self._lock:
            if self._due is None or now < self._due:
                return None
            counts, self._counts = self._counts, {}
            self._due, self._said_at = None, now
        total = sum(sources.total() for sources in counts.values())
        parts = (
            f"{sources.total()} {self._phrases.get(reason, reason)} ({_shown(sources)})"
            for reason, sources in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        )
        noun, verb = self._what
        return f"{self._port}: {total} {noun}{'s' if total > 1 else ''} {verb}: {', '.join(parts)}"


class Teller:
    """Logs the refusals of one port, on a running loop."""

    def __init__(self, refusals: Refusals, log: logging.Logger) -> None:
        self._refusals, self._log = refusals, log
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, reason: str, source: str, amount: int = 1) -> None:
        """Notes a refusal, and schedules its log line."""
        self._refusals.note(reason, source, time.monotonic_ns(), amount)
        deadline = self._refusals.deadline
        if self._timer is None and deadline is not None:
            self._timer = self._loop.call_later((deadline - time.monotonic_ns()) / 1e9 + 0.001, self._say)

    def close(self) -> None:
        """Stops logging."""
        if self._timer is not None:
            self._timer.cancel()

    def _say(self) -> None:
        self._timer = None
        if (line := self._refusals.due(time.monotonic_ns())) is not None:
            self._log.warning("%s", line)


def _shown(sources: Counter[str]) -> str:
    if len(sources) == 1:
        return next(iter(sources))
    shown = [f"{source} {count}" for source, count in sources.most_common(SOURCES_SHOWN)]
    left = len(sources) - len(shown)
    return ", ".join(shown) + (f", {left} more" if left else "")

"""Measures how long the control loop goes without checking its sockets and timers.

One turn runs everything that is ready, from one call of the selector to the next; heartbeats wait meanwhile. It is
measured in processor time of the loop's own thread, so neither a busy machine counts, nor another thread that holds the
interpreter: what remains is work on the loop.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from typing import Final

SLOW_SECONDS: Final = 0.005
TURNS_KEPT: Final = 4096


class TimedSelector(selectors.DefaultSelector):
    """A selector that notes how long the turns between its calls take; it costs about a microsecond per turn."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: deque[float] = deque(maxlen=TURNS_KEPT)
        """Seconds of the last turns of at least `SLOW_SECONDS`; the consumer empties it."""
        self._began: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits for events, between two turns."""
        if self._began is not None and (took := time.thread_time() - self._began) >= SLOW_SECONDS:
            self.slow.append(took)
        events = super().select(timeout)
        self._began = time.thread_time()
        return events


def new_loop(selector: TimedSelector) -> asyncio.AbstractEventLoop:
    """Creates a loop whose turns are timed."""
    return asyncio.SelectorEventLoop(selector)

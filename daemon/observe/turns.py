"""Measures how long the control loop goes without looking at its sockets and timers.

One turn runs all that is ready, from one look at the selector to the next; heartbeats wait meanwhile. It is measured in
the processor time of the loop's own thread, so a busy machine, or a thread of ours that has the interpreter, does not
count: what is left is work that somebody put on the loop.
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
    """A selector that notes how long the turns between its calls have taken; it costs a turn about a microsecond."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: deque[float] = deque(maxlen=TURNS_KEPT)
        """Seconds of the last turns of `SLOW_SECONDS` and more; whoever takes them in empties it."""
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

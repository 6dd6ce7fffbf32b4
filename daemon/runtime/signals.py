"""Receives signals even while the event loop is blocked.

asyncio handles a signal in a turn of its loop, so a loop that waits for an unresponsive disk ignores SIGTERM. Here the
interpreter's C handler writes the number of each signal into a pipe, and a thread reads it. That thread notifies the
loop, and calls `at_once` itself, which ensures that the process ends in time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Final

JOIN_SECONDS: Final = 1.0


class Signals:
    """A context manager, for the main thread. Calls `at_once` on a thread of its own, `handlers` on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handlers: Mapping[int, Callable[[], None]],
        at_once: Callable[[int], None],
    ) -> None:
        self._loop, self._handlers, self._at_once = loop, dict(handlers), at_once
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before: dict[int, object] = {}
        self._wakeup_before = -1
        self._thread = threading.Thread(target=self._run, name="shoal-signals", daemon=True)

    def __enter__(self) -> Signals:
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._handlers:
            self._before[number] = signal.signal(number, _taken_by_the_thread)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()
        self._thread.join(JOIN_SECONDS)
        self._reader.close()

    def handle(self, number: int, handler: Callable[[], None]) -> None:
        """Replaces the handler of a signal."""
        assert number in self._handlers, number
        self._handlers[number] = handler

    def _run(self) -> None:
        while numbers := self._reader.recv(64):
            for number in numbers:
                handler = self._handlers.get(number)
                if handler is None:
                    continue  # another owner's, which has a handler in the interpreter
                self._at_once(number)
                if not self._loop.is_closed():
                    self._loop.call_soon_threadsafe(handler)


def _taken_by_the_thread(number: int, frame: FrameType | None) -> None:
    """Does nothing: the number is already in the pipe."""

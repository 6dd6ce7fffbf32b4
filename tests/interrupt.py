"""A Ctrl-C at a chosen point of somebody's code, or at a chosen moment."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal

AGAIN_SECONDS = 1.0
"""The interpreter swallows an interrupt that hits a finalizer; whoever sits there presses the keys again."""


class InterruptAfter:
    """Raises KeyboardInterrupt in the main thread once some seconds are over, and leaves the block without an error.

    The alarm signal is left to the time limit of tests, which would not end a test that takes it away.
    """

    def __init__(self, seconds: float) -> None:
        self.happened = False
        self._seconds = seconds
        self._over = threading.Event()
        self._armed = True
        self._thread = threading.Thread(target=self._press, args=(threading.get_ident(),), daemon=True)

    def __enter__(self) -> InterruptAfter:
        self._before = signal.signal(signal.SIGUSR1, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._armed = False
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)
        self.happened = kind is KeyboardInterrupt
        return self.happened

    def _press(self, main: int) -> None:
        wait = self._seconds
        while not self._over.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            wait = AGAIN_SECONDS

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._armed and (frame is None or frame.f_code is not InterruptAfter.__exit__.__code__):
            raise KeyboardInterrupt


class Interrupt:
    """Raises KeyboardInterrupt in this thread at the `at`-th step, a line or an instruction, of code that is `meant`.

    At some instructions no signal is ever handled, and the interpreter does not clean up after an exception there: what
    it takes for "being handled" stays wrong. So interrupts at instructions belong into a thread that ends. Tests that
    use this are marked as traced.
    """

    def __init__(self, at: int, meant: Callable[[FrameType], bool], step: Literal["line", "opcode"] = "line") -> None:
        self.left = at
        self._meant, self._step = meant, step

    def __enter__(self) -> Interrupt:
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        if not self._meant(frame):
            return None
        if self._step == "opcode":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._stepped

    def _stepped(self, frame: FrameType, event: str, _: object) -> Any:
        if event == self._step:
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._stepped

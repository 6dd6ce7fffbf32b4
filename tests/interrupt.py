"""A Ctrl-C at a chosen point of somebody's code, or at a chosen moment."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal

RETRY_SECONDS = 0.001
AGAIN_SECONDS = 1.0
"""The interpreter swallows an interrupt that hits a finalizer; whoever sits there presses the keys again."""


class InterruptAfter:
    """Raises KeyboardInterrupt in the main thread once some seconds are over, and leaves the block without an error.

    The alarm signal is left to the time limit of tests, which would not end a test that takes it away.
    """

    def __init__(self, seconds: float) -> None:
        self.happened = False
        self._seconds, self._is_raised = seconds, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._press, args=(threading.get_ident(),), daemon=True)

    def __enter__(self) -> InterruptAfter:
        self._before = signal.signal(signal.SIGUSR1, self._interrupt)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)
        sys.unraisablehook = self._hook
        self.happened = kind is KeyboardInterrupt
        return self.happened

    def _press(self, main: int) -> None:
        wait = self._seconds
        while not self._over.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            wait = AGAIN_SECONDS if self._is_raised else RETRY_SECONDS

    def _swallowed(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._hook(unraisable)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code in _OWN:
                return  # the block has not begun, or is over
            frame = frame.f_back
        self._is_raised = True
        raise KeyboardInterrupt


_OWN = {each.__code__ for each in (InterruptAfter.__enter__, InterruptAfter.__exit__, InterruptAfter._swallowed)}


class Interrupt:
    """Raises KeyboardInterrupt in this thread at the `at`-th step, a line or an instruction, of code that is `meant`.

    At some instructions no signal is ever handled, and the interpreter does not clean up after an exception there: what
    it takes for "being handled" stays wrong. So interrupts at instructions belong into a thread that ends.
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

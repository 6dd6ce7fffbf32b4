"""A Ctrl-C at a chosen point of somebody's code: a trace function counts the steps up to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal


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

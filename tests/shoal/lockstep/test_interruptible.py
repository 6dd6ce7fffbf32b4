"""Foreign code is got out of, wherever it is; and nothing is ever raised outside it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from shoal.lockstep.interruptible import Interrupted, Section

log = logging.getLogger("tests.interruption")


def forever() -> None:
    while True:
        pass


def forever_and_swallow() -> None:
    while True:
        try:
            time.sleep(0.0001)
        except Exception:
            log.exception("never")


def forever_logging() -> None:
    log.setLevel(logging.INFO)
    while True:
        log.info("still here")


def forever_in_a_lock() -> None:
    lock = threading.Lock()
    while True:
        with lock:
            pass


class Thread:
    """A thread that runs one thing after the other in a section, and what has become of each."""

    def __init__(self, *calls: Callable[[], object]) -> None:
        self.section: Section[int] = Section()
        self.outcomes: list[object] = []
        self.escaped: BaseException | None = None
        self._calls = calls
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            for i, call in enumerate(self._calls):
                try:
                    self.outcomes.append(self.section.run(i, time.monotonic_ns(), call))
                except Interrupted:
                    self.outcomes.append("interrupted")
        except BaseException as error:
            self.escaped = error

    def interrupt_until(self, seconds: float, done: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until, self.outcomes
            busy = self.section.busy
            if busy is not None:
                self.section.interrupt(busy)


@pytest.mark.parametrize("call", [forever, forever_and_swallow, forever_logging, forever_in_a_lock])
def test_code_that_does_not_return_is_interrupted(call: Callable[[], None]) -> None:
    thread = Thread(call, lambda: "after")
    thread.interrupt_until(20, lambda: bool(thread.outcomes))
    thread.thread.join(5)
    assert thread.outcomes == ["interrupted", "after"]
    assert thread.section.busy is None
    log.info("the lock of the handlers is free: this is written")


def briefly() -> str:
    """Lets the other thread have a turn in the middle, and is over just as that one interrupts it."""
    time.sleep(1e-6)
    for _ in range(100):
        pass
    return "done"


def test_nothing_is_raised_outside_however_closely_it_is_missed() -> None:
    """Each call was interrupted or was not, and nothing else ever is."""
    count, before = 5_000, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = Thread(*[briefly] * count)
        thread.interrupt_until(60, lambda: not thread.thread.is_alive())
    finally:
        sys.setswitchinterval(before)
    assert thread.escaped is None
    assert len(thread.outcomes) == count
    assert set(thread.outcomes) == {"done", "interrupted"}


def test_functions_can_be_traced_after_an_interruption() -> None:
    """A debugger does it. CPython 3.11 loops for ever if it thinks that there is still something to raise."""
    thread = Thread(forever)
    thread.interrupt_until(20, lambda: bool(thread.outcomes))
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        lines.append(frame.f_lineno)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        briefly()
        sys.settrace(None)

    tracing = threading.Thread(target=traced, daemon=True)
    tracing.start()
    tracing.join(20)
    assert not tracing.is_alive()
    assert len(lines) > 100


def test_an_answer_and_an_error_come_through() -> None:
    section: Section[str] = Section()
    assert section.run("what", 7, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        section.run("what", 7, divmod, 7, 0)
    assert section.busy is None


def test_what_is_over_is_not_interrupted() -> None:
    section: Section[str] = Section()
    seen = section.run("what", 7, lambda: section.busy)
    assert seen == ("what", 7)
    assert seen is not None
    assert not section.interrupt(seen)

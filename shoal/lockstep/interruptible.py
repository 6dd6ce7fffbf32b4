"""Gets a program out of a phase that it does not return from.

A thread can't be ended from outside without harm to what it shares with others; but CPython can raise an exception in
it (`PyThreadState_SetAsyncExc`), between two instructions of Python. That is done only while the thread runs a
program's own code, inside `Section.run`:

    the thread       busy = what --> the program's code --> busy = None --> wanted? [lock] take back what came too late
    another thread                [lock] wanted = True --> still busy with that? --> raise `Interrupted` in it

Each writes its word before it reads the other's, so one of them sees both: either the interruption is not sent, or the
thread waits for the lock and takes it back. Nothing is so ever raised in the thread's own loop, and the lock, which
costs more than the rest, is not touched as long as nobody interrupts. One interruption is sent a call at the most, so
it can't come again while the first is being dealt with.

And none is sent while the thread is at a line that may take a lock. It would be raised there, behind `acquire` and in
front of `try`, and the lock be kept for ever: if it is that of `logging`, the daemon stops at its next line of log. The
asker then tries again a moment later. (`with lock` is safe where the lock is C's: CPython does not look in between.)

What can't be interrupted: code that is in C and does not come back (a lock without a timeout, a kernel), and programs
that catch `BaseException`. For those a daemon starts again
(`daemon/runtime/guard`), as it does for who holds the interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import linecache
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

T = TypeVar("T")
W = TypeVar("W")

JUMPS_MAX: Final = 1000
"""CPython looks at the first of them for what there is to raise."""
TAKES_LOCK: Final = re.compile(r"acquire|lock|__enter__", re.IGNORECASE)
LOCKING: Final = frozenset({"logging", "threading", "concurrent", "queue", "multiprocessing", "asyncio"})
"""Modules that take locks by hand, for machines without their source."""


class Slot(Protocol):
    """Where a host records what foreign code is doing, for whoever looks from outside of this process."""

    def enter(self, place: tuple[int, int, int], thread: int) -> None:
        """Foreign code begins on this thread."""

    def leave(self) -> None:
        """It has returned."""


class Interrupted(BaseException):
    """Raised in a program's code from outside; no `Exception`, so that a program does not take it for its own."""


class Section(Generic[W]):
    """One thread's way into foreign code, and others' way to get it out again."""

    def __init__(self, slot: Slot | None = None, place: Callable[[W], tuple[int, int, int]] | None = None) -> None:
        """What is done here is written to a `slot` of the guard's, with what `place` says of it."""
        self.slot, self._place = slot, place
        self.busy: tuple[W, int] | None = None
        """What is being done, and since when (monotonic nanoseconds); to be read from any thread."""
        self._lock = threading.Lock()
        self._thread = 0
        self._wanted = False

    def run(self, what: W, since: int, call: Callable[..., T], *args: Any) -> T:
        """Calls foreign code. Raises what it raises, or `Interrupted`."""
        self._thread = threading.get_ident()
        if self.slot is not None and self._place is not None:
            self.slot.enter(self._place(what), self._thread)
        self.busy = (what, since)
        try:
            try:
                return call(*args)
            finally:
                self._leave()
        except Interrupted:
            self._leave()  # it may have come in the middle of the other
            raise

    def _leave(self) -> None:
        self.busy = None
        if self.slot is not None:
            self.slot.leave()
        if self._wanted:
            with self._lock:
                self._wanted = False
                _take_back(self._thread)

    def interrupt(self, busy: tuple[W, int]) -> bool:
        """Interrupts what the thread does. Returns False if it has returned, or can't be interrupted now."""
        time.sleep(0)  # with a fresh turn of the interpreter, nobody else runs between the look and the deed
        with self._lock:
            if self._wanted:
                return False
            self._wanted = True
            if self.busy is not busy or _may_take_a_lock(self._thread):
                self._wanted = False
                return False
            _raise_in(self._thread, Interrupted)
            return True


def _may_take_a_lock(thread: int) -> bool:
    """Whether a thread is at a line behind which it has to give something back, and can't yet."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return True
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
    package = module.partition(".")[0]
    if file.startswith("<frozen") or package == "daemon" or module == __name__:
        return True
    line = linecache.getline(file, frame.f_lineno)
    return bool(TAKES_LOCK.search(line)) if line else package in LOCKING


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Sets the exception that a thread raises next."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _take_back(thread: int) -> None:
    """Has this thread raise here what it would raise next.

    Clearing that instead would leave the interpreter's note that there is something to raise, and CPython 3.11 then
    loops for ever in the first function that a debugger traces, on any thread.
    """
    with contextlib.suppress(Interrupted):
        _raise_in(thread, Interrupted)
        for _ in range(JUMPS_MAX):
            pass

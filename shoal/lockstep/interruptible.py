"""Interrupts a program that does not return from a phase.

Killing a thread from outside would damage what it shares with others. But CPython can raise an exception in it
(`PyThreadState_SetAsyncExc`), between two Python instructions. This is done only while the thread runs a program's own
code, inside `Section.run`:

    the thread       busy = what --> the program's code --> busy = None --> wanted? [lock] take back what came too late
    another thread                [lock] wanted = True --> still busy with that? --> raise `Interrupted` in it

Each thread writes its variable before it reads the other's, so one of them sees both: either the interruption is not
sent, or the thread waits for the lock and takes it back. So nothing is ever raised in the thread's own loop, and the
lock, which costs more than the rest, is not used unless someone interrupts. Each call gets at most one interruption, so
a second can't arrive while the first is being handled.

No interruption is sent while the thread is at a line that may take a lock. Raised between `acquire` and `try`, it would
leave the lock held for ever: with the lock of `logging`, the daemon would hang at its next log line. The caller retries
a moment later. (`with lock` is safe if the lock is implemented in C: CPython does not check in between.)

C code that does not return (a lock without a timeout, a kernel) and programs that catch `BaseException` can't be
interrupted. In these cases, and when a program holds the interpreter, the daemon restarts (`daemon/runtime/guard`).
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
"""CPython checks for pending exceptions at the first of these."""
TAKES_LOCK: Final = re.compile(r"acquire|lock|__enter__", re.IGNORECASE)
LOCKING: Final = frozenset({"logging", "threading", "concurrent", "queue", "multiprocessing", "asyncio"})
"""Modules that take locks explicitly, for machines without their source."""


class Slot(Protocol):
    """Where a host records which foreign code runs, for observers outside this process."""

    def enter(self, place: tuple[int, int, int], thread: int) -> None:
        """Records that foreign code begins on this thread."""

    def leave(self) -> None:
        """Records that it has returned."""


class Interrupted(BaseException):
    """Raised in a program's code from outside. Not an `Exception`, so that a program's own handlers do not catch it."""


class Section(Generic[W]):
    """Runs foreign code on one thread, and lets other threads interrupt it."""

    def __init__(self, slot: Slot | None = None, place: Callable[[W], tuple[int, int, int]] | None = None) -> None:
        """Records what runs here in the guard's `slot`, described by `place`."""
        self.slot, self._place = slot, place
        self.busy: tuple[W, int] | None = None
        """What runs now, and since when (monotonic nanoseconds); any thread may read it."""
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
            self._leave()  # the interruption may have arrived during the other call
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
        """Interrupts what the thread runs. Returns False if it has returned, or can't be interrupted now."""
        time.sleep(0)  # in a fresh time slice of the interpreter, no other thread runs between check and raise
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
    """Whether a thread is at a line that may take a lock whose release is not yet guaranteed."""
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
    """Raises the thread's pending exception here, and suppresses it.

    Clearing it instead would leave the interpreter's flag set, and CPython 3.11 then loops for ever in the first
    function that a debugger traces, on any thread.
    """
    with contextlib.suppress(Interrupted):
        _raise_in(thread, Interrupted)
        for _ in range(JUMPS_MAX):
            pass

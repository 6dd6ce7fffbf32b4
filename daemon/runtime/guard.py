"""Records which program's code is running, where a crash leaves it, and acts on it without the interpreter.

A program that does not release the interpreter (a regular expression that backtracks for hours, a loop in C code)
silences the whole daemon: control loop, gossip, the service manager's watchdog. A program that crashes the process ends
the daemon. Either way its run would be resumed at the next start, and the same would happen again, for ever. So before
the daemon calls a program's code, it stores a few words in a page of memory that name it: that takes no system call,
and the page is a file's, so that the words survive into the next life (`runtime/former_lives`).

    word    0 format   1 life   2 clean end   3 pulse    4 stopped   5 guilty slot + 1   6 held, in ns
            7 main thread       8 asked to end            9 disk
            10 start again because of this slot + 1
    slot    0 where    1 run    2 tick        3 thread                       (eight of them, from word 16)

The first slot is the tick thread's; threads that import, make or read programs borrow the others. The guard
(native/guard.c) watches the pulse, which any running Python keeps alive: a disk that blocks the control loop, or a
kernel that works for minutes, does not stop it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import mmap
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from daemon.runtime import _guard
from shoal.program.failures import phase_place
from shoal.program.phase import Phase

log = logging.getLogger("shoal.guard")

PAGE, STACK = "activity", "stack"
PAGE_BYTES: Final = 4096
FORMAT: Final = 0x51_0001
FORMAT_WORD, LIFE, CLEAN, PULSE, STOPPED, GUILTY, HELD_NS, MAIN_THREAD, ASKED_TO_END, DISK, START_AGAIN = range(11)
SLOTS, SLOT_COUNT, SLOT_WORDS = 16, 8, 4
FIRST_PHASE, HALTED, KEEPING, MAKING, READING, OTHER = 1, 5, 6, 7, 8, 9
"""Places: the phases from the first on, in order, then the others."""
WAKE_NS: Final = 100_000_000
HELD_LEAST_NS, HELD_MOST_NS = 2_000_000_000, 10_000_000_000
STACK_SIGNAL: Final = signal.SIGRTMIN + 7
"""A signal that neither Python nor any library here uses."""
STACK_BYTES_MAX: Final = 16 << 10
STDERR: Final = 2


put_place = struct.Struct("=QQQ").pack_into
"""One call, because it runs in every phase of every tick."""


class Place(NamedTuple):
    """Where a program's code runs: what it does, in which run (0: none yet), and at which tick."""

    where: int
    run: int
    tick: int

    def told(self) -> str:
        """The place in words."""
        if self.where == HALTED:
            return f"halted after tick {self.tick}"
        if self.where == KEEPING:
            return f"keeping the state of tick {self.tick}"
        if self.where == MAKING:
            return "its import and construction"
        if self.where == READING:
            return f"the reading of its tables at tick {self.tick}"
        if not FIRST_PHASE <= self.where < HALTED:
            return "an operator's request"
        return phase_place(Phase(self.where - FIRST_PHASE), self.tick)


class Slot:
    """A few words of the page, for one thread at a time."""

    __slots__ = ("_at", "_page", "_thread", "_words")

    def __init__(self, page: mmap.mmap, words: memoryview, at: int) -> None:
        self._page, self._words, self._at = page, words, at
        self._thread = 0

    def enter(self, place: tuple[int, int, int], thread: int) -> None:
        """Records that this thread is about to call a program's code."""
        if thread != self._thread:
            self._thread = self._words[self._at + 3] = thread
        put_place(self._page, 8 * self._at, *place)

    def leave(self) -> None:
        """Records that the call has returned."""
        self._words[self._at] = 0


class Left(NamedTuple):
    """What a former life has left in the page."""

    disk: int
    life: int
    is_clean: bool
    running: tuple[Place, ...]
    """The places of programs at its end, the tick thread's first."""
    guilty: Place | None
    """The program that ended it: it held the interpreter for `held_seconds`, or (0) did not return at all."""
    held_seconds: float
    stack: str


class Guard:
    """The guard of one daemon, in its data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._page = _page(folder / PAGE)
        self._words = memoryview(self._page).cast("Q")
        self.left = self._read()
        self.ticks = self._slot(0)
        self._free = [self._slot(i) for i in range(1, SLOT_COUNT)]
        self._is_blamed = False
        self._stack: IO[bytes] | None = None

    def _slot(self, number: int) -> Slot:
        return Slot(self._page, self._words, SLOTS + number * SLOT_WORDS)

    def _read(self) -> Left | None:
        words = self._words
        if words[FORMAT_WORD] != FORMAT or not words[LIFE]:
            return None
        places = [Place(*words[at : at + 3].tolist()) for at in _slots()]
        number = words[GUILTY]
        guilty = places[number - 1] if 0 < number <= SLOT_COUNT else None
        stack = _stack(self._folder / STACK) if guilty is not None else ""
        running = tuple(dict.fromkeys(place for place in places if place.where))
        return Left(words[DISK], words[LIFE], words[CLEAN] == 1, running, guilty, words[HELD_NS] / 1e9, stack)

    def begin(self, disk: int, life: int, held_ns_max: int, manager: str = "") -> None:
        """Begins a new life: clears the page, and starts to watch.

        `held_ns_max` is clamped to sensible values. `manager` is the address of the service manager's socket.
        """
        words = self._words
        for word in range(SLOTS + SLOT_COUNT * SLOT_WORDS):
            words[word] = 0
        words[FORMAT_WORD], words[DISK], words[LIFE] = FORMAT, disk, life
        words[MAIN_THREAD] = threading.main_thread().ident or 0
        self._stack = _begun(self._folder / STACK)
        faulthandler.register(STACK_SIGNAL, self._stack, all_threads=False)
        threading.Thread(target=self._pulse, name="shoal-pulse", daemon=True).start()
        bound = max(HELD_LEAST_NS, min(held_ns_max, HELD_MOST_NS))
        argv = tuple(os.fsencode(word) for word in (sys.executable, *sys.orig_argv[1:]))
        _guard.begin(self._page, WAKE_NS, bound, STACK_SIGNAL, argv, os.fsencode(manager))

    def start_again(self) -> None:
        """Re-executes the process, because what the tick thread runs does not return."""
        self._words[START_AGAIN] = 1

    def close(self) -> None:
        """Records a clean end, or at least one that no program caused."""
        self._words[STOPPED] = 1
        if self._stack is not None:
            # Keep a handler: without one, a signal that is already in flight would end the process.
            faulthandler.register(STACK_SIGNAL, STDERR, all_threads=False)
            self._stack.close()
        if not self._is_blamed:
            self._words[CLEAN] = 1

    def blame(self) -> None:
        """Records that the daemon ends by a failure of its own, which a running program may have caused.

        For instance by taking all memory. The places are copied, because the programs may have returned by the end.
        """
        places = [Place(*self._words[at : at + 3].tolist()) for at in _slots()]
        for place in [place for place in places if place.where and place.run][: len(self._free)]:
            self._free.pop().enter(place, 0)
            self._is_blamed = True

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Slot | None]:
        """Lends a slot for a call on another thread than the tick thread; None if all slots are in use."""
        slot = self._free.pop() if self._free else None
        try:
            yield slot
        finally:
            if slot is not None:
                slot.leave()
                self._free.append(slot)

    def _pulse(self) -> None:
        words = self._words
        life = words[LIFE]  # the next life in this process has the same page
        while not words[STOPPED] and words[LIFE] == life:
            words[PULSE] += 1
            time.sleep(WAKE_NS / 1e9)


def _slots() -> list[int]:
    return [SLOTS + i * SLOT_WORDS for i in range(SLOT_COUNT)]


def _page(path: Path) -> mmap.mmap:
    """Maps the file's page, with disk space reserved: without it, a store would end the process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, PAGE_BYTES)
            return mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.warning("%s can't be created, so a program that ends the daemon will not be identified: %s", path, error)
        return mmap.mmap(-1, PAGE_BYTES)


def _begun(path: Path) -> IO[bytes]:
    """Opens a file for writing, empty; standard error if that fails."""
    try:
        return path.open("wb", buffering=0)
    except OSError:
        return os.fdopen(os.dup(STDERR), "wb", buffering=0)


def _stack(path: Path) -> str:
    """Reads the stack that faulthandler has left, the innermost call first; empty if there is none."""
    try:
        with path.open("rb") as file:
            lines = file.read(STACK_BYTES_MAX).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in lines if line.startswith("  File "))

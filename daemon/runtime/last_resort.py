"""Bounds the time that the process takes to end: then it shows what still runs, and exits.

To end, a daemon waits for threads, tasks and sockets. Each of those waits has a bound of its own; this one is for
what nobody thought of, and for what can't be bounded: a thread inside a write that a disk never answers, a worker in
the middle of a computation that the interpreter joins at its exit.

Two clocks run. The first is a thread that logs what is about to happen, writes the stacks of all threads to standard
error and ends the process. It needs the interpreter, so a second one that does not (faulthandler's) is set a little
later, in case a thread does not release it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from typing import Final, NoReturn

log = logging.getLogger("shoal.daemon")

EXIT_STATUS: Final = 1
HELD_INTERPRETER_SECONDS: Final = 5.0
"""How much later the second clock expires."""


class LastResort:
    """One process's bound. `arm` it, again to change the time; `disarm` it if the process goes on."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends_at: float | None = None
        self._seconds = 0.0
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float) -> None:
        """Ends the process after so many seconds, whatever it is doing."""
        with self._changed:
            self._seconds, self._ends_at = seconds, time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shoal-last-resort", daemon=True)
                self._thread.start()
            self._changed.notify()
        faulthandler.dump_traceback_later(seconds + HELD_INTERPRETER_SECONDS, exit=True)

    def disarm(self) -> None:
        """Cancels the end."""
        with self._changed:
            self._ends_at = None
            self._changed.notify()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        with self._changed:
            while self._ends_at is None or (left := self._ends_at - time.monotonic()) > 0:
                self._changed.wait(None if self._ends_at is None else left)
        _end(self._seconds)


def _end(seconds: float) -> NoReturn:
    log.critical(
        "the shutdown has taken more than %g s: killing the process; its threads' stacks follow on standard error",
        seconds,
    )
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)
    os._exit(EXIT_STATUS)

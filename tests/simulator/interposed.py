"""Replaces the machine's clocks, randomness and threads while simulated code runs.

The daemon's code reads the time from module `time` and draws names from `uuid.uuid4`. Both are replaced in the modules
themselves (as madsim does for Rust), so that no code can read a real clock by mistake, which would make two runs of a
seed differ. Threads and blocking sleeps are errors.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from daemon.services.programs import programs
from daemon.store import NoRoom, NotHeld, StoreFailed, database
from shoal.api.errors import UnknownProgram
from shoal.program.program import Program
from tests.simulator.programs import PROGRAMS
from tests.simulator.world import UNIX_EPOCH_NS, World

PAGE_BYTES: Final = 4096
"""With this, a database of a few states is a third as large, and a third faster."""
LOG: Final = logging.getLogger("shoal")


def _no_sleep(_: float) -> None:
    raise AssertionError("nothing sleeps in virtual time: it would only stand still")


def _no_thread(thread: threading.Thread) -> None:
    raise AssertionError(f"{thread.name} would run beside the simulation")


def _program(name: str, _: Iterable[str] = ()) -> type[Program]:
    if name not in PROGRAMS:
        raise UnknownProgram(f"no program of the simulator is called '{name}'")
    return PROGRAMS[name]


class _Listener(logging.Handler):
    """Shows the daemon's log in verbose runs; an error logged with a traceback fails the scenario."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if self._world.verbose:
            print(f"{self._world.now / 1e9:11.6f}  {record.levelname} {record.getMessage()}", flush=True)
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR and error is not None and not is_disk_failure(error):
            self._world.failure = self._world.failure or error


def is_disk_failure(error: BaseException) -> bool:
    """Whether the error is a disk's failure, which everyone that waits for the disk receives."""
    return isinstance(error, StoreFailed) and not isinstance(error, NotHeld | NoRoom)


def _replacements(world: World) -> dict[tuple[Any, str], Any]:
    names = world.random("names")

    def name() -> UUID:
        return UUID(int=names.getrandbits(128), version=4)

    now: Callable[[], int] = lambda: world.now  # noqa: E731
    return {
        (time, "monotonic_ns"): now,
        (time, "monotonic"): lambda: world.now / 1e9,
        (time, "time_ns"): lambda: UNIX_EPOCH_NS + world.now,
        (time, "time"): lambda: (UNIX_EPOCH_NS + world.now) / 1e9,
        (time, "thread_time_ns"): now,
        (time, "sleep"): _no_sleep,
        (uuid, "uuid4"): name,
        (threading.Thread, "start"): _no_thread,
        (programs, "find_program"): _program,
        (database, "PAGE_BYTES"): PAGE_BYTES,
        (LOG, "handlers"): [_Listener(world)],
        (LOG, "propagate"): False,
    }


class Interposed:
    """The replacements of one world; may be entered again while entered."""

    def __init__(self, world: World) -> None:
        self._there = _replacements(world)
        self._is_entered = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self._is_entered:
            yield
            return
        real = {(where, what): getattr(where, what) for where, what in self._there}
        self._is_entered = True
        try:
            for (where, what), instead in self._there.items():
                setattr(where, what, instead)
            yield
        finally:
            for (where, what), was in real.items():
                setattr(where, what, was)
            self._is_entered = False

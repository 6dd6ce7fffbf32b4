"""Detects runs whose program has ended the daemon before: they fail by name, instead of being resumed to end it again.

The traces of former lives (`runtime/guard`) condemn a run for either of two reasons:

- its program held the interpreter for longer than the daemon can be silent, or could not be stopped within a phase when
  its run was to end. The guard has observed that itself, so once is enough;
- the last three lives of this shard ended without a trace (a crash, `os._exit`, the kernel's out-of-memory killer) in
  the very same method of the very same tick. Three kills of a healthy daemon from outside don't hit the same place
  three times, unless a phase takes so long that every kill hits it; and a clean end, or one outside of programs,
  restarts the count.

Condemned runs are kept in a file, because the daemon may end again before the log records that the run has failed.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from daemon.runtime.guard import READING, Left, Place
from shoal.api.errors import ShoalError

log = logging.getLogger("shoal.guard")

FILE: Final = "fatal_ends.json"
ENDS_IN_A_ROW: Final = 3
CONDEMNED_MAX: Final = 64
FRAMES_SHOWN: Final = 8
OURS: Final = ("/daemon/runtime/", "/daemon/services/", "/shoal/lockstep/", '/shoal/engine/engine.py"')


class Condemned(ShoalError):
    """A program that has ended the daemon is not run again."""


class FormerLives:
    """What is known of former lives. `disk` is the folder's: runs on another disk are other runs."""

    def __init__(self, folder: Path, disk: int, left: Left | None) -> None:
        self._path, self._disk = folder / FILE, disk
        self._ends: list[tuple[int, list[Place]]] = []
        """The last lives that ended without a trace: each with the places of programs at its end."""
        self._condemned: dict[tuple[int, bool], str] = {}
        """The reasons, by run and whether its results were being read."""
        self._load()
        if left is not None and left.disk == disk and all(left.life != life for life, _ in self._ends):
            self._judge(left)
        self._keep()

    def check(self, run: int, *, reading: bool = False) -> None:
        """Raises `Condemned` if a run must not continue, or its results must not be read."""
        why = self._condemned.get((run, reading))
        if why is not None:
            raise Condemned(why)

    def forget(self, run: int) -> None:
        """Forgets a run that the log has ended."""
        if self._condemned.pop((run, False), None) is not None:
            self._keep()

    def _judge(self, left: Left) -> None:
        if left.guilty is not None:
            self._ends.clear()
            where, seconds, stack = left.guilty.told(), f"{left.held_seconds:.0f} s", _shown(left.stack)
            if left.held_seconds:
                told = f"the program held the interpreter for {seconds} in {where}, and nothing else could run"
                advice = "give it smaller pieces of work, or code that releases the interpreter"
            else:
                told = f"the program did not return from {where}, and could not be interrupted"
                advice = "limit its waits, and don't catch BaseException"
            log.error("the daemon was started again: run %d: %s%s", left.guilty.run, told, stack)
            self._condemn(left.guilty, f"{told}: {advice}{stack}")
            return
        running = [place for place in left.running if place.run]
        if left.is_clean or not running:
            self._ends.clear()
            return
        self._ends = [*self._ends, (left.life, running)][-ENDS_IN_A_ROW:]
        for place in running:
            times = sum(place in places for _, places in self._ends)
            log.error("the daemon had died silently, with run %d in %s (%d in a row)", place.run, place.told(), times)
            if times >= ENDS_IN_A_ROW:
                told = f"the daemon has ended {times} times in a row with the program in {place.told()}"
                self._condemn(place, f"{told}: does its native code crash, does it exit, does memory run out?")

    def _condemn(self, place: Place, why: str) -> None:
        if place.run:
            self._condemned[place.run, place.where == READING] = why
            for oldest in list(self._condemned)[:-CONDEMNED_MAX]:
                del self._condemned[oldest]

    # -- the file --------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Ignores a damaged file: the file only ever saves one more crash."""
        try:
            known: Any = json.loads(self._path.read_text("utf-8"))
            if known["disk"] == self._disk:
                self._ends = [
                    (int(life), [Place(*map(int, place)) for place in places]) for life, places in known["ends"]
                ]
                self._condemned = {(int(run), bool(reading)): str(why) for run, reading, why in known["condemned"]}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not in this daemon's format, and is replaced: %s", self._path, error)

    def _keep(self) -> None:
        known = {
            "disk": self._disk,
            "ends": self._ends,
            "condemned": [(*key, why) for key, why in self._condemned.items()],
        }
        beside = self._path.with_suffix(".partial")
        try:
            beside.write_text(json.dumps(known), "utf-8")
            os.replace(beside, self._path)
        except OSError as error:  # a full disk: only this life knows what is condemned
            log.warning("%s cannot be written: %s", self._path, error)


def _shown(stack: str) -> str:
    """Returns the program's own part of a stack, the innermost call first."""
    shown = []
    for line in stack.splitlines():
        if any(ours in line for ours in OURS):
            break
        shown.append(line)
    return "".join(f"\n{line}" for line in shown[:FRAMES_SHOWN])

"""A process and its descendants: their memory, their processor time, and their end. Uses Linux's /proc.

psutil would work too, but the measured processes also import this module, and it would add 3 MB to each.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Returns the direct and indirect children of `pid`; parents before their children."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain anything; the state and the parent follow it.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for each in found:
        found += sorted(parents.get(each, []))
    return found[1:]


def peak_mib() -> float:
    """Returns this process's and its live descendants' peak resident memory, summed; shared memory counts in each."""
    peaks = [_high_water_kib(pid) for pid in (os.getpid(), *descendants(os.getpid()))]
    if not any(peaks):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return sum(peaks) / 1024


def _high_water_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


class Stopwatch:
    """Wall time, and processor time of this process and its live descendants, from its creation to `stop`.

    The descendants' time has a resolution of 10 ms. Finding them takes milliseconds, which are not counted.
    """

    def __init__(self) -> None:
        self._others = _others_cpu_seconds()
        self._cpu, self._began = time.process_time(), time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """Returns the seconds of wall time and of processor time."""
        ended, cpu = time.perf_counter(), time.process_time()
        return ended - self._began, cpu - self._cpu + _others_cpu_seconds() - self._others


def _others_cpu_seconds() -> float:
    return sum(map(_cpu_ticks, descendants(os.getpid()))) / os.sysconf("SC_CLK_TCK")


def _cpu_ticks(pid: int) -> int:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # utime and stime, the 14th and 15th of proc(5)
    return 0


def end(pid: int) -> None:
    """Kills `pid` and all its descendants, even outside its process group."""
    for each in [*descendants(pid), pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)

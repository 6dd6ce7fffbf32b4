"""Everything that a campaign creates carries its name, so that a later start can clean up after a killed one.

The name is `shoal-chaos-PID-STARTED`: the process and its start time. If that process is gone, everything with its name
is removed: daemons and switches with that folder on their command line, namespaces, mounts, and the folder, unless it
was kept on purpose.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

PREFIX: Final = "shoal-chaos-"
KEPT: Final = "kept"
BASE: Final = Path("/tmp")
"""Paths of Unix sockets must be short. mkdir creates the folder in it, for this user alone."""
GONE_SECONDS: Final = 10.0


def own_name() -> str:
    """Returns a name for this process."""
    return f"{PREFIX}{os.getpid()}-{_started(os.getpid())}"


def sweep(base: Path = BASE) -> list[str]:
    """Removes what killed campaigns left behind, and returns their names."""
    names = {path.name for path in base.glob(f"{PREFIX}*")} | {space.rpartition("-")[0] for space in namespaces()}
    found = sorted(name for name in names if _orphaned(name))
    return [name for name in found if remove(name, base)]


def remove(name: str, base: Path = BASE, keep: bool = False) -> bool:
    """Ends and removes everything with this name; returns whether there was anything. With `keep`, the folder stays."""
    folder = base / name
    processes = processes_of(folder)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + GONE_SECONDS
    while any(_started(pid) for pid in processes) and time.monotonic() < until:
        time.sleep(0.02)
    spaces = [space for space in namespaces() if space.rpartition("-")[0] == name]
    for space in spaces:
        subprocess.run(["ip", "netns", "del", space], check=False)
    mounts = mounts_of(folder)
    for mount in sorted(mounts, reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    if keep and folder.exists():
        (folder / KEPT).touch()
    there = folder.exists() and not (folder / KEPT).exists()
    if there:
        shutil.rmtree(folder, ignore_errors=True)
    return bool(processes or spaces or mounts or there)


def processes_of(folder: Path) -> list[int]:
    """Returns daemons and switches that were started for this folder."""
    inside = os.fsencode(folder) + b"/"
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            ours = b"--config" in words or any(word.endswith(b"tap_switch.py") for word in words)
            if ours and any(word.startswith(inside) for word in words):
                found.append(int(path.parent.name))
    return found


def namespaces() -> list[str]:
    """Returns the network namespaces of any campaign."""
    with contextlib.suppress(OSError):
        return sorted(name for name in os.listdir("/run/netns") if name.startswith(PREFIX))
    return []


def mounts_of(folder: Path) -> list[str]:
    """Returns the mounts below a folder."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [target for target in (line.split()[1] for line in lines) if target.startswith(f"{folder}/")]


def _orphaned(name: str) -> bool:
    pid, _, started = name.removeprefix(PREFIX).partition("-")
    return pid.isdecimal() and started.isdecimal() and _started(int(pid)) != int(started)


def _started(pid: int) -> int | None:
    """Returns when a process began, in clock ticks since boot (proc(5), field 22), or None if it is gone or a zombie.

    psutil's `create_time` is unsuitable for a name: it uses the wall clock, and changes when that is set.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])

"""The memory of daemons: idle, and per edge of a loaded graph.

Resident memory is as the kernel counts it (`smaps_rollup`), including shared libraries. An idle daemon's floor is a
Python process that has imported what every daemon needs and does nothing; an edge's floor is the size that the parts
report. After a load, memory is read once all daemons have settled: what they have not released by then counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.daemons import Daemons, daemons
from bench.figures import Aim, Row, Sample
from bench.graphs import GraphFiles
from bench.loads import rmat_files

SHARDS = 4
DAEMON_AIM, EDGE_AIM = Aim(value=80), Aim(value=80)
MIB = 1 << 20
LOOK_SECONDS, STEADY_LOOKS, SETTLE_SECONDS_MAX = 0.25, 12, 30.0
STEADY_BYTES = 256 << 10

BARE = """
import asyncio, sqlite3, sys
import click, mmh3, msgpack, numpy, prometheus_client, pydantic, zmq
sys.stdout.write(open("/proc/self/smaps_rollup").read())
"""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of a process: resident, and the part not shared with others."""

    resident: int
    own: int

    @classmethod
    def parse(cls, rollup: str) -> Held:
        """Parses the text of `smaps_rollup`.

        >>> Held.parse("Rss: 8 kB\\nPrivate_Clean: 1 kB\\nPrivate_Dirty: 2 kB\\n")
        Held(resident=8192, own=3072)
        """
        lines = (line.split() for line in rollup.splitlines())
        sizes = {words[0]: int(words[1]) << 10 for words in lines if words[-1] == "kB"}
        return cls(sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"])


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Returns the MiB of an idle daemon, the bytes per edge, and the peak of a load."""
    turns = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        tell("R-MAT 18 is made")
        files = rmat_files(Path(folder))
        tell(f"{SHARDS} daemons start")
        with daemons(SHARDS) as ours:
            idle = _settled(ours)
            yield _idle_row(idle)
            for each in files:
                tell(f"{each.words} is held by {SHARDS} daemons")
                yield from _rows(ours, each, turns, [held.resident for held in idle])


def _idle_row(idle: list[Held]) -> Row:
    bare = Held.parse(subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True).stdout)
    pairs = tuple((Sample(held.resident / MIB), Sample(bare.resident / MIB)) for held in idle)
    own = max(held.own for held in idle) / MIB
    what = f"an idle daemon, resident ({own:.0f} MiB its own); floor: its libraries, imported"
    return Row("memory", what, "MiB", pairs, DAEMON_AIM, {"own_mib": own})


def _rows(ours: Daemons, files: GraphFiles, turns: int, idle: list[int]) -> Iterator[Row]:
    held, worst, largest, left = [], [], [], 0
    for turn in range(turns):
        for pid in ours.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
        graph = ours.session.load(f"{files.name}-{turn}", nodes=files.nodes, edges=files.edges)
        edges, parts = graph.edge_count, [part["bytes"] for part in graph.info["shards"].values()]
        highest = [_highest(pid) - before for pid, before in zip(ours.pids, idle, strict=True)]
        resident = sum(each.resident for each in _settled(ours))
        floor = Sample(sum(parts) / edges)
        held.append((Sample((resident - sum(idle)) / edges), floor))
        worst.append((Sample(sum(highest) / edges), floor))
        largest.append((Sample(max(highest) / edges), Sample(max(parts) / edges)))
        ours.session.drop(graph.name)
        left = sum(each.resident for each in _settled(ours)) // SHARDS
    what = f"{files.words}, held by {SHARDS} daemons; floor: the parts alone"
    yield Row("memory", what, "B/edge", tuple(held), EDGE_AIM, {"left_mib_a_daemon": left / MIB})
    what = f"{files.words}, all {SHARDS} daemons, each at its worst moment"
    yield Row("memory", what, "B/edge", tuple(worst))
    what = f"{files.words}, the one that takes it in, at its worst moment; floor: the largest part"
    yield Row("memory", what, "B/edge", tuple(largest), EDGE_AIM)


def _settled(ours: Daemons) -> list[Held]:
    """Returns the daemons' memory once it has not changed for a while."""
    until, looks = time.monotonic() + SETTLE_SECONDS_MAX, list[int]()
    while True:
        held = [Held.parse(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in ours.pids]
        looks = [*looks, sum(each.resident for each in held)][-STEADY_LOOKS:]
        steady = len(looks) == STEADY_LOOKS and max(looks) - min(looks) < STEADY_BYTES * len(held)
        if steady or time.monotonic() > until:
            return held
        time.sleep(LOOK_SECONDS)


def _highest(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10

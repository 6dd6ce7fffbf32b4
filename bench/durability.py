"""The cost of durability: a tick whose state is kept on the disks of R shards, beside the same tick and a bare commit.

A checkpoint's floor is the indispensable work: the tick itself, and one SQLite commit (WAL, synchronous) of the bytes
that one shard writes for it, for its own partitions and those that it keeps for others. If only every tenth tick is
kept, the floor includes a tenth of the commit. A tick is the mean over a run, to include its checkpoints.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import shoal
from bench.daemons import Daemons, daemons
from bench.figures import Aim, Row, Sample
from bench.graphs import DEBIAN
from bench.programs import NotedPageRank
from bench.rmat import rmat
from shoal.client.session import Graph
from shoal.engine.engine import state_bytes

SHARDS = 3
CADENCES = {1: "every tick", 10: "every 10th tick"}
RESTART_AIM = Aim(value=5.0)


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Measures PageRank on the Debian graph with R copies, then the restart of one of three daemons."""
    turns, ticks = (3, 60) if quick else (5, 200)
    for replicas in (1, 2, 3):
        tell(f"{SHARDS} daemons start, {replicas} copies of each partition")
        with daemons(SHARDS, replicas=replicas) as ours:
            graph = ours.session.load("deps", nodes=DEBIAN / "nodes.csv.gz", edges=DEBIAN / "edges.csv.gz")
            nbytes = state_bytes(NotedPageRank, graph.node_count) * replicas // SHARDS
            yield from _checkpoints(ours, graph, replicas, nbytes, turns, ticks, tell)
    yield _restart(turns, tell)


def _checkpoints(
    ours: Daemons, graph: Graph, replicas: int, nbytes: int, turns: int, ticks: int, tell: Callable[[str], None]
) -> Iterator[Row]:
    bare = [(_tick_ms(ours, graph, ticks, -1), _commit_ms(nbytes)) for _ in range(turns)]
    pairs = tuple((Sample(tick), Sample(commit)) for tick, commit in bare)
    per_second = 1000 / statistics.median(tick for tick, _ in bare)
    what = f"tick, R = {replicas}, nothing kept; floor: a bare commit of {nbytes / 1e6:.2f} MB"
    yield Row("durability", what, "ms", pairs, notes={"ticks_per_second": per_second, "bytes": nbytes})
    for cadence, words in CADENCES.items():
        tell(f"{replicas} copies, the state is kept {words}")
        kept = []
        for _ in range(turns):
            mine, tick = _tick_ms(ours, graph, ticks, cadence), _tick_ms(ours, graph, ticks, -1)
            kept.append((Sample(mine), Sample(tick + _commit_ms(nbytes) / cadence)))
        per_second = 1000 / statistics.median(mine.value for mine, _ in kept)
        what = f"tick, R = {replicas}, kept {words}; {per_second:,.0f} ticks/s"
        yield Row("durability", what, "ms", tuple(kept), notes={"ticks_per_second": per_second, "bytes": nbytes})


def _tick_ms(ours: Daemons, graph: Graph, ticks: int, checkpoint: int) -> float:
    """Returns the mean tick of a run, without its first one."""
    graph.run("bench-pagerank", notes=str(ours.notes), length=ticks, timeout=120.0, checkpoint=checkpoint)
    return statistics.fmean(ours.last_ticks()[1:]) / 1e6


def _commit_ms(nbytes: int) -> float:
    """Returns the median of some commits of this many bytes, each replacing the previous one."""
    payload, times = bytes(nbytes), []
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        database = sqlite3.connect(Path(folder, "floor.db"), isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE state (id INTEGER PRIMARY KEY, bytes BLOB)")
        for _ in range(15):
            began = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (payload,))
            database.execute("COMMIT")
            times.append((time.perf_counter() - began) * 1e3)
        database.close()
    return statistics.median(times)


def _restart(turns: int, tell: Callable[[str], None]) -> Row:
    """Measures the time from `kill -9` to a ready member of the view, with a million edges; floor: the bare program."""
    tell("3 daemons start; R-MAT 16")
    with daemons(SHARDS) as ours:
        source, target = rmat(16)
        graph = ours.session.load("rmat", data=shoal.from_arrays(source, target))
        pairs = []
        for _ in range(turns):
            ours.cluster.kill([SHARDS])
            began = time.perf_counter()
            ours.cluster.start([SHARDS], wait=True)
            seconds = time.perf_counter() - began
            fetched = ours.shards[SHARDS - 1].status() or {}
            pairs.append((Sample(seconds), Sample(_bare_start())))
        notes = {"edges": graph.edge_count, "repair": fetched.get("repair")}
        what = f"restart of 1 of 3 until it is in the view, {graph.edge_count / 1e6:.1f}M edges; floor: --version"
        return Row("durability", what, "s", tuple(pairs), RESTART_AIM, notes)


def _bare_start() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-m", "daemon", "--version"], check=True, capture_output=True)
    return time.perf_counter() - began

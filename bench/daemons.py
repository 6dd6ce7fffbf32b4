"""Real daemons to measure: a dev cluster in its own folder, where only the bench's programs are installed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import shoal
from bench.figures import Sample, median_ms, ticks_of
from bench.programs import ENTRY_POINTS
from daemon.cli.dev_cluster import DevCluster, DevShard
from shoal.client.session import Graph, Session

WARM_UP_TICKS = 100
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Daemons:
    """A running cluster and a session with its first daemon."""

    shards: list[DevShard]
    session: Session
    notes: Path
    cluster: DevCluster
    _pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pids = [pid for shard in self.shards if (pid := shard.pid()) is not None]

    @property
    def pids(self) -> tuple[int, ...]:
        """The daemons' processes."""
        return tuple(self._pids)

    def cpu_ms(self) -> float:
        """Returns the processor time, user and system, that all daemons have spent so far."""
        return sum(_cpu_ms(pid) for pid in self._pids)

    def memory_bytes(self) -> int:
        """Returns the sum of the daemons' private memory."""
        return sum(_private_bytes(pid) for pid in self._pids)

    def tick_ms(self, graph: Graph, program: str, ticks: int, warm_up: int = WARM_UP_TICKS) -> Sample:
        """Runs a program; returns the median tick of the first shard, and all daemons' processor time per tick.

        It writes no checkpoint before its end.
        """
        before = self.cpu_ms()
        length = warm_up + ticks
        graph.run(program, notes=str(self.notes), length=length, timeout=120.0, checkpoint=-1)
        cpu = (self.cpu_ms() - before) / length
        return Sample(median_ms(self.last_ticks()[warm_up:]), cpu)

    def last_ticks(self) -> list[int]:
        """Returns how long each tick of the last run took on the first shard, in nanoseconds."""
        return ticks_of(json.loads((self.notes / self.shards[0].name).read_text()))


@contextmanager
def daemons(count: int, encryption: str = "curve", replicas: int = 2) -> Iterator[Daemons]:
    """Runs this many daemons in one view; always stops them and removes their folder at the end."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        notes, site = Path(folder, "notes"), Path(folder, "site")
        notes.mkdir()
        _install_programs(site)
        cluster = DevCluster(Path(folder, "d"))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(site), str(REPOSITORY), *([before] if before else [])])
        try:
            shards = cluster.up(count, encryption, replicas=replicas)
            with shoal.connect(str(shards[0].socket)) as session:
                yield Daemons(shards, session, notes, cluster)
        finally:
            cluster.down()
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def _install_programs(site: Path) -> None:
    """Creates what Python accepts as an installed distribution: a folder with a name, a version and entry points."""
    info = site / "shoal_bench-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shoal-bench\nVersion: 0\n")
    lines = [f"{name} = {program.__module__}:{program.__name__}" for name, program in ENTRY_POINTS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[shoal.programs]", *lines, ""]))


def _private_bytes(pid: int) -> int:
    return psutil.Process(pid).memory_full_info().uss


def _cpu_ms(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return (times.user + times.system) * 1000

"""Clusters of real daemons that know the trial programs, and queries to them. Every wait has a bound."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from click.testing import CliRunner, Result

import shoal
from daemon.cli import main
from daemon.cli.dev_cluster import DevCluster, DevShard
from daemon.config import Config, load
from shoal.client.admin_protocol import AdminConnection
from tests import trials

T = TypeVar("T")
POLL_SECONDS = 0.02
DEBIAN = Path(__file__).parents[2] / "examples" / "data" / "debian"


def wait_for(look: Callable[[], T], seconds: float, what: str) -> T:
    """Returns the result of `look`, as soon as it is true."""
    until = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < until, f"not after {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return seen


def wait_for_line(shard: DevShard, words: str, since: int = 0) -> None:
    """Waits until a running daemon has logged `words`, from character `since` on: it may answer before it logs."""
    wait_for(lambda: words in shard.log.read_text()[since:], 10, f"{shard.name} logs {words!r}")


class TrialCluster(DevCluster):
    """A dev cluster with a few more settings, whose daemons have the trial programs installed."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder)
        self._settings = settings

    def _make(self, shards: Sequence[DevShard], encryption: str, replicas: int) -> None:
        super()._make(shards, encryption, replicas)
        for shard in shards:
            shard.config.write_text(f"{shard.config.read_text()}\n{self._settings}")

    def _start(self, shard: DevShard) -> None:
        if self not in STARTED:
            STARTED.append(self)
        with trials_installed(self.folder / "site"):
            super()._start(shard)

    def down(self, timeout_seconds: float = 10.0) -> tuple[list[str], list[str]]:
        """Stops all daemons, as every dev cluster does."""
        if self in STARTED:
            STARTED.remove(self)
        return super().down(timeout_seconds)


STARTED: list[TrialCluster] = []
"""Clusters that are not stopped yet: a failing test shows their logs."""


@contextlib.contextmanager
def trials_installed(site: Path) -> Iterator[None]:
    """Installs the trial programs for processes started in the block: a tiny distribution on their path, as by pip."""
    info = site / "shoal_trials-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trials.__file__, site / "shoal_trials.py")
    lines = [f"{program.name} = shoal_trials:{program.__name__}" for program in trials.PROGRAMS]
    lines.append("trial-gone = shoal_trials_gone:Nothing")  # its module was removed by hand
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shoal-trials\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[shoal.programs]", *lines, ""]))
    with importing_first(site):
        yield


@contextlib.contextmanager
def importing_first(folder: Path) -> Iterator[None]:
    """Makes processes started in the block search this folder for modules first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


def ask(shard: DevShard, command: str, **args: Any) -> dict[str, Any]:
    """Returns the result of one command."""
    with AdminConnection(shard.socket) as connection:
        return connection.call(command, args)[0]


def shoalctl(shard: DevShard, *words: str) -> Result:
    """Runs shoalctl in this process: on a busy machine a new process takes a second to start."""
    return CliRunner().invoke(main, ["--socket", str(shard.socket), *words])


def said(shard: DevShard, *words: str) -> Any:
    """Returns what it prints with --json, once it has succeeded."""
    result = shoalctl(shard, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def config_of(shard: DevShard) -> Config:
    """Returns its configuration."""
    return load(shard.config, {})


def metrics(shard: DevShard, prefix: str = "shoal_") -> dict[str, float]:
    """Returns series and their values."""
    text = ask(shard, "metrics", prefix=prefix)["text"]
    return {
        series: float(value)
        for series, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }


def summed(shard: DevShard, metric: str, **labels: str) -> float:
    """Returns the sum of a metric over all series with these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    found = metrics(shard, metric)
    return sum(value for series, value in found.items() if all(label in series for label in wanted))


def long_turns(shard: DevShard, seconds: str) -> int:
    """Returns how many turns of its control loop took more processor time than this, one of the metric's bounds."""
    found = metrics(shard, "shoal_slow_turn_seconds")
    return int(found["shoal_slow_turn_seconds_count"] - found[f'shoal_slow_turn_seconds_bucket{{le="{seconds}"}}'])


def well(shards: Sequence[DevShard]) -> bool:
    """Whether all are up, in one view, with a leader, and see each other alive."""
    told = [shard.status() or {} for shard in shards]
    return all(
        status.get("state") == "joined" and status.get("leader") and status["members"]["alive"] == len(shards)
        for status in told
    )


def lives(shards: Sequence[DevShard]) -> list[tuple[int | None, int]]:
    """Returns each one's process and life: a daemon can begin a new life under the same process id."""
    return [(shard.pid(), ask(shard, "status")["generation"]) for shard in shards]


@contextlib.contextmanager
def counting(shard: DevShard, graph: str, nodes: int = 500, **options: Any) -> Iterator[str]:
    """Starts an endless run on a small graph of that name and yields it once it ticks; both are gone afterwards."""
    data = shoal.from_arrays(list(range(nodes)), [(i * 7 + 1) % nodes for i in range(nodes)])
    with shoal.connect(str(shard.socket)) as session:
        session.load(graph, data=data)
    run = ask(shard, "run start", program="trial-count", graph=graph, ticks=10**9, **options)["run"]

    def shown() -> dict[str, Any]:
        return ask(shard, "run show", run=run)

    try:
        wait_for(lambda: shown()["tick"] > 5, 20, "ticks")
        yield run
    finally:
        if shown()["state"] == "running":
            ask(shard, "run stop", run=run)
        wait_for(lambda: shown()["state"] in ("stopped", "failed"), 30, "the end of the run")
        ask(shard, "graph drop", graph=graph)


def leader_of(shard: DevShard) -> str | None:
    """Returns the leader, as this shard sees it."""
    return (shard.status() or {}).get("leader")


def kill(shard: DevShard) -> None:
    """Sends kill -9, and waits until it is gone."""
    pid = shard.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: shard.pid() is None, 10, f"{shard.name} killed")


def exit_status(pid: int, seconds: float) -> int:
    """Returns a child's exit status; leaves the child for others to collect."""

    def ended() -> Any:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    told = wait_for(ended, seconds, f"the end of process {pid}")
    return int(told.si_status) if told.si_code == os.CLD_EXITED else -int(told.si_status)


def processes_of(folder: Path) -> list[int]:
    """Returns live processes that were started with a path in this folder."""
    found = [each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or ())]
    return [each.pid for each in found if each.pid != os.getpid()]

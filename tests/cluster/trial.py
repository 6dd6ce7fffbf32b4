"""Clusters of real daemons that know the trial programs, and questions to them. What is waited for has a bound."""

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
    """What `look` gives, as soon as it is true."""
    until = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < until, f"not after {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return seen


def wait_for_line(shard: DevShard, words: str, since: int = 0) -> None:
    """Until a daemon that runs has logged `words`, from character `since` on: it may answer before it logs."""
    wait_for(lambda: words in shard.log.read_text()[since:], 10, f"{shard.name} logs {words!r}")


class TrialCluster(DevCluster):
    """A dev cluster with a few settings more, whose daemons find the trial programs installed."""

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
        """Stop all, as every dev cluster does."""
        if self in STARTED:
            STARTED.remove(self)
        return super().down(timeout_seconds)


STARTED: list[TrialCluster] = []
"""Those that are not stopped yet: a failing test shows their logs."""


@contextlib.contextmanager
def trials_installed(site: Path) -> Iterator[None]:
    """Processes started meanwhile have the trial programs: a tiny distribution on their path, as pip would put it."""
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
    """Processes started meanwhile look for modules in this folder before all others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


def ask(shard: DevShard, command: str, **args: Any) -> dict[str, Any]:
    """One command's result."""
    with AdminConnection(shard.socket) as connection:
        return connection.call(command, args)[0]


def shoalctl(shard: DevShard, *words: str) -> Result:
    """shoalctl, in this process: a new one takes a second of a busy machine to start."""
    return CliRunner().invoke(main, ["--socket", str(shard.socket), *words])


def said(shard: DevShard, *words: str) -> Any:
    """What it prints with --json, once it has ended well."""
    result = shoalctl(shard, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def config_of(shard: DevShard) -> Config:
    """The configuration with which it runs."""
    return load(shard.config, {})


def metrics(shard: DevShard, prefix: str = "shoal_") -> dict[str, float]:
    """Series and their values."""
    text = ask(shard, "metrics", prefix=prefix)["text"]
    return {
        series: float(value)
        for series, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }


def summed(shard: DevShard, metric: str, **labels: str) -> float:
    """A metric over all series that carry these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    found = metrics(shard, metric)
    return sum(value for series, value in found.items() if all(label in series for label in wanted))


def long_turns(shard: DevShard, seconds: str) -> int:
    """How many turns of its control loop have taken more processor time than that, one of the metric's bounds."""
    found = metrics(shard, "shoal_slow_turn_seconds")
    return int(found["shoal_slow_turn_seconds_count"] - found[f'shoal_slow_turn_seconds_bucket{{le="{seconds}"}}'])


def well(shards: Sequence[DevShard]) -> bool:
    """Whether all are up, in one view, with a leader, and hold each other alive."""
    told = [shard.status() or {} for shard in shards]
    return all(
        status.get("state") == "joined" and status.get("leader") and status["members"]["alive"] == len(shards)
        for status in told
    )


def lives(shards: Sequence[DevShard]) -> list[tuple[int | None, int]]:
    """Each one's process, and its life: a daemon can begin another one under the same process id."""
    return [(shard.pid(), ask(shard, "status")["generation"]) for shard in shards]


@contextlib.contextmanager
def counting(shard: DevShard, graph: str, nodes: int = 500, **options: Any) -> Iterator[str]:
    """A run without an end on a small graph of that name, which has got going; both are gone afterwards."""
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
    """Who leads, as this one sees it."""
    return (shard.status() or {}).get("leader")


def kill(shard: DevShard) -> None:
    """kill -9, and see it gone."""
    pid = shard.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: shard.pid() is None, 10, f"{shard.name} killed")


def exit_status(pid: int, seconds: float) -> int:
    """How a child ends; it stays there for others to collect."""

    def ended() -> Any:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    told = wait_for(ended, seconds, f"the end of process {pid}")
    return int(told.si_status) if told.si_code == os.CLD_EXITED else -int(told.si_status)


def processes_of(folder: Path) -> list[int]:
    """Living processes that were started with a path in this folder."""
    found = [each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or ())]
    return [each.pid for each in found if each.pid != os.getpid()]

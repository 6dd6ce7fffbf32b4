"""The command line options; a scenario is a name for some of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

KINDS: Final = {
    "kill": "kill -9, and a start some seconds later",
    "never": "kill -9, and no start within the run",
    "pause": "SIGSTOP, and SIGCONT some seconds later",
    "power": "kill -9 of all at once, then all are started",
    "restart": "SIGTERM, and a start once it has left",
    "cut": "two hear nothing of each other",
    "oneway": "one hears nothing of another, who hears it",
    "minority": "fewer than half are cut off from the rest",
    "slow": "everything to and from one is delayed",
    "lossy": "frames to and from one are lost",
    "disk": "one data folder is full",
}
NETWORK: Final = frozenset({"cut", "oneway", "minority", "slow", "lossy"})
ENDS_PROCESSES: Final = frozenset({"kill", "never", "power", "restart", "disk"})


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one campaign."""

    seed: int = 1
    runs: int = 30
    shards: int = 5
    replicas: int = 2
    kinds: tuple[str, ...] = tuple(KINDS)
    kill_at_once: int = 1
    faults_max: int = 3
    seconds: float = 8.0
    ticks: int = 400
    bound: float = 90.0
    defaults: bool = False
    keep: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        if not 3 <= self.shards <= 9:
            raise ValueError("-n: 3 to 9 daemons; fewer have no majority without one of them")
        if not 1 <= self.replicas <= self.shards:
            raise ValueError(f"--replicas: 1 to {self.shards}, as many as there are daemons")
        if not 1 <= self.kill_at_once <= (self.shards - 1) // 2:
            raise ValueError(f"--kill-at-once: 1 to {(self.shards - 1) // 2}: a majority has to stay")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"--faults: there is no {unknown[0]!r}; known are {', '.join(KINDS)}")
        if self.runs < 1 or self.ticks < 1 or self.seconds <= 0 or self.bound <= 0 or self.faults_max < 1:
            raise ValueError("--runs, --ticks, --faults-max, --seconds and --bound: more than nothing")


SCENARIOS: Final = {
    "kills": Options(runs=50, kinds=("kill",), replicas=2, kill_at_once=1, faults_max=1),
    "double-kills": Options(runs=20, kinds=("kill",), replicas=3, kill_at_once=2, faults_max=1),
    "power-cuts": Options(runs=20, kinds=("power",), faults_max=1),
}


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Parses the command line; missing options come from the scenario, or are defaults."""
    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__, epilog=kinds)
    add = parser.add_argument
    add("--scenario", choices=[*SCENARIOS], help="50 runs with a kill each; 20 with two (3 replicas); 20 power cuts")
    add("--seed", type=int, help="the same faults again; without, another one each time")
    add("--runs", type=int)
    add("-n", "--shards", type=int, help="how many daemons")
    add("--replicas", type=int)
    add("--faults", dest="kinds", type=lambda words: tuple(words.split(",")), help="KIND,KIND,...: only these")
    add("--kill-at-once", type=int, help="how many a kill takes")
    add("--faults-max", type=int, help="of one run")
    add("--seconds", type=float, help="what a run takes when nothing happens; it is paced for that")
    add("--ticks", type=int, help="of PageRank; components halt by themselves")
    add(
        "--bound", type=float, help="seconds that a run may take beyond twice the undisturbed one, after its last fault"
    )
    add("--defaults", action="store_true", default=None, help="timings of a real cluster, not those of `dev up`")
    add("--keep", action="store_true", default=None, help="keep folder and logs though nothing failed")
    add("--json", action="store_true", default=None, help="for a machine; the table is for people")
    given = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    base = SCENARIOS.get(given.pop("scenario", ""), Options())
    given.setdefault("seed", time.time_ns() % 1_000_000)
    try:
        return replace(base, **given)
    except ValueError as error:
        parser.error(str(error))

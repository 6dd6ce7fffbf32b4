"""Runs whole clusters in virtual time, from seeds.

python -m tests.simulator --seeds 200                        all scenarios, seeds 0 to 199, on all cores python -m
tests.simulator --seed 7 --scenario leader-killed --verbose
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulator.cluster import Cluster, end_the_last
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.world import World

FAILURES_MAX = 30
PROGRESS_EVERY = 500


@dataclass
class Outcome:
    """The outcome of one scenario with one seed."""

    name: str
    seed: int
    error: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    virtual_ns: int = 0
    seconds: float = 0.0


def run(name: str, seed: int, verbose: bool = False) -> Outcome:
    """Runs one scenario with one seed."""
    outcome, began = Outcome(name, seed), time.perf_counter()
    try:
        cluster = SCENARIOS[name](seed, verbose)
    except Exception:
        outcome.error = traceback.format_exc()
    else:
        _count(outcome, cluster)
        if verbose:
            print(f"fingerprint {cluster.world.fingerprint}")
    end_the_last()  # a pool's process gives no notice when it ends
    outcome.seconds = time.perf_counter() - began
    return outcome


def _count(outcome: Outcome, cluster: Cluster) -> None:
    outcome.events, outcome.virtual_ns = cluster.world.events, cluster.world.now
    outcome.faults = cluster.faults.counts
    counts, invariants = outcome.counts, cluster.invariants
    counts.update(cluster.network.counts + invariants.counts)
    counts["members convicted"] = sum(len(host.diary.failed) for host in cluster.hosts.values())
    counts["late phases named"] = sum(len(host.diary.late) for host in cluster.hosts.values())
    counts["terms led"] = len(invariants.safety.leaders)
    counts["entries committed"] = len(invariants.safety.committed_entries)
    counts["phases run"] = sum(sum(watch.finished.values()) for watch in invariants.runs.values())
    counts["checkpoints committed"] = sum(len(ticks) for ticks in invariants.checkpoints.values())
    counts["times a run was resumed"] = sum(watch.resumed > 0 for watch in invariants.runs.values())
    registry = cluster.registry()
    if registry is not None:
        counts["views"] = registry.epoch
        counts.update(f"runs {record.state}" for record in registry.runs.values())


class Soak:
    """Counts what happened, and keeps the commands that replay the failures."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.seeds_with: dict[str, set[int]] = {}
        self.seconds: Counter[str] = Counter()
        self.failures: list[str] = []
        self.done = self.events = self.virtual_ns = 0

    def add(self, outcome: Outcome) -> None:
        """Adds one outcome."""
        self.done += 1
        self.seconds[outcome.name] += int(outcome.seconds * 1000)
        if outcome.error:
            self.failures.append(replay(outcome.name, outcome.seed))
            print(f"\n{outcome.name} fails with seed {outcome.seed}:\n{outcome.error}{self.failures[-1]}", flush=True)
        self.events += outcome.events
        self.virtual_ns += outcome.virtual_ns
        self.counts.update(outcome.counts)
        self.faults.update(outcome.faults)
        for kind in outcome.faults:
            self.seeds_with.setdefault(kind, set()).add(outcome.seed)

    def summary(self) -> str:
        """Returns how often each thing happened, and in how many seeds each kind of fault."""
        lines = [f"{self.done} scenarios, {self.events} events, {self.virtual_ns / 6e10:.1f} virtual minutes"]
        lines += [f"  {ms / 1000:9.1f}  s of {name}" for name, ms in sorted(self.seconds.items())]
        lines += [f"  {count:9d}  {kind}" for kind, count in sorted(self.counts.items())]
        lines += ["faults, and in how many seeds"]
        lines += [
            f"  {count:9d}  {len(self.seeds_with[kind]):5d}  {kind}" for kind, count in sorted(self.faults.items())
        ]
        lines += [f"{len(self.failures)} failed"] + [f"  {command}" for command in self.failures]
        return "\n".join(lines)


def replay(name: str, seed: int) -> str:
    """Returns the command that replays a scenario."""
    return f"python -m tests.simulator --seed {seed} --scenario {name} --verbose"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=20, help="how many seeds, from --first on")
    which.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--verbose", action="store_true", help="tell every event")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    todo = [(name, seed, options.verbose) for seed in seeds for name in options.scenario or list(SCENARIOS)]
    soak, began = Soak(), time.monotonic()
    for outcome in _outcomes(todo, 1 if options.verbose else min(options.processes, len(todo))):
        soak.add(outcome)
        if options.verbose:
            continue
        if sys.stdout.isatty():
            print(
                f"\rseed {outcome.seed}: {soak.done} scenarios in {time.monotonic() - began:.0f} s", end="", flush=True
            )
        elif soak.done % PROGRESS_EVERY == 0:
            print(f"{soak.done} of {len(todo)} in {time.monotonic() - began:.0f} s", flush=True)
        if len(soak.failures) >= FAILURES_MAX:
            break
    print(f"\n{soak.summary()}\n{time.monotonic() - began:.0f} s")
    return 1 if soak.failures else 0


def _outcomes(todo: Sequence[tuple[str, int, bool]], processes: int) -> Iterator[Outcome]:
    if processes == 1:
        yield from _in_turn(todo)
        return
    World.traces = False  # the processes inherit this
    try:
        with get_context("fork").Pool(processes) as pool:
            yield from pool.imap_unordered(_run, todo, chunksize=1)
    finally:
        World.traces = True


def _in_turn(todo: Iterable[tuple[str, int, bool]]) -> Iterator[Outcome]:
    for each in todo:
        yield _run(each)


def _run(each: tuple[str, int, bool]) -> Outcome:
    return run(*each)


if __name__ == "__main__":
    sys.exit(main())

"""Whole clusters in virtual time, from seeds.

python -m tests.simulator --seeds 200                        all scenarios, seeds 0 to 199
python -m tests.simulator --seed 7 --scenario leader-killed --verbose
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from tests.simulator.cluster import Cluster
from tests.simulator.scenarios import SCENARIOS

FAILURES_MAX = 10


class Soak:
    """Runs scenarios, counts what happened in them, and keeps the commands that replay the failures."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.done = self.events = self.virtual_ns = 0

    def run(self, name: str, seed: int, verbose: bool = False) -> None:
        """One scenario with one seed."""
        try:
            cluster = SCENARIOS[name](seed, verbose)
        except Exception:
            self.failures.append(replay(name, seed))
            print(f"\n{name} fails with seed {seed}:\n{traceback.format_exc()}{self.failures[-1]}", flush=True)
        else:
            self._count(cluster)
            if verbose:
                print(f"fingerprint {cluster.world.fingerprint}")
        self.done += 1

    def _count(self, cluster: Cluster) -> None:
        self.events += cluster.world.events
        self.virtual_ns += cluster.world.now
        for kind, count in (cluster.faults.counts + cluster.network.counts).items():
            self.counts[kind] += count
        self.counts["members convicted"] += sum(len(host.diary.failed) for host in cluster.hosts.values())
        self.counts["late phases named"] += sum(len(host.diary.late) for host in cluster.hosts.values())
        self.counts["terms led"] += len(cluster.invariants.safety.leaders)
        self.counts["entries committed"] += len(cluster.invariants.safety.committed_entries)
        self.counts["phases run"] += sum(sum(run.finished.values()) for run in cluster.invariants.runs.values())
        for host in cluster.members()[:1]:
            for run in host.shard.registry.runs.values():
                self.counts[f"runs {run.state}"] += 1

    def summary(self) -> str:
        """How often each thing happened."""
        lines = [f"{self.done} scenarios, {self.events} events, {self.virtual_ns / 6e10:.1f} virtual minutes"]
        lines += [f"  {count:9d}  {kind}" for kind, count in sorted(self.counts.items())]
        lines += [f"{len(self.failures)} failed"] + [f"  {command}" for command in self.failures]
        return "\n".join(lines)


def replay(name: str, seed: int) -> str:
    """The command that does it again."""
    return f"python -m tests.simulator --seed {seed} --scenario {name} --verbose"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit with 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=20, help="how many seeds, from --first on")
    which.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--verbose", action="store_true", help="tell every event")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    names = options.scenario or list(SCENARIOS)
    soak, began = Soak(), time.monotonic()
    for seed in seeds:
        for name in names:
            soak.run(name, seed, options.verbose)
        if not options.verbose:
            print(f"\rseed {seed}: {soak.done} scenarios in {time.monotonic() - began:.0f} s", end="", flush=True)
        if len(soak.failures) >= FAILURES_MAX:
            break
    print(f"\n{soak.summary()}")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())

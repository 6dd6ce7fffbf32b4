"""A hostile member and strangers attack three daemons during a run; reports the effects on the daemons and the run.

    python -m tests.cluster.siege --messages 50000 --rate 400 --strangers 200 --seed 1

Prints the rate of ticks without and with them, in turn, as the median of the rounds; exit status 1 if a daemon ended, a
member was missing at the end, or ticks fell below `--least` of their rate. On a machine with two cores the attackers
use processor time that the daemons need. So the rate is also given per second of the daemons' own processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner

from daemon.cli import main as shoalctl
from daemon.cli.dev_cluster import DevShard
from shoal.api.errors import Unreachable
from tests.cluster.hostile import speaking
from tests.cluster.strangers import knocking
from tests.cluster.test_operators import OpenToOperators
from tests.cluster.trial import ask, config_of, counting, lives, metrics, wait_for, well

HOSTILE = "mallory"
SETTLE_SECONDS, ROUND_SECONDS = 0.5, 3.0


class Besieged(OpenToOperators):
    """Daemons with the key of one more, hostile, member on their list."""

    def _make(self, shards: Any, encryption: str, replicas: int) -> None:
        super()._make(shards, encryption, replicas)
        made = CliRunner().invoke(shoalctl, ["keygen", "--dir", str(self.folder), "--name", HOSTILE])
        assert made.exit_code == 0, made.output
        with (self.folder / "allowed_keys").open("a") as keys:
            keys.write(made.stdout)


@dataclass(frozen=True)
class Pace:
    """The ticks over a period."""

    ticks: int
    seconds: float
    processor: float

    @property
    def a_second(self) -> float:
        return self.ticks / self.seconds

    @property
    def a_processor_second(self) -> float:
        return self.ticks / self.processor


def processor_seconds(shards: Sequence[DevShard]) -> float:
    """Returns the processor time that the daemons have used."""
    times = [psutil.Process(shard.pid()).cpu_times() for shard in shards]
    return sum(each.user + each.system for each in times)


class Stopwatch:
    """Measures the pace of a run in progress."""

    def __init__(self, shards: Sequence[DevShard], run: str) -> None:
        self._shards, self._run = shards, run
        self._begun = self._now()

    def pace(self) -> Pace:
        """Returns the pace since its creation."""
        now = self._now()
        return Pace(*(int(b - a) if i == 0 else b - a for i, (a, b) in enumerate(zip(self._begun, now, strict=True))))

    def _now(self) -> tuple[float, float, float]:
        tick = float(ask(self._shards[0], "run show", run=self._run)["tick"])
        return tick, time.monotonic(), processor_seconds(self._shards)


def what_is_known(shards: Sequence[DevShard], run: str, generation: int | None = None) -> dict[str, Any]:
    """Returns what a hostile member may know: meaningful names, addresses and numbers."""
    status = ask(shards[0], "status")
    texts = [run, "trial-count", "siege", HOSTILE, "completed", "failed"]
    numbers = [status["epoch"], status["epoch"] + 1]
    for shard in shards:
        config = config_of(shard)
        own = ask(shard, "status")["generation"]
        texts += [shard.name, config.listen.control, config.listen.ticks, f"{shard.name}/{own}"]
        numbers += [own, own + 1]
    return {
        "epoch": status["epoch"],
        "generation": generation if generation is not None else time.time_ns(),
        "founding": status.get("founding") or "",
        "texts": texts,
        "numbers": numbers,
    }


@contextlib.contextmanager
def besieged(
    shards: Sequence[DevShard],
    key: Path,
    known: dict[str, Any],
    *,
    messages: int,
    rate: float,
    strangers: float,
    seed: int,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Attacks all at once: messages go to all daemons, strangers connect to the first. Yields the processes, once they
    have begun.
    """
    attackers: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as stack:
        configs = [shard.config for shard in shards]
        attackers.append(stack.enter_context(speaking(configs, key, known, messages=messages, rate=rate, seed=seed)))
        if strangers:
            seconds = messages / rate
            stack.enter_context(
                knocking(shards[0].config, seconds, rate=strangers, hold=100, sources=20, started=attackers.append)
            )
        yield attackers


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=400.0, help="messages a second, to all daemons together")
    parser.add_argument("--strangers", type=float, default=200.0, help="connections a second")
    parser.add_argument("--interval", type=float, help="seconds a tick, for a paced run")
    parser.add_argument("--least", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="siege-", dir="/tmp") as folder:
        cluster = Besieged(Path(folder) / "c")
        try:
            return _siege(cluster.up(3, "curve", 60.0), options)
        finally:
            cluster.down()


def _siege(shards: Sequence[DevShard], options: argparse.Namespace) -> int:
    before = lives(shards)
    key = shards[0].folder.parent / f"{HOSTILE}.secret_key"
    paced = {} if options.interval is None else {"interval_seconds": options.interval}
    with counting(shards[0], "siege", **paced) as run:
        known = what_is_known(shards, run)
        with besieged(
            shards,
            key,
            known,
            messages=options.messages,
            rate=options.rate,
            strangers=options.strangers,
            seed=options.seed,
        ) as attackers:
            pairs = list(_rounds(shards, run, attackers))
        ended = [shard.name for shard, life in zip(shards, before, strict=True) if _life(shard) != life]
        if not ended:
            wait_for(lambda: well(shards), 60, "all three in one view")
    if not pairs:
        print("the attackers were through before anything could be measured: more --messages, or a lower --rate")
        return 1
    wall = statistics.median(during.a_second / quiet.a_second for quiet, during in pairs)
    processor = statistics.median(during.a_processor_second / quiet.a_processor_second for quiet, during in pairs)
    rates = {name: statistics.median(pace.a_second for pace in paces)
             for name, paces in zip(("quiet", "besieged"), zip(*pairs, strict=True), strict=True)}  # fmt: skip
    share = {"share": wall, "share_of_processor": processor, "rounds": len(pairs)}
    print(json.dumps({**rates, **share, "ended": ended}, indent=2))
    for shard in shards:
        counted = {name: int(n) for name, n in metrics(shard, "shoal_").items() if n and _says_what_was_refused(name)}
        print(shard.name, json.dumps(counted), *_lines_of_interest(shard), sep="\n  ")
    return int(bool(ended) or wall < options.least)


def _life(shard: DevShard) -> tuple[int | None, int] | None:
    """Returns it as `lives` does; None if the daemon does not answer."""
    with contextlib.suppress(Unreachable):
        return lives([shard])[0]
    return None


def _rounds(
    shards: Sequence[DevShard], run: str, attackers: Sequence[subprocess.Popen[str]]
) -> Iterator[tuple[Pace, Pace]]:
    """Yields the pace without and with the attackers, in turn, until they finish, so that the machine's other load
    affects both alike. Meanwhile they are stopped, and their connections stay.
    """
    while all(attacker.poll() is None for attacker in attackers):
        paces = []
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for attacker in attackers:
                attacker.send_signal(number)
            time.sleep(SETTLE_SECONDS)
            watch = Stopwatch(shards, run)
            time.sleep(ROUND_SECONDS)
            paces.append(watch.pace())
        if all(attacker.poll() is None for attacker in attackers):
            yield paces[0], paces[1]


def _says_what_was_refused(name: str) -> bool:
    return name.startswith(("shoal_dropped_total", "shoal_handshakes_failed_total", "shoal_events_total"))


def _lines_of_interest(shard: DevShard) -> list[str]:
    return [line[:240] for line in shard.log.read_text().splitlines() if " info " not in line]


if __name__ == "__main__":
    sys.exit(main())

"""Bytes that three daemons send over slow links, beside those over fast ones.

Each daemon has its own network, on a switch in user space (`chaos.tap_switch`). A slow link sends 5 Mbit/s, and delays
every message by 25 ms. The bytes of all frames at the interfaces are counted, including TCP's retransmissions. Idle
daemons also send data: what they send in the same time is subtracted.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import shoal
from bench.figures import Aim, Row, Sample
from bench.graphs import DEBIAN
from chaos import leftovers, nets
from chaos.fleet import Fleet
from chaos.nets import Nets
from shoal.client.session import Session

SHARDS: Final = 3
BYTES_PER_SECOND: Final = 625_000
QUEUE_BYTES: Final = 128 << 10
DELAY_SECONDS: Final = 0.025
TICKS: Final = 20
INTERVAL_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 600.0
AIMS: Final = {"load": Aim(ratio=1.3), "ticks": Aim(ratio=1.2), "result": Aim(ratio=1.3), "repair": Aim(ratio=1.3)}
WORDS: Final = {
    "load": "load Debian",
    "ticks": f"{TICKS} ticks of pagerank, one a second",
    "result": "read its result on another daemon",
    "repair": "make a third of all copies again, on an empty disk",
}


@dataclass
class Crossing:
    """Three daemons, each behind its link."""

    hosts: Nets
    fleet: Fleet

    def session(self, number: int = 1) -> Session:
        """Connects to one of them."""
        return shoal.connect(str(self.fleet[number].shard.socket), PATIENCE_SECONDS)

    def load(self) -> None:
        with self.session() as session:
            session.load("debian", nodes=DEBIAN / "nodes.csv.gz", edges=DEBIAN / "edges.csv.gz")

    def ticks(self) -> None:
        with self.session() as session:
            session.graph("debian").run("pagerank", ticks=TICKS, interval=INTERVAL_SECONDS)

    def result(self) -> None:
        with self.session(2) as session:
            assert session.get_run("pagerank-1").result("rank").digest

    def repair(self) -> None:
        """Kills a daemon, replaces its disk, and waits until it is back."""
        victim = self.fleet[SHARDS]
        victim.signal(signal.SIGKILL)
        victim.wait()
        shutil.rmtree(victim.shard.folder / "data")
        before = victim.shard.log.stat().st_size
        victim.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while b" fetched: " not in victim.shard.log.read_bytes()[before:].replace(b"to be fetched: ", b""):
            assert time.monotonic() < until, victim.shard.last_words()
            time.sleep(0.1)

    def measured(self) -> dict[str, float]:
        """Returns the megabytes sent during each operation."""
        idle = self._sent(lambda: time.sleep(IDLE_SECONDS), 0.0) / IDLE_SECONDS
        return {name: self._sent(getattr(self, name), idle) / 1e6 for name in WORDS}

    def _sent(self, do: Callable[[], None], idle: float) -> float:
        before, began = self.hosts.sent_bytes(), time.monotonic()
        do()
        return self.hosts.sent_bytes() - before - idle * (time.monotonic() - began)


def crossing(stack: ExitStack, *, slow: bool) -> Crossing:
    """Runs three daemons that have found each other over slow or fast links."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoal-bench-", dir="/tmp")))
    hosts = stack.enter_context(Nets(f"{leftovers.own_name()}-{'slow' if slow else 'quick'}", SHARDS, folder, seed=1))
    fleet = Fleet(folder / "d", SHARDS, 2, hosts, defaults=True)
    stack.callback(fleet.close)
    fleet.start()
    for host in range(1, SHARDS + 1) if slow else ():
        hosts.impair(host, delay=DELAY_SECONDS)
        hosts.limit(host, BYTES_PER_SECOND, QUEUE_BYTES)
    return Crossing(hosts, fleet)


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Returns megabytes on the wire, or nothing if networks are not available."""
    if problem := nets.why_not():
        tell(problem)
        print(f"links are not measured: {problem}", file=sys.stderr)
        return
    pairs: dict[str, list[tuple[Sample, Sample]]] = {name: [] for name in WORDS}
    for _ in range(1 if quick else 2):
        figures = []
        for slow in (True, False):
            tell(f"three daemons work over {'slow' if slow else 'quick'} links")
            with ExitStack() as stack:
                figures.append(crossing(stack, slow=slow).measured())
        for name in WORDS:
            pairs[name].append((Sample(figures[0][name]), Sample(figures[1][name])))
    for name, words in WORDS.items():
        yield Row("links", f"{words}, over 5 Mbit/s and 50 ms", "MB", tuple(pairs[name]), AIMS[name])

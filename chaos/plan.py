"""The faults of a run, from a seed.

A plan stays within what the cluster promises to survive *and* recover from by itself: permanent losses leave a majority
and a copy of every partition. Otherwise faults may overlap, as long as no daemon has two at once.

>>> from chaos.options import Options
>>> plan(Random(1), Options()) == plan(Random(1), Options())
True
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from chaos.options import NETWORK, Options

REST_SECONDS: Final = 3.0
"""The time between two faults of one daemon, so that it can recover before the next."""
DISTURBED: Final = (1.0, 5.0)
DOWN: Final = (3.5, 7.0)
"""Long enough that the death must be detected: a daemon that is back sooner announces it itself."""
FIRST, LAST = 0.15, 0.7
"""Fractions of the undisturbed time: before the first a run may not have begun, after the last it may be over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `at` counts from the run's first tick; without `seconds` it lasts to the end."""

    kind: str
    at: float
    seconds: float | None
    hit: tuple[int, ...]
    delay: float = 0.0
    loss: float = 0.0

    def __str__(self) -> str:
        whom = ",".join(map(str, self.hit))
        amount = f" {self.delay * 1000:.0f}ms" if self.delay else f" {self.loss:.0%}" if self.loss else ""
        length = f" for {self.seconds:.1f}s" if self.seconds is not None else ""
        return f"{self.kind} {whom}{amount} at {self.at:.1f}s{length}"

    @property
    def until(self) -> float:
        """Returns when the fault ends."""
        return float("inf") if self.seconds is None else self.at + self.seconds


def plan(random: Random, options: Options, disk: int | None = None) -> list[Fault]:
    """Returns faults in the order in which they begin. `disk` is the daemon whose data folder can be filled."""
    kinds = [kind for kind in options.kinds if kind != "disk" or disk is not None]
    assert kinds, "there is nothing to do harm with"
    made: list[Fault] = []
    moments = sorted(
        random.uniform(FIRST, LAST) * options.seconds for _ in range(random.randint(1, options.faults_max))
    )
    for moment in moments:
        fault = _fault(random, random.choice(kinds), moment, options, disk)
        if not _too_much(fault, made, options):
            made.append(fault)
    return made


def _fault(random: Random, kind: str, at: float, options: Options, disk: int | None) -> Fault:
    everybody = range(1, options.shards + 1)
    seconds: float | None = random.uniform(*(DOWN if kind == "kill" else DISTURBED))
    count = {"kill": options.kill_at_once, "cut": 2, "oneway": 2, "power": options.shards}.get(kind, 1)
    if kind == "minority":
        count = random.randint(1, (options.shards - 1) // 2)
    hit = tuple(random.sample(everybody, count))
    if kind == "power":
        hit = tuple(everybody)
    if kind == "disk":
        assert disk is not None
        hit = (disk,)
    if kind not in ("oneway",):  # its order says which side does not hear which
        hit = tuple(sorted(hit))
    if kind == "never":
        seconds = None
    return Fault(
        kind,
        at,
        seconds,
        hit,
        delay=random.uniform(0.01, 0.15) if kind == "slow" else 0.0,
        loss=random.uniform(0.05, 0.3) if kind == "lossy" else 0.0,
    )


def _too_much(fault: Fault, made: list[Fault], options: Options) -> bool:
    """Returns whether a fault hits a daemon that has not recovered from another, or makes too many permanent losses."""
    for other in made:
        apart = fault.at >= other.until + REST_SECONDS
        if set(fault.hit) & set(other.hit) and not apart:
            return True
        if fault.kind in NETWORK and other.kind in NETWORK and not apart:
            return True  # each pair has one rule
    gone = sum(other.kind == "never" for other in made)
    return fault.kind == "never" and gone >= min(options.replicas - 1, (options.shards - 1) // 2)

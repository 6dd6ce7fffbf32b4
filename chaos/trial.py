"""One run of a program, its faults, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos import faults
from chaos.faults import Ground, Misbehaved
from chaos.fleet import FleetFailed
from chaos.nets import NetsFailed
from chaos.options import ENDS_PROCESSES
from chaos.plan import Fault
from chaos.recovery import epoch_before, longest_standstill, next_tick_in_later_view
from chaos.watch import Watch, digests, start_run, write_evidence
from shoal.api.errors import ShoalError

LOOK_SECONDS: Final = 0.01
BEGIN_SECONDS: Final = 30.0
NO_ROOM: Final = "has no room for"
AFTERMATH_SECONDS: Final = 15.0
"""A standstill that ends later than this after a fault has another cause."""


@dataclass(frozen=True, slots=True)
class Case:
    """A program, and its undisturbed result."""

    program: str
    column: str
    ticks: int | None
    interval: float
    digest: str
    params: Mapping[str, float] = field(default_factory=dict)
    measured: bool = True
    """Whether its ticks are short enough to measure the recovery by the next one."""


@dataclass(slots=True)
class Suffered:
    """A fault that took place. Times are on this machine's monotonic clock."""

    fault: Fault
    began: float
    ended: float | None = None
    recovery: float | None = None
    left: bool = False
    """Whether the daemon left because of its full disk, and logged it."""


@dataclass(slots=True)
class Outcome:
    """The outcome of a run."""

    program: str
    seconds: float = 0.0
    tick: int = 0
    digest: str = ""
    suffered: list[Suffered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    no_room: bool = False
    """A shard with a full disk could not keep a tick and reported it: then the run correctly has no result."""


class Trial:
    """Invariant: when `run` returns, every fault has ended, or the outcome has a failure."""

    def __init__(self, ground: Ground, case: Case, planned: Sequence[Fault], graph: str, bound: float) -> None:
        self._ground, self._case, self._graph, self._bound = ground, case, graph, bound
        self._waiting = sorted(planned, key=lambda fault: fault.at)
        self._active: list[Suffered] = []
        self.outcome = Outcome(case.program)

    def run(self) -> Outcome:
        """Starts a run, injects the faults, waits for its end, and compares the result."""
        try:
            self._run()
        except (Misbehaved, FleetFailed, NetsFailed, ShoalError) as error:
            self.outcome.failures.append(str(error))
        return self.outcome

    def _run(self) -> None:
        case, fleet = self._case, self._ground.fleet
        name = start_run(fleet[1], case.program, self._graph, case.ticks, case.interval, case.params)
        watch = Watch(fleet, name)
        began = time.monotonic()
        try:
            self._follow(watch)
            self._measure(watch)
        except Misbehaved:
            write_evidence(fleet, name)
            raise
        finally:
            self.outcome.seconds, self.outcome.tick = time.monotonic() - began, watch.tick
            watch.close()
        self._make_all_good()
        fleet.await_whole(meanwhile=self._revive)
        if watch.state == "failed" and self._had_no_room(watch.error):
            self.outcome.no_room = True
            return
        if watch.state != "completed":
            raise Misbehaved(f"{name} {watch.state} at tick {watch.tick}: {watch.error or 'no reason is given'}")
        found = digests(fleet, name, case.column)
        self.outcome.digest = found[1]
        self.outcome.failures += [
            f"shard-{number} has another result of {name}: {digest}, where {case.digest} is right"
            for number, digest in found.items()
            if digest != case.digest
        ]

    def _had_no_room(self, error: str) -> bool:
        """Returns whether a shard ended the run because its disk was filled during it."""
        filled = [one.fault.hit[0] for one in self.outcome.suffered if one.fault.kind == "disk"]
        return NO_ROOM in error and any(error.startswith(f"{self._ground.fleet[n].shard.name}: ") for n in filled)

    def _follow(self, watch: Watch) -> None:
        """Waits until the run is over. Faults that are not due by then are not injected."""
        origin: float | None = None
        until = time.monotonic() + BEGIN_SECONDS
        while True:
            watch.look({number for one in self._active for number in one.fault.hit})
            if watch.over:
                return
            now = time.monotonic()
            if origin is None and watch.tick > 0:
                origin, until = now, now + self._bound
            if origin is not None and self._do_what_is_due(origin):
                until = max(until, time.monotonic() + self._bound)
            self._revive()
            if died := self._ground.fleet.died():
                raise Misbehaved(died)
            if now > until:
                raise Misbehaved(
                    f"its run has not ended {self._bound:g} s after the last fault: {watch.state or 'not even begun'}, "
                    f"tick {watch.tick}"
                )
            time.sleep(LOOK_SECONDS)

    def _do_what_is_due(self, origin: float) -> bool:
        """Begins and ends faults that are due; returns whether there were any."""
        since = time.monotonic() - origin
        done = False
        for one in [one for one in self._active if one.fault.until <= since]:
            self._end(one)
            done = True
        while self._waiting and self._waiting[0].at <= since:
            fault = self._waiting.pop(0)
            self._active.append(Suffered(fault, time.monotonic()))
            self.outcome.suffered.append(self._active[-1])
            faults.begin(fault, self._ground)
            done = True
        return done

    def _end(self, one: Suffered) -> None:
        self._active.remove(one)
        faults.end(one.fault, self._ground)
        one.ended = time.monotonic()

    def _make_all_good(self) -> None:
        for one in list(self._active):
            self._end(one)
        self._revive()

    def _revive(self) -> None:
        if faults.revive(self._ground):
            filled = [one for one in self.outcome.suffered if one.fault.kind == "disk"]
            if filled:  # otherwise it was filled in the previous run
                filled[-1].left = True

    def _measure(self, watch: Watch) -> None:
        """Measures the recovery. For a power cut it counts from the daemons' start: nothing can happen before."""
        if not self._case.measured:
            return
        begins = [one.began for one in self.outcome.suffered]
        for one in self.outcome.suffered:
            power = one.fault.kind == "power"
            if power and one.ended is None:
                continue
            if one.fault.kind in ENDS_PROCESSES:
                from_when = one.ended if power and one.ended is not None else one.began
                epoch = epoch_before(watch.seen, one.began)
                one.recovery = next_tick_in_later_view(watch.seen, from_when, epoch)
            else:
                last = (one.ended or time.monotonic()) + AFTERMATH_SECONDS
                until = min([last, *(begin for begin in begins if begin > one.began)])
                one.recovery = longest_standstill(watch.seen, one.began, until)

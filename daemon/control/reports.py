"""What this shard reports to the tick leader, repeatedly, until the log has an answer to it; and what it hears as one.

It reports runs that are over here, until the log has ended them, and which states of waiting runs are on this disk,
until the log has resumed them. A new leader has received nothing yet, so it gets all reports at once. A new view voids
the reports about runs in an older one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from daemon.control.leader.duties import Leading
from daemon.control.leader.messages import RunReport, RunStates, StatesHeld
from daemon.control.leader.resume import StatesHeld as StatesOnDisk
from daemon.state import Registry
from daemon.state.commands import Identity, to_bits


class Reports:
    """This shard's own reports, and the way of the others' to `leading`."""

    def __init__(self, shard: Identity, registry: Registry, leading: Leading, interval_ns: int) -> None:
        self._shard, self._registry, self._leading, self._interval_ns = shard, registry, leading, interval_ns
        self._over: dict[int, RunReport] = {}
        self._states: StatesHeld | None = None
        self._due_ns: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to report (again)."""
        return self._due_ns

    def over(self, report: RunReport, now: int) -> None:
        """A run has ended here, if it goes on as far as the log says."""
        if self._goes_on(report.run):
            self._over[report.run] = report
            self._due_ns = now

    def hold(self, epoch: int, held: Mapping[int, StatesOnDisk], reached: Mapping[int, int], now: int) -> None:
        """States on disk, by run; and ticks that were seen committed, by run. Those of another view are of no use."""
        if epoch != self._registry.epoch:
            return
        states = [
            RunStates(run, tick, to_bits(partitions), made_in)
            for run, ticks in sorted(held.items())
            for (tick, made_in), partitions in sorted(ticks.items())
        ]
        self._states = StatesHeld(epoch, tuple(states), tuple(sorted(reached.items())))
        self._due_ns = now

    def enter_view(self) -> None:
        """Runs go on from where the log will say."""
        self._over.clear()
        self._states = None

    def forget_run(self, run: int) -> None:
        """The log has ended it."""
        self._over.pop(run, None)

    def leader_changed(self, now: int) -> None:
        """Whoever leads now has heard nothing."""
        self._due_ns = now if self._current() else None

    def due(self, now: int) -> list[RunReport | StatesHeld]:
        """What to tell the leader now."""
        if self._due_ns is None or now < self._due_ns:
            return []
        reports = self._current()
        self._due_ns = now + self._interval_ns if reports else None
        return reports

    def hear(self, sender: Identity, message: RunReport | StatesHeld) -> bool:
        """A member's report; whether it counts. What is of another view is of no use, or will be repeated."""
        if message.epoch != self._registry.epoch or not self._registry.has_member(sender):
            return False
        match message:
            case RunReport():
                if not self._goes_on(message.run):
                    return False
                self._leading.hear_report(sender.name, message)
            case StatesHeld():
                self._leading.hear_states(sender.name, message)
            case _:
                assert_never(message)
        return True

    def _goes_on(self, number: int) -> bool:
        """Whether a run goes on in the present view, as far as the log says."""
        epoch = self._registry.epoch
        return any(run.number == number and run.epoch == epoch for run in self._registry.active_runs())

    def _current(self) -> list[RunReport | StatesHeld]:
        reports: list[RunReport | StatesHeld] = list(self._over.values())
        if self._states is not None and self._registry.waiting_runs():
            reports.append(self._states)
        return reports

"""This shard's reports to the tick leader, repeated until the log answers them; as leader, also the reports it
receives.

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
    """This shard's own reports; passes those of others on to `leading`."""

    def __init__(self, shard: Identity, registry: Registry, leading: Leading, interval_ns: int) -> None:
        self._shard, self._registry, self._leading, self._interval_ns = shard, registry, leading, interval_ns
        self._over: dict[int, RunReport] = {}
        self._states: StatesHeld | None = None
        self._due_ns: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to report next."""
        return self._due_ns

    def over(self, report: RunReport, now: int) -> None:
        """Reports a run that has ended here, if it is active according to the log."""
        if self._goes_on(report.run):
            self._over[report.run] = report
            self._due_ns = now

    def hold(self, epoch: int, held: Mapping[int, StatesOnDisk], reached: Mapping[int, int], now: int) -> None:
        """Reports states on disk and ticks seen committed, both by run; ignores those of another view."""
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
        """Discards all reports: the log decides where runs resume."""
        self._over.clear()
        self._states = None

    def forget_run(self, run: int) -> None:
        """Discards the report of a run that the log has ended."""
        self._over.pop(run, None)

    def leader_changed(self, now: int) -> None:
        """Reports all to the new leader at once."""
        self._due_ns = now if self._current() else None

    def due(self, now: int) -> list[RunReport | StatesHeld]:
        """Returns what to report to the leader now."""
        if self._due_ns is None or now < self._due_ns:
            return []
        reports = self._current()
        self._due_ns = now + self._interval_ns if reports else None
        return reports

    def hear(self, sender: Identity, message: RunReport | StatesHeld) -> bool:
        """Takes a member's report; returns whether it counts. Ignores those of another view."""
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
        """Whether a run is active in the present view, according to the log."""
        epoch = self._registry.epoch
        return any(run.number == number and run.epoch == epoch for run in self._registry.active_runs())

    def _current(self) -> list[RunReport | StatesHeld]:
        reports: list[RunReport | StatesHeld] = list(self._over.values())
        if self._states is not None and self._registry.waiting_runs():
            reports.append(self._states)
        return reports

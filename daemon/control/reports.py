"""What this shard reports to the tick leader, repeatedly, until the log has an answer to it.

It reports runs that are over here, until the log has ended them, and which states of waiting runs are on this disk,
until the log has resumed them. A new leader has received nothing yet, so it gets all reports at once. A new view voids
the reports about runs in an older one.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.control.leader.messages import RunReport, RunStates, StatesHeld
from daemon.control.leader.resume import StatesHeld as StatesOnDisk
from daemon.state import Registry
from daemon.state.commands import to_bits


class Reporting:
    """This shard's own reports."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._over: dict[int, RunReport] = {}
        self._states: StatesHeld | None = None
        self._due_ns: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to report (again)."""
        return self._due_ns

    def over(self, report: RunReport, now: int) -> None:
        """A run has ended here."""
        self._over[report.run] = report
        self._due_ns = now

    def hold(self, epoch: int, held: Mapping[int, StatesOnDisk], reached: Mapping[int, int], now: int) -> None:
        """States on disk, by run; and ticks that were seen committed, by run."""
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

    def leader_changed(self, registry: Registry, now: int) -> None:
        """Whoever leads now has heard nothing."""
        self._due_ns = now if self._current(registry) else None

    def due(self, registry: Registry, now: int) -> list[RunReport | StatesHeld]:
        """What to tell the leader now."""
        if self._due_ns is None or now < self._due_ns:
            return []
        reports = self._current(registry)
        self._due_ns = now + self._interval_ns if reports else None
        return reports

    def _current(self, registry: Registry) -> list[RunReport | StatesHeld]:
        reports: list[RunReport | StatesHeld] = list(self._over.values())
        if self._states is not None and registry.waiting_runs():
            reports.append(self._states)
        return reports

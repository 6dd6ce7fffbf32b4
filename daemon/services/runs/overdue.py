"""Interrupts programs that do not return, and ends runs that are stopped by force, whatever they wait for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Never

from daemon.runtime.context import HostContext
from daemon.runtime.service import Beat, Service
from daemon.state.records import FAILED, STOPPING
from shoal.lockstep.effects import RunOver
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.runner import place_of

log = logging.getLogger("shoal.runs")

FORCE_PATIENCE_NS = 500_000_000
"""A longer phase is interrupted when its run is stopped by force."""
UNSTOPPABLE_LEAST_NS = 5_000_000_000
"""A program that has not returned so long (or `stop_patience`) after its interruption blocks every other run here: the
daemon then restarts.
"""
FORCE_END_NS = 3_000_000_000
"""A run that is still active so long after it was stopped by force ends where it is, whatever it waits for."""


class OverdueRuns(Service[Never, Beat]):
    """One shard's overdue runs. `start_again` begins a new life, in which the run is not resumed."""

    events = (Beat,)

    def __init__(self, context: HostContext, start_again: Callable[[], None]) -> None:
        settings = context.config.ticks
        self._context, self._state, self._clock, self._ticks = context, context.state, context.clock, context.ticks
        self._start_again, self._phase_timeout_ns = start_again, settings.phase_timeout_ns
        self._stop_patience_ns = settings.stop_patience_ns or settings.phase_timeout_ns
        self._named_ns = 0
        self._wanted: tuple[object, int] | None = None
        """What the tick thread has to return from, and since when."""
        self._forced_ns: dict[int, int] = {}
        """When each active run was first known here to be stopped by force."""

    def on_event(self, event: Beat) -> None:
        """Logs a program that does not return, and interrupts it once its run is to stop or is over.

        Peers that wait for it log it too, but there may be none.
        """
        self._end_by_force()
        busy = self._ticks.busy
        if busy is None:
            return
        (at, since), now = busy, self._clock.monotonic_ns()
        if now - max(since, self._named_ns) > self._phase_timeout_ns:
            self._named_ns = now
            log.warning("run %d: %s has been computing here for %.1f s", at.run, place_of(at), (now - since) / 1e9)
            self._context.metrics.count("phase_late", (self._context.me,))
        run = next((run for run in self._state.registry.runs.values() if run.number == at.run), None)
        if run is not None and run.active and run.state != STOPPING:
            return
        hasty = run is None or run.is_forced or run.state == FAILED  # then nobody needs its result
        patience_ns = FORCE_PATIENCE_NS if hasty else self._stop_patience_ns
        if now - since <= patience_ns:
            return
        if self._wanted is None or self._wanted[0] is not busy:
            self._wanted = busy, now
        if self._ticks.interrupt(busy):
            log.warning("run %d: its program does not return from %s: interrupted", at.run, place_of(at))
        elif now - self._wanted[1] > max(UNSTOPPABLE_LEAST_NS, self._stop_patience_ns):
            self._wanted = busy, now  # once only
            log.error("run %d: its program can't be interrupted in %s: restarting", at.run, place_of(at))
            self._start_again()

    def _end_by_force(self) -> None:
        """Ends runs that were stopped by force, even if they wait for something that never comes."""
        now = self._clock.monotonic_ns()
        forced = {run.number for run in self._state.registry.active_runs() if run.state == STOPPING and run.is_forced}
        self._forced_ns = {number: self._forced_ns.get(number, now) for number in forced}
        for number, since in self._forced_ns.items():
            if now - since > FORCE_END_NS:
                self._ticks.order(partial(self._ticks.with_run, number, _ended_by_force))


def _ended_by_force(machine: TickMachine, _: int) -> list[RunOver]:
    return machine.abort(f"{machine.shard}: stopped by force while {machine.doing()}")

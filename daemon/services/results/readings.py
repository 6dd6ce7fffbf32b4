"""Reads a run at one of its ticks, and retries while checkpoints come and go or the view changes.

While a run is active, its states come and go with its checkpoints, and while a view changes, so do its holders: a read
that fails for lack of something is retried for a while, at a newer tick if none was named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from daemon.config.quantities import size_text
from daemon.runtime.context import HostContext
from daemon.services.known import Known
from daemon.services.programs.programs import Programs
from daemon.services.results.reading import Reading
from daemon.services.results.results import Results
from daemon.services.runs.controller import RunController
from daemon.state.records import STOPPED, RunRecord
from daemon.store import NotHeld
from shoal.api.errors import Failed, ProgramFailed, Refused, TickNotKept
from shoal.program.failures import words_of
from shoal.program.program import Program
from shoal.query.snapshot import chosen_tick

T = TypeVar("T")

END_SECONDS = 5.0
PATIENCE_SECONDS, AGAIN_SECONDS = 20.0, 0.1


class Readings:
    """One shard's reads."""

    def __init__(
        self,
        context: HostContext,
        known: Known,
        results: Results,
        reading: Reading,
        runs: RunController,
        programs: Programs,
    ) -> None:
        self._context, self._known, self._results, self._reading = context, known, results, reading
        self._runs, self._programs = runs, programs

    async def run_of(self, name: str) -> RunRecord:
        """Returns the run of that name, once its results are available here. Raises `UnknownRun`."""
        run = self._known.run(name)
        if run.is_over:
            # Its results are about to be in memory here, so that they need not be read from the disk.
            await self._runs.kept(run.name, END_SECONDS)
        return run

    async def program_of(self, run: RunRecord) -> Program:
        """Instantiates a run's program with its parameters. Raises `Refused`."""
        try:
            return await self._programs.make(run)
        except Exception as error:  # the program is foreign code
            raise Refused(f"run '{run.name}' can't be read: {words_of(error)}") from error

    async def read(self, run: RunRecord, tick: int | None, attempt: Callable[[RunRecord, int], Awaitable[T]]) -> T:
        """Reads a run at a tick, or its last one: calls `attempt` with both, repeatedly if necessary."""

        async def at_a_tick(run: RunRecord) -> T:
            return await attempt(run, await self._tick(run, tick))

        return await self.patiently(run, at_a_tick)

    async def patiently(self, run: RunRecord, attempt: Callable[[RunRecord], Awaitable[T]]) -> T:
        """Calls `attempt` with a run; retries for a while if what it needs is unavailable."""
        clock = self._context.clock
        until_ns = clock.monotonic_ns() + int(PATIENCE_SECONDS * 1e9)
        while True:
            try:
                return await attempt(run)
            except (TickNotKept, ProgramFailed):  # a retry would fail in the same way
                raise
            except (Refused, Failed, NotHeld):
                graph = self._known.graph_of(run)
                if clock.monotonic_ns() > until_ns or self._context.state.registry.lost(graph.name):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)
            run = self._known.run(run.name)

    async def _tick(self, run: RunRecord, asked: int | None) -> int:
        """Returns the tick to read at. One that is in memory here was committed when it was read, and remains valid."""
        if run.has_expired:
            raise TickNotKept(self._expired(run))
        if run.is_over and not run.has_result:
            why = run.failure if run.state == STOPPED else f"it is {run.state} {run.failure}".rstrip()
            raise TickNotKept(f"run '{run.name}' has no result: {why}")
        if run.is_over and asked in (None, run.tick):
            return run.tick
        if asked is not None and self._results.has(run.name, asked):
            return asked
        return chosen_tick(run.name, run.state, await self._reading.ticks(run), asked)

    def _expired(self, run: RunRecord) -> str:
        limits = self._context.config.ticks
        return (
            f"the result of run '{run.name}' has expired: the newest {limits.results_kept} results are kept "
            f"(ticks.results_kept), of {size_text(limits.results_bytes)} at most on each disk (ticks.results_bytes); "
            "run it again"
        )

"""Handles the admin socket's commands about runs: starting, watching, stepping and stopping them."""

from __future__ import annotations

import asyncio

from daemon.admin.registry import Registry
from daemon.runtime.context import HostContext
from daemon.runtime.ticks import RunFigures
from daemon.services.known import IN_NO_VIEW, Known
from daemon.services.programs.programs import Programs
from daemon.services.runs.controller import RunController
from daemon.services.runs.shown import ShownRuns
from daemon.state.commands import StartRun, StopRun
from daemon.state.records import QUEUED, RunRecord
from shoal.api.command import Exchange
from shoal.api.commands import runs as api
from shoal.api.commands.cluster import Barrier, BarrierReply, BarrierRow
from shoal.api.errors import Failed, Refused, RunFailed, TimedOut, Usage
from shoal.api.ranges import TICKS_MAX
from shoal.lockstep.states import State
from shoal.program.failures import refusal

EVENT_SECONDS = 0.1
"""The interval between a waiting command's events."""
END_SECONDS = 5.0
"""A stopped run is usually over by then."""
ROWS_A_TURN = 50
"""Rows of a long list between which the loop gets its turn."""


class RunCommands:
    """The handlers. A mistake of the caller's raises `Refused` or `Usage`, with a sentence."""

    def __init__(
        self, context: HostContext, known: Known, runs: RunController, programs: Programs, commands: Registry
    ) -> None:
        self._context, self._state, self._known, self._shown = context, context.state, known, ShownRuns(context, runs)
        self._runs, self._programs, self._until = runs, programs, context.conditions.until
        commands.bind(
            api.RunStart.answered_by(self.run_start),
            api.RunList.answered_by(self.run_list),
            api.RunShow.answered_by(self.run_show),
            api.RunWait.followed_by(self.run_wait),
            api.RunStep.answered_by(self.run_step),
            api.RunStop.answered_by(self.run_stop),
            Barrier.answered_by(self.barrier),
        )

    async def run_start(self, asked: api.RunStart) -> api.RunReply:
        graph = self._known.meant(asked.graph, asked.load)
        params = asked.params or {}
        self._known.require_view()
        try:
            found = await self._programs.find(asked.program)
            declared = await self._programs.tried(found, params)
        except Exception as error:  # this runs the program's own code
            raise refusal(f"program '{asked.program}'", error) from error
        ticks = asked.ticks or declared.ticks
        if not 0 < ticks <= TICKS_MAX:
            raise Usage("ticks should be a positive number")
        started = StartRun(
            program=found.name,
            graph=graph.name,
            load=graph.load,
            params=api.param_texts(params),
            ticks=ticks,
            interval_ns=int((asked.interval_seconds or 0.0) * 1e9),
            paced=asked.paced,
            phases=declared.phases,
            columns=declared.columns,
            checkpoint_ticks=asked.checkpoint_ticks,
            digest=found.digest,
            runs_max=self._context.config.ticks.runs_max,
            may_queue=asked.queue,
        )
        name = await self._known.decided(started, lambda: self._known.meant(graph.name, graph.load))
        return self._shown.run(self._known.run(name))

    async def run_list(self, _: api.RunList) -> api.RunsReply:
        runs = self._state.registry.runs.values()
        rows: list[api.RunRow] = []
        for run in list(runs):
            rows.append(self._shown.row(run))
            if len(rows) % ROWS_A_TURN == 0:
                await asyncio.sleep(0)
        return {"runs": rows}

    async def run_show(self, asked: api.RunShow) -> api.RunReply:
        return self._shown.run(self._known.run(asked.run))

    async def run_wait(self, asked: api.RunWait, exchange: Exchange) -> api.RunReply:
        run = self._known.run(asked.run)
        timeout = asked.timeout_seconds
        clock = self._context.clock
        until_ns = None if timeout is None else clock.monotonic_ns() + int(timeout * 1e9)

        def is_over() -> bool:
            return not self._runs.is_going(run.name) and self._known.run(run.name).is_over

        def left() -> float:
            return EVENT_SECONDS if until_ns is None else (until_ns - clock.monotonic_ns()) / 1e9

        while not await self._until(is_over, min(EVENT_SECONDS, max(0.0, left()))):
            if left() <= 0:
                shown = self._shown.run(self._known.run(run.name))
                place, tick = shown["place"], shown["tick"]
                where = f"is still queued, at place {place}" if place else f"is still running, at tick {tick}"
                raise TimedOut.at(run.name, where, timeout or 0.0)
            await exchange.emit(self._shown.run(self._known.run(run.name)))
        return self._shown.run(self._known.run(run.name))

    async def run_step(self, asked: api.RunStep) -> api.SteppedRun:
        run = self._known.run(asked.run)
        if run.is_over:
            raise Refused(f"run '{run.name}' is already over: it {run.state} after {run.tick} ticks")
        if run.state == QUEUED:
            raise Refused(f"run '{run.name}' has not started: it is queued, at place {self._shown.place(run)}")
        if not run.paced:
            raise Refused(f"run '{run.name}' is not paced: it runs by itself (to step a run, start it with `paced`)")
        self._known.require_view()
        answer = await self._context.orders.step_run(run.number)
        if answer.error:
            raise Failed(answer.error)

        def figures() -> api.TickReply | None:
            known = self._context.ticks.figures.get(run.number) or RunFigures(())
            return known.of_tick(answer.tick, self._known.run(run.name).resumed)

        await self._until(lambda: figures() or not self._known.run(run.name).active or not self._state.in_view)
        told = figures()
        if told is not None:
            return {"run": run.name, **told}
        run = self._known.run(run.name)
        if not run.active:
            why = run.failure or "it is over"
            raise RunFailed(f"run '{run.name}' {run.state} before tick {answer.tick}: {why}")
        raise Failed(f"tick {answer.tick} of run '{run.name}' was granted, but {IN_NO_VIEW}")

    async def run_stop(self, asked: api.RunStop) -> api.RunReply:
        run = self._known.run(asked.run)
        stopped = StopRun(run.name, asked.force)
        await self._known.decided(stopped, lambda: self._known.run(run.name))
        await self._runs.kept(run.name, END_SECONDS)
        return self._shown.run(self._known.run(run.name))

    async def barrier(self, asked: Barrier) -> BarrierReply:
        runs = [self._known.run(asked.run)] if asked.run is not None else self._state.registry.active_runs()
        return {"runs": [self._barrier_of(run) for run in runs if run.active]}

    def _barrier_of(self, run: RunRecord) -> BarrierRow:
        machine = self._context.ticks.machine(run.number)
        now = self._context.clock.monotonic_ns()
        known = self._state.progress.of(run.number, now)
        doing = {p.shard: f"{p.doing} for {p.seconds:.1f} s" for p in known}
        if machine is None:
            return {
                "run": run.name, "tick": 0, "phase": "", "entries": {}, "missing": [], "waiting_seconds": 0.0,
                "doing": doing,
            }  # fmt: skip
        waiting = machine.state is State.WAITING
        return {
            "run": run.name,
            "tick": machine.tick,
            "phase": machine.phase.word,
            "entries": dict(machine.barrier.entries()),
            "missing": list(machine.lacking()) if waiting else [],
            "waiting_seconds": (now - machine.since) / 1e9 if waiting else 0.0,
            "doing": doing,
        }

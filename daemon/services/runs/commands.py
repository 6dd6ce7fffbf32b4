"""What the admin socket answers about runs: starting, watching, stepping and stopping them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from daemon.admin.registry import Registry, Reply, Request
from daemon.runtime.context import HostContext
from daemon.runtime.ticks import RunFigures
from daemon.services.known import IN_NO_VIEW, Known
from daemon.services.programs.programs import Programs
from daemon.services.runs.controller import RunController
from daemon.services.runs.shown import ShownRuns
from daemon.state.commands import StartRun, StopRun
from daemon.state.records import QUEUED, RunRecord
from shoal.api.errors import Failed, Refused, RunFailed, TimedOut, Usage
from shoal.api.ranges import TICKS_MAX
from shoal.lockstep.machine import State
from shoal.program.failures import refusal

EVENT_SECONDS = 0.1
"""Between two events of a command that is waited for."""
END_SECONDS = 5.0
"""In which a run that is stopped is usually over."""
ROWS_A_TURN = 50
"""Of a long list: then the loop has its turn."""


class RunCommands:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(
        self, context: HostContext, known: Known, runs: RunController, programs: Programs, commands: Registry
    ) -> None:
        self._context, self._state, self._known, self._shown = context, context.state, known, ShownRuns(context, runs)
        self._runs, self._programs, self._until = runs, programs, context.conditions.until
        for name in ("run start", "run list", "run show", "run wait", "run step", "run stop", "barrier"):
            commands.bind(name, getattr(self, name.replace(" ", "_")))

    async def run_start(self, request: Request) -> Reply:
        args = request.args
        graph = self._known.meant(args["graph"], args["load"])
        params = args["params"] or {}
        self._known.require_view()
        try:
            found = await self._programs.find(args["program"])
            declared = await self._programs.tried(found, params)
        except Exception as error:  # the program's own code is run
            raise refusal(f"program '{args['program']}'", error) from error
        ticks = args["ticks"] or declared.ticks
        interval = args["interval_seconds"] or 0.0
        if not 0 < ticks <= TICKS_MAX:
            raise Usage("ticks should be a positive number")
        if not 0.0 <= interval <= 86_400.0:
            raise Usage("interval_seconds should be from 0 to a day")
        started = StartRun(
            request=self._context.new_id(),
            program=found.name,
            graph=graph.name,
            load=graph.load,
            params=tuple((name, json.dumps(value)) for name, value in sorted(params.items())),
            ticks=ticks,
            interval_ns=int(interval * 1e9),
            paced=args["paced"],
            phases=declared.phases,
            columns=declared.columns,
            started_unix_ns=self._context.clock.unix_ns(),
            checkpoint_ticks=args["checkpoint_ticks"] or 0,
            digest=found.digest,
            runs_max=self._context.config.ticks.runs_max,
            may_queue=args["queue"],
        )
        name = await self._known.decided(started, lambda: self._known.meant(graph.name, graph.load))
        return Reply(self._shown.run(self._known.run(name)))

    async def run_list(self, _: Request) -> Reply:
        runs = self._state.registry.runs.values()
        keys = ("run", "program", "graph", "load", "state", "place", "tick", "ticks")
        rows = []
        for run in list(runs):
            shown = self._shown.run(run)
            rows.append({key: shown[key] for key in keys})
            if len(rows) % ROWS_A_TURN == 0:
                await asyncio.sleep(0)
        return Reply({"runs": rows})

    async def run_show(self, request: Request) -> Reply:
        return Reply(self._shown.run(self._known.run(request.args["run"])))

    async def run_wait(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        timeout = request.args["timeout_seconds"]
        clock = self._context.clock
        until_ns = None if timeout is None else clock.monotonic_ns() + int(timeout * 1e9)

        def is_over() -> bool:
            return not self._runs.is_going(run.name) and self._known.run(run.name).is_over

        def left() -> float:
            return EVENT_SECONDS if until_ns is None else (until_ns - clock.monotonic_ns()) / 1e9

        while not await self._until(is_over, min(EVENT_SECONDS, max(0.0, left()))):
            if left() <= 0:
                shown = self._shown.run(self._known.run(run.name))
                where = (
                    f"is queued, at place {shown['place']}" if shown["place"] else f"goes on, at tick {shown['tick']}"
                )
                still = f"run '{run.name}' still {where}: it was waited for {timeout:g} s"
                raise TimedOut(still)
            await request.emit(self._shown.run(self._known.run(run.name)))
        return Reply(self._shown.run(self._known.run(run.name)))

    async def run_step(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        if run.is_over:
            raise Refused(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")
        if run.state == QUEUED:
            raise Refused(f"run '{run.name}' has not begun: it is queued, at place {self._shown.place(run)}")
        if not run.paced:
            raise Refused(f"run '{run.name}' is not paced: it goes by itself (start it with --paced to step it)")
        self._known.require_view()
        answer = await self._context.orders.step_run(run.number)
        if answer.error:
            raise Failed(answer.error)

        def figures() -> Mapping[str, Any] | None:
            known = self._context.ticks.figures.get(run.number) or RunFigures(())
            return known.of_tick(answer.tick, self._known.run(run.name).resumed)

        await self._until(lambda: figures() or not self._known.run(run.name).active or not self._state.in_view)
        told = figures()
        if told is not None:
            return Reply({"run": run.name, **told})
        run = self._known.run(run.name)
        if not run.active:
            why = run.failure or "it is over"
            raise RunFailed(f"run '{run.name}' {run.state} before tick {answer.tick}: {why}")
        raise Failed(f"tick {answer.tick} of run '{run.name}' is granted, but {IN_NO_VIEW}")

    async def run_stop(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        stopped = StopRun(self._context.new_id(), run.name, request.args["force"])
        await self._known.decided(stopped, lambda: self._known.run(run.name))
        await self._runs.kept(run.name, END_SECONDS)
        return Reply(self._shown.run(self._known.run(run.name)))

    async def barrier(self, request: Request) -> Reply:
        registry = self._state.registry
        name = request.args["run"]
        runs = [self._known.run(name)] if name else registry.active_runs()
        return Reply({"runs": [self._barrier_of(run) for run in runs if run.active]})

    def _barrier_of(self, run: RunRecord) -> dict[str, Any]:
        machine = self._context.ticks.machine(run.number)
        now = self._context.clock.monotonic_ns()
        known = self._state.progress.of(run.number, now)
        doing = {p.shard: f"{p.doing} for {p.seconds:.1f} s" for p in known}
        if machine is None:
            return {"run": run.name, "tick": 0, "phase": "", "entries": {}, "missing": [], "doing": doing}
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

"""What the admin socket answers about runs: starting, watching, stepping and stopping them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

from daemon.admin.registry import Registry, Reply, Request
from daemon.runtime.loop import Runtime
from daemon.runtime.tick_thread import RunFigures
from daemon.services.known import IN_NO_VIEW, Known
from daemon.services.runs.shown import ShownRuns
from daemon.state.commands import StartRun, StopRun
from daemon.state.records import QUEUED, RunRecord
from shoal.api.errors import Failed, Refused, RunFailed, TimedOut, Usage
from shoal.api.ranges import TICKS_MAX
from shoal.lockstep.machine import State
from shoal.program.failures import refusal

EVENT_SECONDS = 0.1
ROWS_A_TURN = 50
"""Of a long list: then the loop has its turn."""


class RunCommands:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime, self._known, self._shown = runtime, Known(runtime), ShownRuns(runtime)
        for name in ("run start", "run list", "run show", "run wait", "run step", "run stop", "barrier"):
            commands.bind(name, getattr(self, name.replace(" ", "_")))

    async def run_start(self, request: Request) -> Reply:
        args = request.args
        graph = self._known.meant(args["graph"], args["load"])
        params = args["params"] or {}
        self._known.require_view()
        try:
            found = await self._runtime.programs.find(args["program"])
            declared = await self._runtime.programs.tried(found, params)
        except Exception as error:  # the program's own code is run
            raise refusal(f"program '{args['program']}'", error) from error
        ticks = args["ticks"] or declared.ticks
        interval = args["interval_seconds"] or 0.0
        if not 0 < ticks <= TICKS_MAX:
            raise Usage("ticks should be a positive number")
        if not 0.0 <= interval <= 86_400.0:
            raise Usage("interval_seconds should be from 0 to a day")
        started = StartRun(
            request=uuid.uuid4().hex,
            program=found.name,
            graph=graph.name,
            load=graph.load,
            params=tuple((name, json.dumps(value)) for name, value in sorted(params.items())),
            ticks=ticks,
            interval_ns=int(interval * 1e9),
            paced=args["paced"],
            phases=declared.phases,
            columns=declared.columns,
            started_unix_ns=time.time_ns(),
            checkpoint_ticks=args["checkpoint_ticks"] or 0,
            digest=found.digest,
            runs_max=self._runtime.config.ticks.runs_max,
            may_queue=args["queue"],
        )
        name = await self._known.decided(started, lambda: self._known.meant(graph.name, graph.load))
        return Reply(self._shown.run(self._known.run(name)))

    async def run_list(self, _: Request) -> Reply:
        runs = self._runtime.shard.registry.runs.values()
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
        until = None if timeout is None else time.monotonic() + timeout
        while (over := self._runtime.runs.over.get(run.name)) is not None or not self._known.run(run.name).is_over:
            left = EVENT_SECONDS if until is None else min(EVENT_SECONDS, until - time.monotonic())
            if left <= 0:
                shown = self._shown.run(self._known.run(run.name))
                where = (
                    f"is queued, at place {shown['place']}" if shown["place"] else f"goes on, at tick {shown['tick']}"
                )
                still = f"run '{run.name}' still {where}: it was waited for {timeout:g} s"
                raise TimedOut(still)
            try:
                # Of a run that is queued, or outside the view, there is no event here: the log's word is looked at.
                await asyncio.wait_for(over.wait() if over is not None else asyncio.sleep(left + 1), left)
            except TimeoutError:
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
        answer = await self._runtime.step_run(run)
        if answer.error:
            raise Failed(answer.error)
        while True:
            passed = self._runtime.runs.tick_passed
            figures = self._runtime.ticks.figures.get(run.number) or RunFigures(())
            told = figures.of_tick(answer.tick, run.resumed)
            if told is not None:
                return Reply({"run": run.name, **told})
            run = self._known.run(run.name)
            if not run.active:
                why = run.failure or "it is over"
                raise RunFailed(f"run '{run.name}' {run.state} before tick {answer.tick}: {why}")
            if not self._runtime.shard.in_view:
                raise Failed(f"tick {answer.tick} of run '{run.name}' is granted, but {IN_NO_VIEW}")
            try:
                await asyncio.wait_for(passed.wait(), EVENT_SECONDS)
            except TimeoutError:
                continue

    async def run_stop(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        stopped = StopRun(uuid.uuid4().hex, run.name, request.args["force"])
        await self._known.decided(stopped, lambda: self._known.run(run.name))
        over = self._runtime.runs.over.get(run.name)
        if over is not None:
            try:
                await asyncio.wait_for(over.wait(), 5.0)
            except TimeoutError:
                return Reply(self._shown.run(self._known.run(run.name)))
        return Reply(self._shown.run(self._known.run(run.name)))

    async def barrier(self, request: Request) -> Reply:
        registry = self._runtime.shard.registry
        name = request.args["run"]
        runs = [self._known.run(name)] if name else registry.active_runs()
        return Reply({"runs": [self._barrier_of(run) for run in runs if run.active]})

    def _barrier_of(self, run: RunRecord) -> dict[str, Any]:
        machine = self._runtime.ticks.machine(run.number)
        now = time.monotonic_ns()
        known = self._runtime.shard.progress.of(run.number, now)
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

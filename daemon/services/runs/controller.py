"""Begins and ends the runs of one shard: gives orders to the tick plane, and handles its news.

Everything about runs that passes between the control plane and the tick plane goes through here: one order or item of
news per run or paced tick.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Never, TypeAlias, assert_never

from daemon.control.effects import BeginRun, GrantTicks, HealBarrier, StopRunHere, TellStates
from daemon.control.leader.messages import RunReport
from daemon.runtime.context import HostContext
from daemon.runtime.service import Beat, Service, types_of
from daemon.services.graphs.fetch import Fetching, NotFetched
from daemon.services.graphs.parts import Parts
from daemon.services.programs.programs import Programs, failure_of
from daemon.services.runs.checkpoints import Checkpoints
from daemon.state import GraphRemoved, ResultsExpired, RunEnded, ViewInstalled
from daemon.state.commands import AddGraph, from_bits
from daemon.state.placement import Placed
from daemon.state.records import FAILED, STOPPING, RunRecord, View
from daemon.store import Store
from shoal.engine.engine import Engine, is_fixed, state_bytes
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import PhaseLate, RunOver, StoreStates, TickCommitted
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX, TickMachine
from shoal.lockstep.timing import Cadence, TickTiming
from shoal.program.program import Program

log = logging.getLogger("shoal.runs")

TRY_AGAIN_SECONDS = 0.2
FIGURES_CHARACTERS_MAX = 32 << 10

OfTheLog: TypeAlias = (
    BeginRun
    | TellStates
    | GrantTicks
    | StopRunHere
    | HealBarrier
    | RunEnded
    | GraphRemoved
    | ResultsExpired
    | ViewInstalled
)
OfTheTicks: TypeAlias = TickCommitted | PhaseLate | RunOver | Beat
Events: TypeAlias = OfTheLog | OfTheTicks
Keep: TypeAlias = Callable[[str, int, Engine], None]
"""Takes a run's results: its name, its last tick, and its engine."""


class RunController(Service[Never, Events]):
    """The runs of one shard. `keep` takes their results."""

    events = types_of(Events)

    def __init__(self, context: HostContext, parts: Parts, fetching: Fetching, programs: Programs, keep: Keep) -> None:
        settings = context.config.ticks
        self._context, self._state, self._clock, self._ticks = context, context.state, context.clock, context.ticks
        self._parts, self._fetching, self._programs, self._keep_computed = parts, fetching, programs, keep
        self._disk, self._metrics = context.disk, context.metrics
        self.checkpoints = Checkpoints(context)
        self._timing = TickTiming(settings.resend_interval_ns, settings.phase_timeout_ns)
        self._checkpoint_interval_ns = settings.checkpoint_interval_ns
        self._checkpoints_kept = settings.checkpoints_kept
        self._epochs: dict[int, int] = {}
        self._ticks_seen: dict[int, int] = {}
        self._going: set[str] = set()

    def is_going(self, run: str) -> bool:
        """Whether a run is active here, or its result is still to be kept."""
        return run in self._going

    async def kept(self, run: str, patience: float) -> bool:
        """Waits until a run is over here and its result is kept; returns whether it is."""
        return await self._context.conditions.until(lambda: run not in self._going, patience)

    def on_event(self, event: Events) -> None:
        """Handles news of runs, from either plane."""
        if isinstance(event, OfTheTicks):
            self._hear(event)
        else:
            self._follow(event)

    def _follow(self, event: OfTheLog) -> None:
        match event:
            case BeginRun(run=run, view=view):
                self.checkpoints.begin(run)
                self._begin_run(run, view)
            case TellStates():
                self.checkpoints.look_up(event, self._reached)
            case GrantTicks(run=number, tick=tick):
                self._with_run(number, lambda machine, now: machine.grant(tick, now))
            case StopRunHere(run=number):
                self._stop_run(number)
            case HealBarrier(run=number, entries=entries):
                self._with_run(number, lambda machine, now: machine.relayed(entries, now))
            case RunEnded(run=run):
                self.checkpoints.forget(run.number)
                self._ended(run)
            case GraphRemoved() | ResultsExpired() | ViewInstalled():
                self._forget_states()
            case _:
                assert_never(event)

    def _with_run(self, run: int, do: Callable[[TickMachine, int], Any]) -> None:
        self._ticks.order(partial(self._ticks.with_run, run, do))

    # -- the log's decisions ---------------------------------------------------------------------------------------

    def _begin_run(self, run: RunRecord, view: View) -> None:
        """Begins a run, or resumes it in a new view, as soon as its part and its state are here."""
        self._going.add(run.name)
        self._epochs[run.number] = view.epoch
        if not run.resumed:
            is_older = partial(_is_older, run.begun_in)
            self._disk.order(lambda store: store.drop_void(run.number, is_older))
        self._context.spawn(self._begin(run, view))

    async def _begin(self, run: RunRecord, view: View) -> None:
        """Begins a run. An error ends the daemon, unless the run has moved on: its data may be deleted meanwhile."""
        try:
            await self._gather(run, view)
        except Exception as error:
            if self._still_wanted(run, view):
                raise
            log.info("run %s is no longer started in view %d: %s", run.name, view.epoch, error)

    async def _gather(self, run: RunRecord, view: View) -> None:
        registry = self._state.registry
        if not self._still_wanted(run, view):
            return  # the log is ahead, perhaps within the batch that began this
        try:
            program = await self._programs.make(run)
        except Exception as error:  # the program is foreign code, and only fails its own run
            if self._still_wanted(run, view):
                why = f"{self._state.identity.name}: {failure_of(error)}"[:FAILURE_CHARACTERS_MAX]
                self._report(run.number, run.resumed, FAILED, why, 0)
            return
        if not self._still_wanted(run, view):
            return
        graph, placed = registry.graphs[run.graph], registry.placements[run.graph]
        part = await self._parts.part(graph, view, placed)
        sizes = await self._replica_sizes(graph, placed, program)
        while self._still_wanted(run, view):
            try:
                state = await self._read_states(run, part) if run.resumed else None
            except NotFetched as error:
                log.warning("run %s: %s", run.name, error)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            if self._still_wanted(run, view):
                self._order_begin(run, view, part, program, placed, sizes, state)
            return

    def _still_wanted(self, run: RunRecord, view: View) -> bool:
        """Whether the run is still active in this view: it may have ended or moved on during the read."""
        registry = self._state.registry
        known = registry.runs.get(run.name)
        return known is not None and known.active and registry.epoch == view.epoch

    async def _read_states(self, run: RunRecord, part: ShardGraph) -> dict[int, Any]:
        """Returns the states of this shard's partitions at the tick to resume from, from disk or from peers.

        Raises `NotFetched`.
        """
        elsewhere = {s.shard: from_bits(s.partitions).intersection(part.partitions) for s in run.sources}
        mine = [p for p in part.partitions if not any(p in partitions for partitions in elsewhere.values())]
        read = await self._disk.do(lambda store: {p: store.state(run.number, run.resumed, p) for p in mine})
        missing = sorted(p for p, state in read.items() if state is None)
        if missing:
            raise RuntimeError(f"run {run.name}, tick {run.resumed}: the states of {missing} are no longer here")
        for source, partitions in elsewhere.items():
            came = await self._fetching.states_from([source], run.number, run.resumed, partitions, run.origin)
            if len(came) < len(partitions):
                raise NotFetched(f"{source} has not sent all {len(partitions)} states of tick {run.resumed}")
            read |= came
        return read

    async def _replica_sizes(self, graph: AddGraph, placed: Placed, program: Program) -> dict[int, int]:
        """Returns the sizes of the states for which this shard is a replica, by partition."""
        mine = [p for p, holders in enumerate(placed) if self._state.identity.name in holders[1:]]
        if not mine:
            return {}
        nodes = await self._parts.partition_sizes(graph)
        return {p: state_bytes(type(program), int(nodes[p])) for p in mine}

    def _order_begin(
        self,
        run: RunRecord,
        view: View,
        part: ShardGraph,
        program: Program,
        placed: Placed,
        sizes: dict[int, int],
        state: dict[int, Any] | None,
    ) -> None:
        me, granted = self._state.identity.name, self._state.pacing.granted(run.number)
        cadence = Cadence(run.checkpoint_ticks, self._checkpoint_interval_ns)
        machine = TickMachine(
            run.number, me, view.names, run.phases, run.ticks, self._timing, granted,
            tick=run.resumed, reached=run.reached, cadence=cadence,
            must_halt=not program.anytime,
        )  # fmt: skip
        begin = partial(
            self._ticks.begin_run,
            machine,
            part,
            program,
            granted is not None,
            replicas={p: placed[p][1:] for p in part.partitions},
            primaries={p: placed[p][0] for p in sizes},
            sizes=sizes if is_fixed(type(program)) else None,
            state=(run.resumed, state) if state is not None else None,
        )
        self._ticks.order(begin)
        log.info("run %s on graph %s begins after tick %d", run.name, run.graph, run.resumed)
        if self._state.registry.runs[run.name].state == STOPPING:
            self._stop_run(run.number)

    def _stop_run(self, run: int) -> None:
        """Asks a run to end after a tick that all shards agree on."""
        self._with_run(run, lambda machine, now: machine.stop(now))

    def _ended(self, run: RunRecord) -> None:
        """Ends a run that the log has ended."""
        log.info("run %s %s after %d ticks%s", run.name, run.state, run.tick, run.failure and f": {run.failure}")

        self._epochs.pop(run.number, None)

        def keep(engine: Engine | None) -> None:
            self._context.soon(self._keep, run, engine)

        self._ticks.order(lambda: self._ticks.end_run(run.number, run.tick, run.failure, keep))

    def _keep(self, run: RunRecord, engine: Engine | None) -> None:
        if engine is not None and run.has_result and run.name in self._state.registry.runs:
            self._keep_computed(run.name, run.tick, engine)
        self._ticks_seen.pop(run.number, None)
        self._metrics.forget_run(run.name)
        self._forget_states()
        self._parts.give_back_soon()
        self._going.discard(run.name)
        self._context.conditions.look()

    def _forget_states(self) -> None:
        """Deletes the states of runs that have failed, whose results have expired or that were dropped with their
        graph; keeps the last few ticks of all others.

        Deletes nothing of a run that this shard's log has not reached yet (it may be replayed from further back).
        """
        registry = self._state.registry
        finished = registry.kept_results()
        last = {run.number: run.tick for run in finished}
        is_void = {run.number: run.is_void for run in finished}
        is_void |= {run.number: partial(_is_older, run.begun_in) for run in registry.active_runs()}
        wanted = is_void.keys()
        known = registry.runs_begun

        def forget(store: Store) -> None:
            for run, ticks in store.states_held().items():
                if run <= known and run not in wanted:
                    store.drop_run(run)
                elif run in wanted:
                    store.drop_void(run, is_void[run])
                if run in last:
                    kept = sorted(tick for tick in ticks if tick <= last[run])[-self._checkpoints_kept :]
                    if kept and min(ticks) < kept[0]:
                        store.trim_run(run, kept[0])

        self._disk.order(forget)

    def tick_of(self, run: RunRecord) -> int:
        """Returns the last tick known here to be committed; never falls, although a run may repeat some ticks."""
        return max(self._reached(run.number), run.resumed, run.reached, run.tick) if run.active else run.tick

    def committed(self, number: int) -> int:
        """Does the same for a run by its number; returns 0 if the log has not reached it."""
        runs = self._state.registry.runs.values()
        return next((self.tick_of(run) for run in runs if run.number == number), 0)

    def _reached(self, run: int) -> int:
        """Returns the last tick of a run, by its number, that was seen committed here."""
        figures = self._ticks.figures.get(run)
        latest = figures.ticks[-1].tick if figures and figures.ticks else 0
        seen = self._ticks_seen[run] = max(latest, self._ticks_seen.get(run, 0))
        return seen

    # -- the tick thread's news ------------------------------------------------------------------------------------

    def _hear(self, news: OfTheTicks) -> None:
        match news:
            case TickCommitted(run=run, tick=tick):
                self._context.orders.tick_committed(run, tick)
            case Beat():
                self._tell_progress()
            case PhaseLate():
                self._late(news)
            case RunOver(run=run, tick=tick, outcome=outcome, failure=failure):
                figures = self._ticks.figures.get(run)
                self._report(run, tick, outcome, failure, figures.own_bytes if figures else 0)
            case _:
                assert_never(news)

    def _tell_progress(self) -> None:
        """Updates the progress gossip from values that the tick thread keeps current."""
        now, me = self._clock.monotonic_ns(), self._state.identity.name
        for run in self._state.registry.active_runs():
            machine = self._ticks.machine(run.number)
            if machine is not None:
                entry, seconds = machine.barrier.entry(me), (now - machine.since) / 1e9
                self._state.progress.own(run.number, entry, machine.tick, machine.doing(), seconds, now)

    def _late(self, late: PhaseLate) -> None:
        known = {progress.shard: progress for progress in self._state.progress.of(late.run, self._clock.monotonic_ns())}
        for shard in late.missing:
            progress = known.get(shard)
            doing = f"{progress.doing} for {progress.seconds:.1f} s" if progress else "no report from it"
            where = f"{late.phase.word} of tick {late.tick}" if late.tick else "start"
            waited = late.waited_ns / 1e9
            log.warning("run %d: %s has waited %.1f s for shard %s: %s", late.run, where, waited, shard, doing)
            self._metrics.count("phase_late", (shard,))

    def store(self, states: StoreStates) -> None:
        """From the tick thread: makes a checkpoint durable, and reports that there."""
        self.checkpoints.keep(states, lambda why: self._fail(states.run, states.tick, why))

    def _fail(self, run: int, tick: int, why: str) -> None:
        """Fails a run that can't continue here for a reason of the shard's."""
        failure = f"{self._state.identity.name}: tick {tick} can't be kept: {why}"
        self._report(run, max(0, tick - 1), FAILED, failure[:FAILURE_CHARACTERS_MAX], 0)

    def _report(self, run: int, tick: int, outcome: str, failure: str, cross_bytes: int) -> None:
        known = self._ticks.figures.get(run)
        shown = json.dumps(known.shown, sort_keys=True) if known and known.shown else ""
        if len(shown) > FIGURES_CHARACTERS_MAX:
            log.warning("run %d shows %d characters of figures, too many for a log entry: omitted", run, len(shown))
            shown = ""
        epoch = self._epochs.get(run, 0)
        kept = self.checkpoints.kept_bytes(run)
        report = RunReport(run, epoch, tick, outcome, failure, cross_bytes, shown, kept)
        self._context.orders.run_over(report)


def _is_older(epoch: int, made_in: int, _: int) -> bool:
    """Whether a state belongs to another run that had this number before, in a restoration that was given up."""
    return made_in < epoch

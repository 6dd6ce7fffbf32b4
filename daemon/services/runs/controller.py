"""What the control loop does about runs: begins them on the tick thread, hears from it, and keeps what they computed.

Between the two planes everything goes through here: orders to the thread, and its news, one a run or a paced tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, assert_never

import numpy as np

from daemon.config import Ticks
from daemon.control.effects import Effect
from daemon.control.messages import RunReport
from daemon.control.plane import ControlPlane
from daemon.observe.metrics import Metrics
from daemon.runtime.disk import Disk
from daemon.runtime.tick_runner import place_of
from daemon.runtime.tick_thread import TickThread
from daemon.services.graphs.fetch import Fetching, NotFetched
from daemon.services.graphs.graphs import Graphs
from daemon.services.programs.programs import Programs, failure_of
from daemon.services.results.results import Results
from daemon.state.commands import AddGraph, from_bits
from daemon.state.placement import Placed
from daemon.state.records import FAILED, STOPPING, RunRecord, View
from daemon.store import Store
from shoal.engine.engine import Engine, is_fixed, state_bytes
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import PhaseLate, RunOver, TickCommitted
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX, TickMachine
from shoal.lockstep.timing import Cadence, TickTiming
from shoal.program.program import Program

log = logging.getLogger("shoal.runs")

TRY_AGAIN_SECONDS = 0.2
FIGURES_CHARACTERS_MAX = 32 << 10

FORCE_PATIENCE_NS = 500_000_000
"""A phase that takes longer is interrupted when its run is stopped by force."""
UNSTOPPABLE_LEAST_NS = 5_000_000_000
"""A program that is still there so long (or `stop_patience`) after it was interrupted holds up every other run here:
then the daemon starts again.
"""
FORCE_END_NS = 3_000_000_000
"""A run that goes on for so long after it was stopped by force ends where it is, whatever it waits for."""


class RunController:
    """The runs of one shard, as its control loop sees them. `kept_bytes` says what a run's states take on this disk, by
    its number; `soon` calls from the thread on the loop; `spawn` has
    something done beside the loop's turns.
    """

    def __init__(
        self,
        shard: ControlPlane,
        ticks: TickThread,
        graphs: Graphs,
        disk: Disk,
        fetching: Fetching,
        results: Results,
        programs: Programs,
        settings: Ticks,
        metrics: Metrics,
        kept_bytes: Callable[[int], int],
        perform: Callable[[Iterable[Effect]], None],
        soon: Callable[..., None],
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
    ) -> None:
        self._shard, self._ticks, self._graphs, self._results = shard, ticks, graphs, results
        self._disk, self._fetching, self._programs = disk, fetching, programs
        self._timing = TickTiming(settings.resend_interval_ns, settings.phase_timeout_ns)
        self._stop_patience_ns = settings.stop_patience_ns or settings.phase_timeout_ns
        self._kept_bytes = kept_bytes
        self._named_ns = 0
        self._wanted: tuple[object, int] | None = None
        """What the tick thread is to be got out of, and since when."""
        self._checkpoint_interval_ns = settings.checkpoint_interval_ns
        self._checkpoints_kept = settings.checkpoints_kept
        self._epochs: dict[int, int] = {}
        self._ticks_seen: dict[int, int] = {}
        self._forced_ns: dict[int, int] = {}
        """Since when runs that go on are known here to be stopped by force."""
        self._metrics, self._perform, self._soon, self._spawn = metrics, perform, soon, spawn
        self.over: dict[str, asyncio.Event] = {}
        """For each run that goes on, or whose end this shard is still to see: set when its result is kept."""
        self.tick_passed = asyncio.Event()
        """Set, and made anew, at each tick of a paced run."""

    async def kept(self, run: str, patience: float) -> bool:
        """Wait until a run is over here and its result is kept; whether that is so."""
        over = self.over.get(run)
        if over is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), patience)
        return over is None or over.is_set()

    # -- what the log decides --------------------------------------------------------------------------------------

    def begin(self, run: RunRecord, view: View) -> None:
        """Begin a run, or go on with it in a new view, as soon as its part and its state are at hand."""
        self.over.setdefault(run.name, asyncio.Event())
        self._epochs[run.number] = view.epoch
        if not run.resumed:
            is_older = partial(_is_older, run.begun_in)
            self._disk.order(lambda store: store.drop_void(run.number, is_older))
        self._spawn(self._begin(run, view))

    async def _begin(self, run: RunRecord, view: View) -> None:
        """What goes wrong ends the daemon, unless the world has gone on: then what is read may be deleted meanwhile."""
        try:
            await self._gather(run, view)
        except Exception as error:
            if self._still_wanted(run, view):
                raise
            log.info("run %s is not begun in view %d any more: %s", run.name, view.epoch, error)

    async def _gather(self, run: RunRecord, view: View) -> None:
        registry = self._shard.registry
        if not self._still_wanted(run, view):
            return  # the log has gone on, perhaps in the very batch that this came with
        try:
            program = await self._programs.make(run)
        except Exception as error:  # the program is a stranger's, and what it fails is its run
            if self._still_wanted(run, view):
                why = f"{self._shard.identity.name}: {failure_of(error)}"[:FAILURE_CHARACTERS_MAX]
                self._report(run.number, run.resumed, FAILED, why, 0)
            return
        if not self._still_wanted(run, view):
            return
        graph, placed = registry.graphs[run.graph], registry.placements[run.graph]
        part = await self._graphs.part(graph, view, placed)
        sizes = await self._replica_sizes(graph, placed, program)
        while self._still_wanted(run, view):
            try:
                state = await self._state(run, part) if run.resumed else None
            except NotFetched as error:
                log.warning("run %s: %s", run.name, error)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            if self._still_wanted(run, view):
                self._order_begin(run, view, part, program, placed, sizes, state)
            return

    def _still_wanted(self, run: RunRecord, view: View) -> bool:
        """The world has gone on while something was read: the run may be over, or go on in another view."""
        registry = self._shard.registry
        known = registry.runs.get(run.name)
        return known is not None and known.active and registry.epoch == view.epoch

    async def _state(self, run: RunRecord, part: ShardGraph) -> dict[int, Any]:
        """The states of this shard's partitions at the tick that the run goes on from, from disk or from peers.

        Raises `NotFetched`.
        """
        elsewhere = {s.shard: from_bits(s.partitions).intersection(part.partitions) for s in run.sources}
        mine = [p for p in part.partitions if not any(p in partitions for partitions in elsewhere.values())]
        read = await self._disk.do(lambda store: {p: store.state(run.number, run.resumed, p) for p in mine})
        missing = sorted(p for p, state in read.items() if state is None)
        if missing:
            raise RuntimeError(f"run {run.name}, tick {run.resumed}: the states of {missing} were here and are gone")
        for source, partitions in elsewhere.items():
            came = await self._fetching.states_from([source], run.number, run.resumed, partitions, run.origin)
            if len(came) < len(partitions):
                raise NotFetched(f"{source} has not sent all {len(partitions)} states of tick {run.resumed}")
            read |= came
        return read

    async def _replica_sizes(self, graph: AddGraph, placed: Placed, program: Program) -> dict[int, int]:
        """The bytes that states of partitions have of which this shard is a replica."""
        mine = [p for p, holders in enumerate(placed) if self._shard.identity.name in holders[1:]]
        if not mine:
            return {}
        nodes = np.bincount(await self._graphs.table(graph.load), minlength=graph.partition_count)
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
        me, granted = self._shard.identity.name, self._shard.pacing.granted(run.number)
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
        if self._shard.registry.runs[run.name].state == STOPPING:
            self.stop(run.number)

    def grant(self, run: int, tick: int) -> None:
        """Let a paced run go on up to this tick."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, now: machine.grant(tick, now)))

    def stop(self, run: int) -> None:
        """Ask a run to end after a tick that all shards agree on."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, now: machine.stop(now)))

    def watch_program(self) -> None:
        """Name a program that does not return, and once its run is to stop or is over, get the tick thread out of it.

        The others name it, too, if they wait for it; but there may be none.
        """
        self._end_by_force()
        section = self._ticks.runner.section
        busy = section.busy
        if busy is None:
            return
        (at, since), now = busy, time.monotonic_ns()
        if now - max(since, self._named_ns) > self._timing.phase_timeout_ns:
            self._named_ns = now
            log.warning("run %d: %s has been computed here for %.1f s", at.run, place_of(at), (now - since) / 1e9)
            self._metrics.count("phase_late", (self._shard.identity.name,))
        run = next((run for run in self._shard.registry.runs.values() if run.number == at.run), None)
        if run is not None and run.active and run.state != STOPPING:
            return
        hasty = run is None or run.is_forced or run.state == FAILED  # then nobody wants what it computes
        patience_ns = FORCE_PATIENCE_NS if hasty else self._stop_patience_ns
        if now - since <= patience_ns:
            return
        if self._wanted is None or self._wanted[0] is not busy:
            self._wanted = busy, now
        if section.interrupt(busy):
            log.warning("run %d: its program does not return from %s: interrupted", at.run, place_of(at))
        elif now - self._wanted[1] > max(UNSTOPPABLE_LEAST_NS, self._stop_patience_ns):
            self._wanted = busy, now  # once is enough
            log.error("run %d: its program can't be got out of %s: starting again", at.run, place_of(at))
            self._programs.start_again()

    def _end_by_force(self) -> None:
        """What is stopped by force ends, even if it waits for something that never comes."""
        now = time.monotonic_ns()
        forced = {run.number for run in self._shard.registry.active_runs() if run.state == STOPPING and run.is_forced}
        self._forced_ns = {number: self._forced_ns.get(number, now) for number in forced}
        for number, since in self._forced_ns.items():
            if now - since > FORCE_END_NS:
                self._ticks.order(partial(self._ticks.with_run, number, _ended_by_force))

    def heal(self, run: int, entries: tuple[tuple[str, int], ...]) -> None:
        """Tell a run's barrier what gossip knows."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, now: machine.relayed(entries, now)))

    def ended(self, run: RunRecord) -> None:
        """A run is over, says the log."""
        log.info("run %s %s after %d ticks%s", run.name, run.state, run.tick, run.failure and f": {run.failure}")

        self._epochs.pop(run.number, None)
        self._programs.ended(run)

        def keep(engine: Engine | None) -> None:
            self._soon(self._keep, run, engine)

        self._ticks.order(lambda: self._ticks.end_run(run.number, run.failure, keep))

    def _keep(self, run: RunRecord, engine: Engine | None) -> None:
        if engine is not None and run.has_result and run.name in self._shard.registry.runs:
            self._results.keep(run.name, run.tick, engine)
        self._ticks_seen.pop(run.number, None)
        self._metrics.forget_run(run.name)
        self.forget_states()
        self._graphs.give_back_soon()
        over = self.over.pop(run.name, None)
        if over is not None:
            over.set()

    def numbers_on(self, load: str) -> set[int]:
        """The runs on a graph whose states are kept."""
        return {run.number for run in self._shard.registry.runs_on(load) if run.active or run.has_result}

    def forget_states(self) -> None:
        """Delete the states of runs that have failed, whose results have expired or that went with their graph, and of
        the others all but the last few ticks.

        Of a run that the log has not come to (it may be read again from further back) nothing is deleted.
        """
        registry = self._shard.registry
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
        """The last tick of a run that is known here to be committed; it never falls, though some may be done again."""
        return max(self.reached(run.number), run.resumed, run.reached, run.tick) if run.active else run.tick

    def committed(self, number: int) -> int:
        """The same of a run by its number; 0 if the log has not come to it."""
        runs = self._shard.registry.runs.values()
        return next((self.tick_of(run) for run in runs if run.number == number), 0)

    def reached(self, run: int) -> int:
        """The last tick of a run, by its number, that was seen committed here."""
        figures = self._ticks.figures.get(run)
        latest = figures.ticks[-1].tick if figures and figures.ticks else 0
        seen = self._ticks_seen[run] = max(latest, self._ticks_seen.get(run, 0))
        return seen

    # -- what the tick thread tells --------------------------------------------------------------------------------

    def hear(self, news: TickCommitted | PhaseLate | RunOver) -> None:
        """News of a run."""
        match news:
            case TickCommitted(run=run, tick=tick):
                self._perform(self._shard.tick_committed(run, tick, time.monotonic_ns()))
                self.tick_passed.set()
                self.tick_passed = asyncio.Event()
            case PhaseLate():
                self._late(news)
            case RunOver(run=run, tick=tick, outcome=outcome, failure=failure):
                figures = self._ticks.figures.get(run)
                self._report(run, tick, outcome, failure, figures.own_bytes if figures else 0)
            case _:
                assert_never(news)

    def tell_progress(self) -> None:
        """Tell the progress gossip where the runs stand: read, never asked of the tick thread."""
        now, me = time.monotonic_ns(), self._shard.identity.name
        for run in self._shard.registry.active_runs():
            machine = self._ticks.machine(run.number)
            if machine is not None:
                entry, seconds = machine.barrier.entry(me), (now - machine.since) / 1e9
                self._shard.progress.own(run.number, entry, machine.tick, machine.doing(), seconds, now)

    def _late(self, late: PhaseLate) -> None:
        known = {progress.shard: progress for progress in self._shard.progress.of(late.run, time.monotonic_ns())}
        for shard in late.missing:
            progress = known.get(shard)
            doing = f"{progress.doing} for {progress.seconds:.1f} s" if progress else "nothing is known of it"
            where = f"{late.phase.word} of tick {late.tick}" if late.tick else "start"
            waited = late.waited_ns / 1e9
            log.warning("run %d: %s has waited %.1f s for shard %s: %s", late.run, where, waited, shard, doing)
            self._metrics.count("phase_late", (shard,))

    def fail(self, run: int, tick: int, why: str) -> None:
        """A run can't go on here, for a reason that is not its own."""
        failure = f"{self._shard.identity.name}: tick {tick} can't be kept: {why}"
        self._report(run, max(0, tick - 1), FAILED, failure[:FAILURE_CHARACTERS_MAX], 0)

    def _report(self, run: int, tick: int, outcome: str, failure: str, cross_bytes: int) -> None:
        known = self._ticks.figures.get(run)
        shown = json.dumps(known.shown, sort_keys=True) if known and known.shown else ""
        if len(shown) > FIGURES_CHARACTERS_MAX:
            log.warning(
                "run %d shows %d characters of figures, which no entry of the log takes: left out", run, len(shown)
            )
            shown = ""
        epoch = self._epochs.get(run, 0)
        kept = self._kept_bytes(run)
        report = RunReport(run, epoch, tick, outcome, failure, cross_bytes, time.time_ns(), shown, kept)
        self._perform(self._shard.run_over(report, time.monotonic_ns()))


def _is_older(epoch: int, made_in: int, _: int) -> bool:
    """Whether a state is of another run that had the number before: of a restoration that was given up."""
    return made_in < epoch


def _ended_by_force(machine: TickMachine, _: int) -> list[RunOver]:
    return machine.abort(f"{machine.shard}: stopped by force, while it was {machine.doing()}")

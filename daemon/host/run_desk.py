"""What the control loop does about runs: begins them on the tick thread, hears from it, and keeps what they computed.

Between the two planes everything goes through here: orders to the thread, and its news, one a run or a paced tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterable

from daemon.config import Ticks
from daemon.effects import Effect
from daemon.host.results import Results
from daemon.host.stage import Stage
from daemon.host.tick_thread import TickThread
from daemon.protocol import registry as reg
from daemon.protocol.cluster_messages import RunReport
from daemon.protocol.registry import RunRecord, View
from daemon.protocol.tick import FAILURE_CHARACTERS_MAX, TickMachine, TickTiming
from daemon.protocol.tick_effects import PhaseLate, RunOver, TickCommitted
from daemon.shard import Shard
from daemon.watch.metrics import Metrics
from shoal.engine import Engine
from shoal.errors import ShoalError
from shoal.program import find_program, read_params

log = logging.getLogger("shoal.runs")


class RunDesk:
    """The runs of one shard, as its control loop sees them. `soon` calls from the thread on the loop."""

    def __init__(
        self,
        shard: Shard,
        ticks: TickThread,
        stage: Stage,
        results: Results,
        settings: Ticks,
        metrics: Metrics,
        perform: Callable[[Iterable[Effect]], None],
        soon: Callable[..., None],
    ) -> None:
        self._shard, self._ticks, self._stage, self._results = shard, ticks, stage, results
        self._timing = TickTiming(settings.resend_interval_ns, settings.phase_timeout_ns)
        self._metrics, self._perform, self._soon = metrics, perform, soon
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

    def begin(self, run: RunRecord, view: View, granted: int | None) -> None:
        """Begin a run; one that can't begin here has failed, and the tick leader ends it everywhere."""
        me = self._shard.identity.name
        self.over[run.name] = asyncio.Event()
        try:
            program = find_program(run.program)(**read_params(run.params))
            part = self._stage.part(run.graph)
        except Exception as error:  # the program is a stranger's, and what it fails is its run
            why = str(error) if isinstance(error, ShoalError) else traceback.format_exc(limit=-8)
            self._report(run.number, 0, reg.FAILED, f"{me}: {why}"[:FAILURE_CHARACTERS_MAX], 0)
            return
        machine = TickMachine(run.number, me, view.names, run.phases, run.ticks, self._timing, granted)
        paced = granted is not None
        self._ticks.order(lambda: self._ticks.begin_run(machine, part, program, paced))

    def grant(self, run: int, tick: int) -> None:
        """Let a paced run go on up to this tick."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, now: machine.grant(tick, now)))

    def stop(self, run: int) -> None:
        """Ask a run to end after a tick that all shards agree on."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, now: machine.stop(now)))

    def heal(self, run: int, entries: tuple[tuple[str, int], ...]) -> None:
        """Tell a run's barrier what gossip knows."""
        self._ticks.order(lambda: self._ticks.with_run(run, lambda machine, _: machine.relayed(entries)))

    def ended(self, run: RunRecord) -> None:
        """A run is over, says the log."""
        log.info("run %s %s after %d ticks %s", run.name, run.state, run.tick, run.failure)

        def keep(engine: Engine | None) -> None:
            self._soon(self._keep, run, engine)

        self._ticks.order(lambda: self._ticks.end_run(run.number, run.failure, keep))

    def _keep(self, run: RunRecord, engine: Engine | None) -> None:
        if engine is not None and run.state in (reg.COMPLETED, reg.STOPPED):
            self._results.keep(run.name, engine)
        self._metrics.forget_run(run.name)
        over = self.over.pop(run.name, None)
        if over is not None:
            over.set()

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
            log.warning(
                "run %d: %s of tick %d has waited %.1f s for shard %s: %s",
                late.run, late.phase.word, late.tick, late.waited_ns / 1e9, shard, doing,
            )  # fmt: skip
            self._metrics.count("phase_late", (shard,))

    def _report(self, run: int, tick: int, outcome: str, failure: str, cross_bytes: int) -> None:
        report = RunReport(run, tick, outcome, failure, cross_bytes, time.time_ns())
        self._perform(self._shard.run_over(report, time.monotonic_ns()))

"""Carries out what the tick plane's machines ask for that needs no socket: runs phases and settles them on engines.

Shared by the daemon's tick thread and by the simulator. What is left over, messages to send and news to pass on, is
handed back in order. `hold` keeps phases back until the host says `run_held`: the simulator so gives them a duration.

A program's own code runs in a `Section`, out of which another thread can get it; whatever it raises fails its run. The
failure says where: the method, the tick, the shard, and the node if the exception has an attribute `shoal_node`.

Of a checkpoint, the states are taken from the engine here; making them durable is left to the host (`StoreStates`, to
be answered with `stored`), for this thread has no time to wait for a disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from daemon.runtime.guard import FIRST_PHASE, HALTED, KEEPING, Slot
from daemon.runtime.interruption import Interrupted, Section
from daemon.transfer.chunks import AnyPiece, LoadLimits, PieceAnswered, PieceGone
from daemon.transfer.tick_plane import Effect, TickMessage, TickPlane
from shoal.engine.engine import BadExchange, BadState, Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.barrier import phase_of
from shoal.lockstep.effects import (
    HoldTick,
    PhaseLate,
    RunOver,
    RunPhase,
    SendTick,
    SettlePhase,
    StoreStates,
    TickCommitted,
    TickHeld,
)
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX, TickMachine
from shoal.lockstep.messages import PhaseDone
from shoal.program.failures import failure, phase_place, place
from shoal.program.phase import Phase
from shoal.program.program import Program

HandedOver: TypeAlias = TickCommitted | PhaseLate | RunOver | AnyPiece | PieceGone | PieceAnswered
"""What the loop has to do with."""
News: TypeAlias = SendTick | StoreStates | HandedOver
State: TypeAlias = tuple[int, Mapping[int, Any]]
"""A tick, and by partition what was captured of it."""
InProgram: TypeAlias = RunPhase | SettlePhase | HoldTick
"""Where a program's own code runs: its phases and what comes before the first; `halted`; `collect` and `save`."""
TRACE_CHARACTERS_MAX = FAILURE_CHARACTERS_MAX - 300
"""Of a traceback the end says most; the phase, the tick and the shard stand in front of it."""

ADVANCE = Phase.ADVANCE
MISFITS_MAX = 5
"""So often a share that does not fit is asked for again."""


class TickRunner:
    """The runs of one shard with their engines. `clock` gives monotonic nanoseconds.

    With `tell`, news is handed over as it comes and the lists returned are empty. A shard's share of a phase is so on
    its way to the others before the next phase is run here, which may follow at once and take long.
    """

    def __init__(
        self,
        shard: str,
        limits: LoadLimits,
        clock: Callable[[], int],
        *,
        kernel_threads: int = 1,
        hold: bool = False,
        tell: Callable[[News], None] | None = None,
        slot: Slot | None = None,
    ) -> None:
        self.plane = TickPlane(shard, limits)
        self.engines: dict[int, Engine] = {}
        self.held: list[RunPhase] = []
        self.section: Section[InProgram] = Section(slot, _in_the_page)
        self.bad_exchanges = 0
        self.misfits: dict[tuple[int, str, int], int] = {}
        """How often a share that is waited for has come and did not fit, by run, sender and barrier entry."""
        self._replicas: dict[int, Mapping[int, Sequence[str]]] = {}
        self._clock, self.hold, self.tell = clock, hold, tell
        self._threads = kernel_threads
        self._pool = ThreadPoolExecutor(kernel_threads, "kernel") if kernel_threads > 1 else None

    def begin(
        self,
        machine: TickMachine,
        part: ShardGraph,
        program: Program,
        *,
        replicas: Mapping[int, Sequence[str]] | None = None,
        primaries: Mapping[int, str] | None = None,
        sizes: Mapping[int, int] | None = None,
        state: State | None = None,
    ) -> list[News]:
        """Begins a run on a part, at a restored `state` if there is one.

        Own partitions' states go to their `replicas`; states of others are taken from their `primaries`, of `sizes` if
        those are known.
        """
        assert (state[0] if state else 0) == machine.tick, (machine.tick, state and state[0])
        self._replicas[machine.run] = replicas or {}
        effects: Sequence[Effect] = self.plane.begin(machine, self._clock(), primaries, sizes)
        first, began = RunPhase(machine.run, machine.tick, ADVANCE), self._clock()
        try:
            engine = self.section.run(first, began, Engine, part, program, self._pool, self._threads)
            self.engines[machine.run] = engine
            if state is not None:
                engine.restore(*state)
        except BadState as unfit:
            effects = machine.raised(f"the state of tick {machine.tick} can't be taken: {unfit}", 0, self._clock())
        except BaseException as error:  # a program's failure is its run's, never the daemon's
            effects = self._failed(first, began, error)
        news = self.perform(effects)
        for sender, message in self.plane.early(machine.run):
            news += self.take(sender, message)
        return news

    def take(self, sender: str, message: TickMessage) -> list[News]:
        """Takes a peer's message; a share that does not fit the graph or program is dropped and counted.

        It is asked for again; but one that never fits would be waited for without an end, so its run fails.
        """
        if type(message) is PhaseDone:
            misfit = self._misfit(sender, message)
            if misfit:
                return self._refuse(sender, message, misfit)
        effects = self.plane.step(sender, message, self._clock())
        return self.perform(effects) if effects else []

    def wake(self) -> list[News]:
        """Advances whatever is due."""
        return self.perform(self.plane.wake(self._clock()))

    def stored(self, token: int) -> list[News]:
        """What a `StoreStates` asked for is durable."""
        return self.perform(self.plane.replication.stored(token, self._clock()))

    def leave_epoch(self) -> None:
        """A new view: drop the runs of the old one, with all that they have computed."""
        self.plane.leave_epoch()
        self.engines.clear()
        self._replicas.clear()
        self.held.clear()
        self.misfits.clear()

    def forget(self, run: int) -> Engine | None:
        """The cluster is done with a run: what is left of it is its engine, with the results."""
        self.plane.forget(run)
        self._replicas.pop(run, None)
        self.held = [held for held in self.held if held.run != run]
        self.misfits = {share: times for share, times in self.misfits.items() if share[0] != run}
        return self.engines.pop(run, None)

    def perform(self, effects: Sequence[Effect]) -> list[News]:
        """Carries out effects and what follows from them, in order."""
        news = list[News]()
        tell = self.tell or news.append
        while effects:
            following = list[Effect]()
            for effect in effects:
                if type(effect) is SendTick:
                    tell(effect)
                elif type(effect) is SettlePhase:
                    following += self._settle(effect)
                elif type(effect) is RunPhase:
                    if self.hold:
                        self.held.append(effect)
                    else:
                        following += self._run(effect)
                elif type(effect) is HoldTick:
                    following += self._capture(effect)
                elif type(effect) is TickHeld:
                    following += self._tick_held(effect)
                else:
                    tell(effect)  # type: ignore[arg-type]
            effects = following
        return news

    def run_held(self, effect: RunPhase) -> list[News]:
        """Runs a phase that was held back."""
        self.held.remove(effect)
        return self.perform(self._run(effect))

    def close(self) -> None:
        """Lets the kernel threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, effect: RunPhase) -> Sequence[Effect]:
        machine, engine = self.plane.runs[effect.run], self.engines[effect.run]
        began = self._clock()
        try:
            outgoing = self.section.run(effect, began, engine.run, effect.tick, effect.phase)
        except BaseException as error:  # the same
            return self._failed(effect, began, error)
        now = self._clock()
        return machine.computed(outgoing, now - began, now)

    def _settle(self, effect: SettlePhase) -> Sequence[Effect]:
        machine, engine = self.plane.runs[effect.run], self.engines[effect.run]
        began = self._clock()
        try:
            engine.settle(effect.phase, effect.shares)
            halted = effect.phase is ADVANCE and self.section.run(effect, began, _halts, engine)
        except BaseException as error:  # the same
            return self._failed(effect, began, error)
        return machine.settled(halted, self._clock())

    def _failed(self, phase: InProgram, began: int, error: BaseException) -> Sequence[Effect]:
        """A program has raised something: tell its machine. Ctrl-C in a simulation is not its doing."""
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise error
        now = self._clock()
        return self.plane.runs[phase.run].raised(_told(phase, (now - began) / 1e9, error), now - began, now)

    def _capture(self, effect: HoldTick) -> Sequence[Effect]:
        run, began = effect.run, self._clock()
        try:
            states = self.section.run(effect, began, self.engines[run].capture)
        except BaseException as error:  # the same
            return self._failed(effect, began, error)
        open_shares, now = self.plane.runs[run].captured(), self._clock()
        hold = self.plane.replication.hold(run, effect.tick, effect.floor, states, self._replicas[run], now)
        return [*open_shares, *hold]

    def _tick_held(self, effect: TickHeld) -> Sequence[Effect]:
        machine = self.plane.runs[effect.run]
        assert machine.tick == effect.tick, (machine.tick, effect)
        return machine.held(self._clock())

    def _misfit(self, sender: str, message: PhaseDone) -> str:
        """What is wrong with a share; empty if nothing is."""
        engine = self.engines.get(message.run)
        if engine is None or message.failure:
            return ""
        if sender not in engine.part.ghosts or message.entry < 1:
            return "it is nobody's share of this run"
        try:
            engine.check(sender, phase_of(message.entry)[1], message)
        except BadExchange as error:
            return str(error)
        return ""

    def _refuse(self, sender: str, message: PhaseDone, misfit: str) -> list[News]:
        self.bad_exchanges += 1
        machine = self.plane.runs.get(message.run)
        if machine is None or message.entry != machine.entry or machine.has_share_of(sender):
            return []
        share = (message.run, sender, message.entry)
        self.misfits[share] = self.misfits.get(share, 0) + 1
        if self.misfits[share] < MISFITS_MAX:
            return []
        tick, phase = phase_of(message.entry)
        told = f"{phase.word} of tick {tick}: what shard {sender} sends does not fit, {MISFITS_MAX} times: {misfit}"
        return self.perform(machine.abort(f"{machine.shard}: {told}"))


def _halts(engine: Engine) -> bool:
    """The program's word on it, as a yes or no: of an array with two values there is none."""
    return bool(engine.halted())


def _in_the_page(at: InProgram) -> tuple[int, int, int]:
    """Where in a run its program is, as the guard has it."""
    if type(at) is RunPhase:
        return FIRST_PHASE + at.phase, at.run, at.tick
    return HALTED if type(at) is SettlePhase else KEEPING, at.run, at.tick


def place_of(at: InProgram) -> str:
    """Where in a run its program is, in words."""
    if isinstance(at, HoldTick):
        return f"keeping the state of tick {at.tick}"
    return f"halted after tick {at.tick}" if isinstance(at, SettlePhase) else phase_place(at.phase, at.tick)


def _told(at: InProgram, seconds: float, error: BaseException) -> str:
    """What has become of a program; the machine puts the shard's name in front of it."""
    where = place(error, at.tick, place_of(at))
    if isinstance(error, Interrupted):
        return f"stopped: the program did not return from {where} for {seconds:.1f} s"
    return failure(error, where, TRACE_CHARACTERS_MAX)

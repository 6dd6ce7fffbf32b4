"""Carries out what the tick plane's machines ask for that needs no socket: runs phases and settles them on engines.

Shared by the daemon's tick thread and by the simulator. What is left over, messages to send and news to pass on, is
handed back in order. `hold` keeps phases back until the host says `run_held`: the simulator so gives them a duration.

Of a checkpoint, the states are taken from the engine here; making them durable is left to the host (`StoreStates`, to
be answered with `stored`), for this thread has no time to wait for a disk.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from daemon.protocol.barrier import phase_of
from daemon.protocol.load import LoadLimits, PieceArrived, PieceGone
from daemon.protocol.tick import TickMachine
from daemon.protocol.tick_effects import (
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
from daemon.protocol.tick_messages import PhaseDone
from daemon.protocol.tick_plane import Effect, TickMessage, TickPlane
from shoal.engine import BadExchange, Engine
from shoal.part import Part
from shoal.phase import Phase
from shoal.program import Program

News: TypeAlias = SendTick | TickCommitted | PhaseLate | RunOver | StoreStates | PieceArrived | PieceGone
State: TypeAlias = tuple[int, Mapping[int, Any]]
"""A tick, and by partition what was captured of it."""

ADVANCE = Phase.ADVANCE


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
    ) -> None:
        self.plane = TickPlane(shard, limits)
        self.engines: dict[int, Engine] = {}
        self.held: list[RunPhase] = []
        self.bad_exchanges = 0
        self._replicas: dict[int, Mapping[int, Sequence[str]]] = {}
        self._clock, self._hold, self.tell = clock, hold, tell
        self._threads = kernel_threads
        self._pool = ThreadPoolExecutor(kernel_threads, "kernel") if kernel_threads > 1 else None

    def begin(
        self,
        machine: TickMachine,
        part: Part,
        program: Program,
        *,
        replicas: Mapping[int, Sequence[str]] | None = None,
        primaries: Mapping[int, str] | None = None,
        sizes: Mapping[int, int] | None = None,
        state: State | None = None,
    ) -> list[News]:
        """Begin a run on a part, at a restored `state` if there is one.

        Own partitions' states go to their `replicas`; states of others are taken from their `primaries`, of `sizes` if
        those are known.
        """
        assert (state[0] if state else 0) == machine.tick, (machine.tick, state and state[0])
        engine = self.engines[machine.run] = Engine(part, program, self._pool, self._threads)
        self._replicas[machine.run] = replicas or {}
        effects = self.plane.begin(machine, self._clock(), primaries, sizes)
        if state is not None:
            try:
                engine.restore(*state)
            except ValueError as unfit:
                effects = machine.raised(f"the state of tick {state[0]} can't be taken: {unfit}", 0, self._clock())
        news = self.perform(effects)
        for sender, message in self.plane.early(machine.run):
            news += self.take(sender, message)
        return news

    def take(self, sender: str, message: TickMessage) -> list[News]:
        """Take a peer's message; a share that does not fit the graph or program is dropped and counted."""
        if type(message) is PhaseDone and not self._fits(sender, message):
            self.bad_exchanges += 1
            return []
        effects = self.plane.step(sender, message, self._clock())
        return self.perform(effects) if effects else []

    def wake(self) -> list[News]:
        """Look at the time."""
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

    def forget(self, run: int) -> Engine | None:
        """The cluster is done with a run: what is left of it is its engine, with the results."""
        self.plane.forget(run)
        self._replicas.pop(run, None)
        self.held = [held for held in self.held if held.run != run]
        return self.engines.pop(run, None)

    def perform(self, effects: Sequence[Effect]) -> list[News]:
        """Carry out effects and what follows from them, in order."""
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
                    if self._hold:
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
        """Run a phase that was held back."""
        self.held.remove(effect)
        return self.perform(self._run(effect))

    def close(self) -> None:
        """End the kernel threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _run(self, effect: RunPhase) -> Sequence[Effect]:
        machine, engine = self.plane.runs[effect.run], self.engines[effect.run]
        began = self._clock()
        try:
            outgoing = engine.run(effect.tick, effect.phase)
        except Exception:  # a program's failure is its run's, never the daemon's
            now = self._clock()
            return machine.raised(_told(effect, traceback.format_exc(limit=-8)), now - began, now)
        now = self._clock()
        return machine.computed(outgoing, now - began, now)

    def _settle(self, effect: SettlePhase) -> Sequence[Effect]:
        machine, engine = self.plane.runs[effect.run], self.engines[effect.run]
        try:
            engine.settle(effect.phase, effect.shares)
            halted = effect.phase is ADVANCE and engine.halted()
        except Exception:  # the same
            now = self._clock()
            told = _told(RunPhase(effect.run, effect.tick, effect.phase), traceback.format_exc(limit=-8))
            return machine.raised(told, 0, now)
        return machine.settled(halted, self._clock())

    def _capture(self, effect: HoldTick) -> Sequence[Effect]:
        run, states = effect.run, self.engines[effect.run].capture()
        return self.plane.replication.hold(run, effect.tick, effect.floor, states, self._replicas[run], self._clock())

    def _tick_held(self, effect: TickHeld) -> Sequence[Effect]:
        machine = self.plane.runs[effect.run]
        assert machine.tick == effect.tick, (machine.tick, effect)
        return machine.held(self._clock())

    def _fits(self, sender: str, message: PhaseDone) -> bool:
        engine = self.engines.get(message.run)
        if engine is None or message.failure:
            return True
        if sender not in engine.part.ghosts or message.entry < 1:
            return False
        try:
            engine.check(sender, phase_of(message.entry)[1], message)
        except BadExchange:
            return False
        return True


def _told(effect: RunPhase, told: str) -> str:
    return f"{effect.phase.word} of tick {effect.tick} failed\n{told}"

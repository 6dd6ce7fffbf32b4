"""Runs phases and settles them on engines for every host of a tick machine, without sockets or disks.

Daemons, `shoal.local` and the simulator use this same runner; each decides how to keep a captured state (`keep`) and
where messages go. The runner returns the messages to send and the news to pass on, in order. `hold` delays phases until
the host calls `run_held`, which the simulator uses to give them a duration.

A program's own code runs in a `Section`, where another thread can interrupt it; anything it raises fails its run. The
failure names the method, the tick, the shard, and the node if the exception has an attribute `shoal_node`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeAlias, TypeVar

from shoal.engine.engine import BadState, Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import HoldTick, RunPhase, SendTick, SettlePhase, TickHeld
from shoal.lockstep.interruptible import Interrupted, Section
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX, TickMachine
from shoal.program.failures import failure, phase_place, place
from shoal.program.phase import Phase
from shoal.program.program import Program

N = TypeVar("N")
State: TypeAlias = tuple[int, Mapping[int, Any]]
"""A tick, and what was captured of it, by partition."""
InProgram: TypeAlias = RunPhase | SettlePhase | HoldTick
"""What runs a program's own code: its phases and what comes before the first; `halted`; `collect` and `save`."""
TRACE_CHARACTERS_MAX = FAILURE_CHARACTERS_MAX - 300
"""The end of a traceback says most, so its start is cut; the phase, the tick and the shard precede it."""

ADVANCE = Phase.ADVANCE


class Runner(ABC, Generic[N]):
    """The runs of one shard: a machine and an engine each. `clock` gives monotonic nanoseconds.

    With `tell`, the runner passes news on at once and returns empty lists. So a shard's share of a phase is on its way
    before the next phase runs here, which may follow at once and take long.
    """

    def __init__(
        self,
        machines: dict[int, TickMachine],
        section: Section[InProgram],
        clock: Callable[[], int],
        *,
        kernel_threads: int = 1,
        hold: bool = False,
        tell: Callable[[N], None] | None = None,
    ) -> None:
        """The host owns the `machines` of the runs, by number: it adds and removes them."""
        self.section, self.tell = section, tell
        self.engines: dict[int, Engine] = {}
        self.held: list[RunPhase] = []
        self._machines, self._clock, self.hold = machines, clock, hold
        self._threads = kernel_threads
        self._pool = ThreadPoolExecutor(kernel_threads, "kernel") if kernel_threads > 1 else None

    @abstractmethod
    def keep(self, effect: HoldTick, states: Mapping[int, Any]) -> Sequence[object]:
        """Makes the captured states of own partitions durable. Returns effects; `TickHeld` is among them, or comes
        later.
        """

    def capture(self, engine: Engine) -> Mapping[int, Any]:
        """Captures the states of own partitions."""
        return engine.capture()

    def is_failure(self, error: BaseException) -> bool:
        """Whether an exception from a program fails its run; Ctrl-C, which only the main thread gets, does not."""
        return not (isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread())

    def set_up(
        self, machine: TickMachine, part: ShardGraph, program: Program, state: State | None, begun: Sequence[object]
    ) -> list[N]:
        """Creates the engine of a run whose machine has `begun`, and restores `state` if there is one."""
        assert (state[0] if state else 0) == machine.tick, (machine.tick, state and state[0])
        first, began = RunPhase(machine.run, machine.tick, ADVANCE), self._clock()
        try:
            engine = self.section.run(first, began, Engine, part, program, self._pool, self._threads)
            self.engines[machine.run] = engine
            if state is not None:
                engine.restore(*state)
        except BadState as unfit:
            begun = machine.raised(f"the state of tick {machine.tick} can't be taken: {unfit}", 0, self._clock())
        except BaseException as error:  # a program's failure fails its run, never the host
            begun = self._failed(first, began, error)
        return self.perform(begun)

    def perform(self, effects: Sequence[object]) -> list[N]:
        """Carries out effects and what follows from them, in order."""
        news = list[N]()
        tell = self.tell or news.append
        while effects:
            following = list[object]()
            for effect in effects:
                if type(effect) is SendTick:
                    tell(effect)  # type: ignore[arg-type]
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

    def run_held(self, effect: RunPhase) -> list[N]:
        """Runs a phase that was delayed."""
        self.held.remove(effect)
        return self.perform(self._run(effect))

    def close(self) -> None:
        """Ends the kernel threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, effect: RunPhase) -> Sequence[object]:
        machine, engine = self._machines[effect.run], self.engines[effect.run]
        began = self._clock()
        try:
            outgoing = self.section.run(effect, began, engine.run, effect.tick, effect.phase)
        except BaseException as error:  # as above
            return self._failed(effect, began, error)
        now = self._clock()
        return machine.computed(outgoing, now - began, now)

    def _settle(self, effect: SettlePhase) -> Sequence[object]:
        machine, engine = self._machines[effect.run], self.engines[effect.run]
        began = self._clock()
        try:
            engine.settle(effect.phase, effect.shares)
            halted = effect.phase is ADVANCE and self.section.run(effect, began, _halts, engine)
        except BaseException as error:  # as above
            return self._failed(effect, began, error)
        return machine.settled(halted, self._clock())

    def _capture(self, effect: HoldTick) -> Sequence[object]:
        began = self._clock()
        try:
            states = self.section.run(effect, began, self.capture, self.engines[effect.run])
        except BaseException as error:  # as above
            return self._failed(effect, began, error)
        return [*self._machines[effect.run].captured(), *self.keep(effect, states)]

    def _tick_held(self, effect: TickHeld) -> Sequence[object]:
        machine = self._machines[effect.run]
        assert machine.tick == effect.tick, (machine.tick, effect)
        return machine.held(self._clock())

    def _failed(self, phase: InProgram, began: int, error: BaseException) -> Sequence[object]:
        """A program has raised an exception: its machine tells the others."""
        if not self.is_failure(error):
            raise error
        now = self._clock()
        return self._machines[phase.run].raised(_told(phase, (now - began) / 1e9, error), now - began, now)


def _halts(engine: Engine) -> bool:
    """Returns the program's answer as a bool; an array with two values raises."""
    return bool(engine.halted())


def place_of(at: InProgram) -> str:
    """Returns where in a run its program is, in words."""
    if isinstance(at, HoldTick):
        return f"keeping the state of tick {at.tick}"
    return f"halted after tick {at.tick}" if isinstance(at, SettlePhase) else phase_place(at.phase, at.tick)


def _told(at: InProgram, seconds: float, error: BaseException) -> str:
    """Describes a program's failure; the machine prefixes the shard's name."""
    where = place(error, at.tick, place_of(at))
    if isinstance(error, Interrupted):
        return f"stopped: the program did not return from {where} for {seconds:.1f} s"
    return failure(error, where, TRACE_CHARACTERS_MAX)

"""The shards of a run in this process: the tick machines that daemons host, with messages delivered in memory.

One thread serves all of them in turn. Messages can't be lost, so no machine is ever woken; nothing here is durable, so
a tick is held as soon as its state is captured. Ticks are granted, so between calls all shards are at the end of the
same tick.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from shoal.engine.engine import Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import HoldTick, RunOver, SendTick, TickCommitted, TickHeld
from shoal.lockstep.interruptible import Section
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.runner import InProgram, Runner, State
from shoal.lockstep.timing import Cadence, TickTiming
from shoal.program.program import Program

T = TypeVar("T")

RUN: Final = 1
"""The number of the only run that these machines have."""


class LocalShards:
    """One attempt at a run, from its start or from a state. Raises the program's errors about its parameters."""

    def __init__(
        self,
        parts: Mapping[str, ShardGraph],
        make: Callable[[], Program],
        ticks: int,
        checkpoint_ticks: int,
        state: State | None,
    ) -> None:
        self.members = tuple(parts)
        self.committed: list[TickCommitted] = []
        """Ticks that the first shard has committed; the host clears the list."""
        self.cause: Exception | None = None
        """The first exception that the program raised."""
        self._over: dict[str, RunOver] = {}
        self._post: deque[tuple[str, SendTick]] = deque()
        self._state = state
        self._shards = {
            shard: _Shard(self, shard, part, make(), ticks, checkpoint_ticks, state[0] if state else 0)
            for shard, part in parts.items()
        }

    @property
    def engines(self) -> dict[str, Engine]:
        """Returns the engines, by shard, without those that could not be created."""
        return {name: shard.engines[RUN] for name, shard in self._shards.items() if shard.engines}

    @property
    def outcome(self) -> RunOver | None:
        """Returns how the run has ended; a failure takes precedence."""
        ends = sorted(self._over.values(), key=lambda over: over.outcome != "failed")
        return ends[0] if ends else None

    def begin(self) -> None:
        """Runs the program's start, or exchanges the restored state."""
        for shard in self._shards.values():
            shard.begin(self._state)
        self._state = None
        self._deliver(next(iter(self._shards.values())).machine.tick)

    def go_on(self, tick: int, *, stop: bool = False) -> None:
        """Runs all ticks up to this one; with `stop`, one more tick and then the end."""
        for shard in self._shards.values():
            now = time.perf_counter_ns()
            shard.perform(shard.machine.stop(now) if stop else shard.machine.grant(tick, now))
        self._deliver(tick)

    def send(self, sender: str, effect: object) -> None:
        """Handles news from a shard's runner."""
        if type(effect) is SendTick:
            self._post.append((sender, effect))
        elif type(effect) is TickCommitted:
            if sender == self.members[0]:
                self.committed.append(effect)
        elif type(effect) is RunOver:
            self._over[sender] = effect

    def _deliver(self, tick: int) -> None:
        post, shards = self._post, self._shards
        while post:
            sender, sent = post.popleft()
            shard = shards[sent.to]
            effects = shard.machine.step(sender, sent.message, time.perf_counter_ns())  # type: ignore[arg-type]
            if effects:
                shard.perform(effects)
        if 0 < len(self._over) < len(shards) and all(over.outcome != "failed" for over in self._over.values()):
            self.go_on(tick + 1)  # a shard that continues alone shows the others that they disagree


class _Open(Section[InProgram]):
    """Only the user interrupts a program here, and Python handles that anywhere."""

    def run(self, what: InProgram, since: int, call: Callable[..., T], *args: Any) -> T:
        return call(*args)


class _Shard(Runner[object]):
    """One shard with its machine."""

    def __init__(
        self,
        shards: LocalShards,
        name: str,
        part: ShardGraph,
        program: Program,
        ticks: int,
        checkpoint_ticks: int,
        tick: int,
    ) -> None:
        kind = type(program)
        self.machine = TickMachine(
            RUN, name, shards.members, program.phases(), ticks, TickTiming(), tick,
            tick=tick, cadence=Cadence(checkpoint_ticks or -1), must_halt=not program.anytime,
        )  # fmt: skip
        super().__init__({RUN: self.machine}, _Open(), time.perf_counter_ns, tell=partial(shards.send, name))
        self._shards, self._part, self._program = shards, part, program
        self._has_own_state = program.saves or kind.collect is not Program.collect
        """Whether the program's own code produces part of its state; it may fail, here as on a cluster."""

    def begin(self, state: State | None) -> None:
        """Creates the engine and starts the machine, with the states of own partitions if there are any."""
        own = (state[0], {p: state[1][p] for p in self._part.partitions}) if state else None
        self.set_up(self.machine, self._part, self._program, own, self.machine.begin(time.perf_counter_ns()))

    def keep(self, effect: HoldTick, states: Mapping[int, Any]) -> Sequence[object]:
        """Holds the tick at once: the engine has its state, and nothing here is more durable."""
        return [TickHeld(effect.run, effect.tick)]

    def capture(self, engine: Engine) -> Mapping[int, Any]:
        """Calls the program's own methods for its state, which may fail; the captured state is not used."""
        if self._has_own_state:
            engine.collected()
            for partition in self._part.partitions if self._program.saves else ():
                self._program.save(engine.ws, partition)
        return {}

    def is_failure(self, error: BaseException) -> bool:
        """Whether the program raised it; Ctrl-C and the like are left to the caller."""
        if isinstance(error, Exception) and self._shards.cause is None:
            self._shards.cause = error
        return isinstance(error, Exception)

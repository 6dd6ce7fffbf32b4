"""A run in this process: an engine for each shard, side by side, and where they stand.

What others see of a run is its `Standing`, which is replaced as a whole when a tick is over: so nobody, in whatever
thread, sees half of one. A tick is done by one thread at a time; the others that wait for the run take turns with it.

A tick that is left half-way, by Ctrl-C or anything else that is not the program's own failure, has not happened. The
engines are of no use then, so others are made that do again, to the bit, what was done since the start or since the
last state that was taken. One is taken every `KEEP_SECONDS`, as daemons do, so that what ends sooner does not pay for
it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import Refused
from shoal.engine.engine import Engine
from shoal.engine.resume_check import NotResumable, ResumeCheck
from shoal.graph.graph_data import GraphData
from shoal.graph.shard_graph import ShardGraph
from shoal.program.failures import disagreement, failure, phase_place, place
from shoal.program.phase import Phase
from shoal.program.program import Program, not_converged
from shoal.query.search import Index

CHECKPOINTS_KEPT: Final = 3
"""As many ticks of a run as a daemon keeps that was not told otherwise."""
KEEP_SECONDS: Final = 5.0
KEEP_SHARE: Final = 20
"""A state that took a second to take is good for so many."""

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

Array: TypeAlias = NDArray[Any]


@dataclass
class LocalGraph:
    """A graph, cut between the shards; `load` tells it from others that had its name."""

    name: str
    load: str
    data: GraphData
    parts: dict[str, ShardGraph]
    indexes: dict[str, list[Index]] = field(default_factory=dict)
    """Of the texts that were searched, by column."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run was asked for."""

    params: dict[str, Any]
    ticks: int
    paced: bool = False
    interval: float = 0.0
    checkpoint_ticks: int = 0
    check: bool = False


class Standing(NamedTuple):
    """A run after one of its ticks."""

    tick: int = 0
    state: str = "running"
    ended: float | None = None
    error: str | None = None
    cause: Exception | None = None
    cross_bytes: int = 0
    last_tick: Mapping[str, Any] = NOTHING
    figures: Mapping[str, Any] = NOTHING
    checkpoints: Mapping[int, Mapping[str, Array]] = NOTHING
    """The last ticks that were kept while it went on: by tick, each column over the whole graph."""

    def over(self, state: str, error: str | None = None, cause: Exception | None = None) -> Standing:
        """The same, at its end."""
        return self._replace(state=state, ended=time.monotonic(), error=error, cause=cause)


class LocalRun:
    """One execution of a program. Raises what the program says of its parameters."""

    def __init__(self, name: str, graph: LocalGraph, program: type[Program], asked: Asked) -> None:
        self.name, self.graph, self.program, self.asked = name, graph, program, asked
        self.began = time.monotonic()
        self._tick_began = float("-inf")
        self._standing = Standing()
        self._dropped: str | None = None
        self._turn = threading.Lock()
        self._inside: int | None = None
        """The thread that has the turn."""
        self._process = os.getpid()
        self._engines, self._check = self._made()
        self._are_new = True
        self._at: int | None = None
        """The tick at which the engines stand; None: before the first one, or inside of one."""
        self._kept: tuple[int, dict[int, bytes]] | None = None
        self._keep_at = self.began + KEEP_SECONDS if program.anytime and not asked.check else float("inf")

    # -- what is seen ----------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """After its last tick."""
        standing, dropped = self._standing, self._dropped
        return standing if dropped is None or standing.state != "running" else standing.over("failed", dropped)

    def ticks_kept(self, standing: Standing) -> list[int]:
        """At which ticks it can be read: one that has to converge, once it has."""
        if standing.state == "failed":
            return []
        if not self.program.anytime:
            return [standing.tick] if standing.state == "completed" else []
        over = {standing.tick} if standing.state != "running" else set()
        return sorted(over | standing.checkpoints.keys())[-CHECKPOINTS_KEPT:]

    def columns(self, standing: Standing, tick: int, names: Sequence[str]) -> Mapping[str, Array]:
        """Columns over the whole graph in id order, at a tick that is kept."""
        if tick in standing.checkpoints:
            return standing.checkpoints[tick]
        return self._whole(self.engines_at_end(), names)

    def engines_at_end(self) -> dict[str, Engine]:
        """The engines of a run that is over."""
        self._see_that_we_may_wait()
        with self._turn:
            self._settle()
            return self._engines

    # -- what is done ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Do what comes before the first tick."""
        try:
            crossed = self._settle()
        except Exception as error:  # the program's own: it has failed its run, and who waits for it will hear
            self._standing = self._failed(self._standing, 0, error, Phase.ADVANCE)
            return
        self._standing = self._standing._replace(cross_bytes=crossed, figures=self._figures())

    def drop(self, why: str) -> None:
        """Its graph has gone: it ends, whatever it is doing."""
        self._dropped = why

    @property
    def seconds_to_wait(self) -> float:
        """Until its next tick is due."""
        return self._tick_began + self.asked.interval - time.monotonic()

    def do_tick(self, *, after: int | None = None, stop: bool = False) -> Standing:
        """The next tick, and where the run stands then. With `after`, nothing if another thread has done it by now."""
        self._see_that_we_may_wait()
        with self._turn:
            before, self._inside = self.standing, threading.get_ident()
            try:
                if before.state == "running" and after in (None, before.tick):
                    self._advance(before, stop)
            finally:
                self._inside = None
        return self.standing

    # -- within ----------------------------------------------------------------------------------------------------

    def _see_that_we_may_wait(self) -> None:
        """Before the turn is taken: see that this thread does not have it."""
        if self._process != os.getpid():  # a child that was forked: whoever had the turn is not here
            self._process, self._turn, self._inside = os.getpid(), threading.Lock(), None
        if self._turn.locked() and self._inside == threading.get_ident():
            raise Refused(f"run '{self.name}' is in the middle of a tick: what is called there can't wait for its end")

    def _made(self) -> tuple[dict[str, Engine], ResumeCheck | None]:
        params, parts = self.asked.params, self.graph.parts
        engines = {shard: Engine(part, self.program(**params)) for shard, part in parts.items()}
        if not self.asked.check:
            return engines, None
        return engines, ResumeCheck(lambda: self.program(**params), parts, self.graph.data.ids)

    def _settle(self) -> int:
        """Have the engines stand at the end of the last tick; the bytes that crossed for that."""
        tick = self._standing.tick
        if self._at == tick:
            return 0
        self._at = None
        if not self._are_new:
            self._engines, self._check = self._made()
        self._are_new = False
        first, states = self._kept or (0, {})
        for engine in self._engines.values() if states else ():
            engine.restore(first, {partition: states[partition] for partition in engine.part.partitions})
        crossed = self._exchange(first, Phase.ADVANCE, {})
        if self._check is not None:
            self._check.keep(first, self._engines)
        for again in range(first + 1, tick + 1):
            for phase in self.program.phases():
                crossed += self._exchange(again, phase, {})
            if self._check is not None:
                self._check.compare(again, self._engines, halted=False)
        self._at = tick
        return crossed

    def _advance(self, before: Standing, stop: bool) -> None:
        self._tick_began = time.monotonic()
        standing = self._standing = self._ticked(before, stop)
        if standing.state == "running" and self._tick_began >= self._keep_at:
            self._keep_state(standing.tick)
        self._at = standing.tick

    def _ticked(self, before: Standing, stop: bool) -> Standing:
        tick, phase, phases, crossed = before.tick + 1, Phase.ADVANCE, dict[str, Any](), 0
        try:
            self._settle()
            self._at = None
            for phase in self.program.phases():
                crossed += self._exchange(tick, phase, phases)
            says = {shard: bool(engine.halted()) for shard, engine in self._engines.items()}
            if self._check is not None:
                self._check.compare(tick, self._engines, halted=all(says.values()))
            checkpoints = self._checkpoints(before, tick)
        except Exception as error:  # the program's own
            return self._failed(before, tick, error, phase)
        halted = all(says.values())
        if not halted and any(says.values()):
            return before.over("failed", disagreement(tick, next(shard for shard, over in says.items() if not over)))
        last_tick = {"tick": tick, "phases": phases, "cross_bytes": crossed}
        standing = Standing(
            tick,
            cross_bytes=before.cross_bytes + crossed,
            last_tick=last_tick,
            figures=self._figures(),
            checkpoints=checkpoints,
        )
        if stop and not halted:
            return standing.over("stopped")
        if not halted and tick >= self.asked.ticks and not self.program.anytime:
            return standing.over("failed", not_converged(tick))
        return standing.over("completed") if halted or tick >= self.asked.ticks else standing

    def _exchange(self, tick: int, phase: Phase, phases: dict[str, Any]) -> int:
        """Run one phase on every engine, then hand each what the others sent; how many bytes that was."""
        outgoing, seconds = {}, {}
        for shard, engine in self._engines.items():
            began = time.perf_counter()
            outgoing[shard] = engine.run(tick, phase)
            seconds[shard] = time.perf_counter() - began
        for shard, engine in self._engines.items():
            engine.settle(phase, {peer: sent.to(shard) for peer, sent in outgoing.items() if peer != shard})
        phases[phase.word] = seconds
        return sum(sent.nbytes for sent in outgoing.values())

    def _failed(self, before: Standing, tick: int, error: Exception, phase: Phase) -> Standing:
        if isinstance(error, NotResumable):
            return before.over("failed", str(error), error)
        return before.over("failed", failure(error, place(error, tick, phase_place(phase, tick))), error)

    def _figures(self) -> dict[str, Any]:
        return next(iter(self._engines.values())).shown()

    def _checkpoints(self, before: Standing, tick: int) -> Mapping[int, Mapping[str, Array]]:
        every = self.asked.checkpoint_ticks
        if every <= 0 or tick % every:
            return before.checkpoints
        names = [column.name for column in self.program.columns if not column.hidden]
        kept = [*before.checkpoints.items(), (tick, self._whole(self._engines, names))]
        return dict(kept[-CHECKPOINTS_KEPT:])

    def _whole(self, engines: Mapping[str, Engine], names: Sequence[str]) -> dict[str, Array]:
        shards, found = list(engines.values()), {}
        for name in names:
            found[name] = np.empty(self.graph.data.node_count, dtype=shards[0].result(name).dtype)
            for engine in shards:
                found[name][engine.part.ordinals] = engine.result(name)
        return found

    def _keep_state(self, tick: int) -> None:
        """Take the state, for engines that go on from here should these be left half-way."""
        began = time.monotonic()
        try:
            states = [engine.capture() for engine in self._engines.values()]
        except Exception:  # a cluster would fail the run for it; here it is enough to do more of it again
            self._keep_at = float("inf")
            return
        self._kept = tick, {partition: state for each in states for partition, state in each.items()}
        self._keep_at = time.monotonic() + max(KEEP_SECONDS, KEEP_SHARE * (time.monotonic() - began))

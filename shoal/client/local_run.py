"""A run in this process: its shards and their progress.

Readers see a run's `Standing`, which is replaced as a whole after a tick, so no thread sees half of one. One thread at
a time executes ticks; the threads that wait for the run take turns.

A turn that is abandoned half-way, by Ctrl-C or anything else but the program's own failure, has no effect. Its shards
are unusable, so new ones repeat, bit by bit, the ticks since the start or since the last captured state. A state is
captured every `KEEP_SECONDS`, as by daemons, so shorter runs do not pay for one.
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
from shoal.client.local_shards import LocalShards
from shoal.engine.engine import Engine
from shoal.engine.resume_check import NotResumable, ResumeCheck
from shoal.graph.graph_data import GraphData
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.figures import tick_result
from shoal.lockstep.runner import State
from shoal.program.failures import failure, place
from shoal.program.program import Program
from shoal.query.search import Index

CHECKPOINTS_KEPT: Final = 3
"""How many checkpoints of a run are kept, as by a daemon with default settings."""
KEEP_SECONDS: Final = 5.0
KEEP_SHARE: Final = 20
"""After a capture that took a second, the next one is at least this many seconds later."""
TURN_SECONDS: Final = 0.004
"""A turn executes as many short ticks as take about this long."""

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

Array: TypeAlias = NDArray[Any]


@dataclass
class LocalGraph:
    """A graph, cut into shards; `load` distinguishes it from others that had its name."""

    name: str
    load: str
    data: GraphData
    parts: dict[str, ShardGraph]
    indexes: dict[str, list[Index]] = field(default_factory=dict)
    """The indexes of the texts that were searched, by column."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options with which a run was started."""

    params: dict[str, Any]
    ticks: int
    paced: bool = False
    interval: float = 0.0
    checkpoint_ticks: int = 0
    check: bool = False


class Standing(NamedTuple):
    """A run's state after one of its ticks."""

    tick: int = 0
    state: str = "running"
    ended: float | None = None
    error: str | None = None
    cause: Exception | None = None
    cross_bytes: int = 0
    last_tick: Mapping[str, Any] = NOTHING
    figures: Mapping[str, Any] = NOTHING
    checkpoints: Mapping[int, Mapping[str, Array]] = NOTHING
    """The last checkpoints of the run: by tick, each column over the whole graph."""

    def over(self, state: str, error: str | None = None, cause: Exception | None = None) -> Standing:
        """Returns this standing at the run's end."""
        return self._replace(state=state, ended=time.monotonic(), error=error, cause=cause)


class LocalRun:
    """One execution of a program. Raises the program's errors about its parameters."""

    def __init__(self, name: str, graph: LocalGraph, program: type[Program], asked: Asked) -> None:
        self.name, self.graph, self.program, self.asked = name, graph, program, asked
        self.began = time.monotonic()
        self._tick_began = float("-inf")
        self._standing = Standing()
        self._dropped: str | None = None
        self._turn = threading.Lock()
        self._inside: int | None = None
        """The thread that is executing a turn."""
        self._process = os.getpid()
        self._kept: State | None = None
        self._shards, self._check = self._made()
        self._are_new = True
        self._at: int | None = None
        """The tick that the engines have reached; None before the first one, or inside one."""
        self._at_once = 1
        """How many short ticks one turn executes."""
        self._keep_at = self.began + KEEP_SECONDS if program.anytime and not asked.check else float("inf")

    # -- read ------------------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """Returns the standing after the run's last tick."""
        standing, dropped = self._standing, self._dropped
        return standing if dropped is None or standing.state != "running" else standing.over("failed", dropped)

    def ticks_kept(self, standing: Standing) -> list[int]:
        """Returns the ticks at which the run can be read: a program that must converge, only once it has."""
        if standing.state == "failed":
            return []
        if not self.program.anytime:
            return [standing.tick] if standing.state == "completed" else []
        over = {standing.tick} if standing.state != "running" else set()
        return sorted(over | standing.checkpoints.keys())[-CHECKPOINTS_KEPT:]

    def columns(self, standing: Standing, tick: int, names: Sequence[str]) -> Mapping[str, Array]:
        """Returns columns over the whole graph in id order, at a tick that is kept."""
        if tick in standing.checkpoints:
            return standing.checkpoints[tick]
        return self._whole(self.engines_at_end(), names)

    def engines_at_end(self) -> dict[str, Engine]:
        """Returns the engines of a run that is over."""
        self._see_that_we_may_wait()
        with self._turn:
            self._settle()
            return self._shards.engines

    # -- execute ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Executes what comes before the first tick."""
        self._settle()
        self._standing = self._stood(self._standing)

    def drop(self, why: str) -> None:
        """Ends the run, whatever it is doing, because its graph was dropped."""
        self._dropped = why

    @property
    def seconds_to_wait(self) -> float:
        """Returns the time until its next tick is due."""
        return self._tick_began + self.asked.interval - time.monotonic()

    def do_tick(self, *, after: int | None = None, stop: bool = False) -> Standing:
        """Executes the next ticks and returns the standing. With `after`, does nothing if the run is past that tick."""
        self._see_that_we_may_wait()
        with self._turn:
            before, self._inside = self.standing, threading.get_ident()
            try:
                if before.state == "running" and after in (None, before.tick):
                    self._advance(before, stop)
            finally:
                self._inside = None
        return self.standing

    # -- internal --------------------------------------------------------------------------------------------------

    def _see_that_we_may_wait(self) -> None:
        """Checks, before a turn is taken, that this thread does not already have it."""
        if self._process != os.getpid():  # a forked child: the thread that had the turn is not here
            self._process, self._turn, self._inside = os.getpid(), threading.Lock(), None
        if self._turn.locked() and self._inside == threading.get_ident():
            raise Refused(f"run '{self.name}' is in the middle of a tick: code called from it can't wait for the run")

    def _made(self) -> tuple[LocalShards, ResumeCheck | None]:
        params, parts, asked = self.asked.params, self.graph.parts, self.asked
        shards = LocalShards(parts, lambda: self.program(**params), asked.ticks, asked.checkpoint_ticks, self._kept)
        if not asked.check:
            return shards, None
        return shards, ResumeCheck(lambda: self.program(**params), parts, self.graph.data.ids)

    def _settle(self) -> None:
        """Brings the shards to the end of the last tick that has taken effect."""
        tick = self._standing.tick
        if self._at == tick:
            return
        self._at = None
        if not self._are_new:
            self._shards, self._check = self._made()
        self._are_new = False
        self._shards.begin()
        first, check = self._kept[0] if self._kept else 0, self._check
        if check is not None and self._shards.outcome is None:
            check.keep(first, self._shards.engines)
        for again in range(first + 1, tick + 1) if check is not None else [tick] if tick > first else []:
            self._shards.go_on(again)
            if check is not None:
                check.compare(again, self._shards.engines, halted=False)
        self._shards.committed.clear()
        self._at = tick

    def _advance(self, before: Standing, stop: bool) -> None:
        self._tick_began = time.monotonic()
        standing = self._standing = self._ticked(before, stop)
        took = time.monotonic() - self._tick_began
        self._at_once = 2 * self._at_once if took < TURN_SECONDS / 2 else max(1, self._at_once // 2)
        if standing.state == "running" and self._tick_began >= self._keep_at:
            self._keep_state(standing.tick)
        self._at = standing.tick

    def _ticked(self, before: Standing, stop: bool) -> Standing:
        until = before.tick + (1 if stop else self._ticks_at_once(before.tick))
        try:
            self._settle()
            self._at = None
            self._shards.go_on(until, stop=stop)
            engines, over = self._shards.engines, self._shards.outcome
            if self._check is not None and (over is None or over.outcome != "failed"):
                self._check.compare(until, engines, halted=all(bool(engine.halted()) for engine in engines.values()))
            standing = self._stood(before)
            return standing._replace(checkpoints=self._checkpoints(standing, standing.tick))
        except Exception as error:  # raised by the program
            return before.over("failed", str(error) if isinstance(error, NotResumable) else _told(error, until), error)

    def _ticks_at_once(self, tick: int) -> int:
        """Returns how many ticks make one turn: other threads that wait or read get theirs every few milliseconds."""
        every, asked = self.asked.checkpoint_ticks, self.asked
        if asked.paced or asked.interval or asked.check:
            return 1
        until_checkpoint = every - tick % every if every > 0 else self._at_once
        return max(1, min(self._at_once, until_checkpoint, asked.ticks - tick))

    def _stood(self, before: Standing) -> Standing:
        """Returns the standing that follows from the shards' reports."""
        committed, over = self._shards.committed, self._shards.outcome
        standing = before
        if committed:
            crossed = sum(sent for tick in committed for _, shards in tick.figures for _, sent in shards)
            standing = before._replace(
                tick=committed[-1].tick,
                cross_bytes=before.cross_bytes + crossed,
                last_tick=tick_result(committed[-1], self._shards.members),
            )
            committed.clear()
        if over is None or over.outcome != "failed":
            standing = standing._replace(figures=next(iter(self._shards.engines.values())).shown())
        if over is None:
            return standing
        names, _, told = over.failure.partition(": ")
        is_named = set(names.split(", ")) <= set(self._shards.members)  # in one process, the shard's name says nothing
        error = (told if is_named else over.failure) or None
        return standing._replace(tick=over.tick).over(over.outcome, error, self._shards.cause)

    def _checkpoints(self, before: Standing, tick: int) -> Mapping[int, Mapping[str, Array]]:
        every = self.asked.checkpoint_ticks
        if every <= 0 or tick % every:
            return before.checkpoints
        names = [column.name for column in self.program.columns if not column.hidden]
        kept = [*before.checkpoints.items(), (tick, self._whole(self._shards.engines, names))]
        return dict(kept[-CHECKPOINTS_KEPT:])

    def _whole(self, engines: Mapping[str, Engine], names: Sequence[str]) -> dict[str, Array]:
        shards, found = list(engines.values()), {}
        for name in names:
            found[name] = np.empty(self.graph.data.node_count, dtype=shards[0].result(name).dtype)
            for engine in shards:
                found[name][engine.part.ordinals] = engine.result(name)
        return found

    def _keep_state(self, tick: int) -> None:
        """Captures the state, from which new engines resume if these are abandoned half-way."""
        began = time.monotonic()
        try:
            states = [engine.capture() for engine in self._shards.engines.values()]
        except Exception:  # a cluster would fail the run for this; here a resume only has to repeat more
            self._keep_at = float("inf")
            return
        self._kept = tick, {partition: state for each in states for partition, state in each.items()}
        self._keep_at = time.monotonic() + max(KEEP_SECONDS, KEEP_SHARE * (time.monotonic() - began))


def _told(error: Exception, tick: int) -> str:
    return failure(error, place(error, tick, f"tick {tick}"))

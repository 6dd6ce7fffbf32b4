"""States of runs on this shard's disk: made durable while a run goes on, and looked up when it waits in a view."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from daemon.control import effects as fx
from daemon.control.leader.resume import StatesHeld
from daemon.runtime.tick_runner import News
from daemon.runtime.tick_thread import SAMPLES_KEPT
from daemon.state.records import RunRecord
from daemon.store import NoRoom, StateRecord, StoreFailed
from shoal.lockstep.effects import StoreStates

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime


class Checkpoints:
    """Of one shard. `samples` are the last times, in seconds, that it took until one was durable."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.samples: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._begun: dict[tuple[int, int], RunRecord] = {}
        self._sizes: dict[int, dict[int, int]] = {}
        """By run and tick, of the last ones that are kept: bytes on this disk."""

    def begin(self, run: RunRecord) -> None:
        """A run is about to go on here, in the epoch that its record has; before the tick thread hears of it."""
        self._sizes.pop(run.number, None)  # what it goes on from is held anew
        self._begun = {**self._begun, (run.number, run.epoch): run}

    def forget(self, run: int) -> None:
        """A run is over."""
        self._begun = {key: known for key, known in self._begun.items() if key[0] != run}
        self._sizes.pop(run, None)

    def kept_bytes(self, run: int) -> int:
        """What is kept of a run on this disk, in bytes, as far as it was written in this life."""
        return sum(list(self._sizes.get(run, {}).values()))

    def keep(self, states: StoreStates) -> None:
        """From the tick thread: make a checkpoint durable, and say so there."""
        ticks, older = self._runtime.ticks, self._runtime.config.ticks.checkpoints_kept - 1
        begun = self._begun.get((states.run, ticks.epoch))
        made_in = begun.made_in(states.tick) if begun is not None else ticks.epoch
        record = StateRecord(states.run, states.tick, states.floor, states.states, older, made_in)
        self._count(record)
        began = time.monotonic()

        def durable() -> None:
            self.samples.append(time.monotonic() - began)
            ticks.order(lambda: ticks.stored(states.token))

        def lost(error: StoreFailed) -> None:
            if isinstance(error, NoRoom):
                self._runtime.tasks.soon(self._runtime.runs.fail, states.run, states.tick, str(error))

        self._runtime.store_thread.submit_states(record, durable, lost)

    def _count(self, record: StateRecord) -> None:
        sizes = self._sizes.setdefault(record.run, {})
        sizes[record.tick] = sizes.get(record.tick, 0) + record.size
        for tick in sorted(sizes)[: -(record.older + 1)]:
            del sizes[tick]

    def look_up(self, asked: fx.TellStates) -> None:
        """Which states of the runs that wait are here; the shard is told."""
        self._runtime.ticks.order(lambda: self._look_up(asked))

    def _look_up(self, asked: fx.TellStates) -> Sequence[News]:
        """On the tick thread, which has left the older view: what it had stored there is in the queue before this."""

        def tell(held: Mapping[int, StatesHeld]) -> None:
            self._runtime.tasks.soon(self._tell, asked, held)

        self._runtime.store_thread.submit(lambda store: store.states_as_made(), tell)
        return []

    def _tell(self, asked: fx.TellStates, held: Mapping[int, StatesHeld]) -> None:
        runtime = self._runtime
        states = {run: held.get(run, {}) for run in asked.runs}
        reached = {run: runtime.runs.reached(run) for run in asked.runs}
        runtime.perform(runtime.shard.states_held(asked.epoch, states, time.monotonic_ns(), reached))

"""States of runs on this shard's disk: made durable while a run goes on, and looked up when it waits in a view."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from daemon.control import effects as fx
from daemon.control.leader.resume import StatesHeld
from daemon.runtime.context import HostContext
from daemon.runtime.tick_runner import News
from daemon.runtime.ticks import SAMPLES_KEPT
from daemon.state.records import RunRecord
from daemon.store import NoRoom, StateRecord, StoreFailed
from shoal.lockstep.effects import StoreStates


class Checkpoints:
    """Of one shard. `samples` are the last times, in seconds, that it took until one was durable."""

    def __init__(self, context: HostContext) -> None:
        self._context = context
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

    def keep(self, states: StoreStates, lost: Callable[[str], None]) -> None:
        """From the tick thread: make a checkpoint durable, and say so there; `lost`, if there is no room for it."""
        ticks, older = self._context.ticks, self._context.config.ticks.checkpoints_kept - 1
        clock = self._context.clock
        begun = self._begun.get((states.run, ticks.epoch))
        made_in = begun.made_in(states.tick) if begun is not None else ticks.epoch
        record = StateRecord(states.run, states.tick, states.floor, states.states, older, made_in)
        self._count(record)
        began = clock.monotonic_ns()

        def durable() -> None:
            self.samples.append((clock.monotonic_ns() - began) / 1e9)
            ticks.order(lambda: ticks.stored(states.token))

        def failed(error: StoreFailed) -> None:
            if isinstance(error, NoRoom):
                self._context.soon(lost, str(error))

        self._context.disk.submit_states(record, durable, failed)

    def _count(self, record: StateRecord) -> None:
        sizes = self._sizes.setdefault(record.run, {})
        sizes[record.tick] = sizes.get(record.tick, 0) + record.size
        for tick in sorted(sizes)[: -(record.older + 1)]:
            del sizes[tick]

    def look_up(self, asked: fx.TellStates, reached: Callable[[int], int]) -> None:
        """Which states of the runs that wait are here, and how far each was seen to come: the control plane is told."""
        self._context.ticks.order(lambda: self._look_up(asked, reached))

    def _look_up(self, asked: fx.TellStates, reached: Callable[[int], int]) -> Sequence[News]:
        """On the tick thread, which has left the older view: what it had stored there is in the queue before this."""

        def tell(held: Mapping[int, StatesHeld]) -> None:
            self._context.soon(self._tell, asked, held, reached)

        self._context.disk.submit(lambda store: store.states_as_made(), tell)
        return []

    def _tell(self, asked: fx.TellStates, held: Mapping[int, StatesHeld], reached: Callable[[int], int]) -> None:
        states = {run: held.get(run, {}) for run in asked.runs}
        self._context.orders.states_held(asked.epoch, states, {run: reached(run) for run in asked.runs})

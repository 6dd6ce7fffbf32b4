"""States of runs on this shard's disk: stored while a run is active, and looked up while it waits in a view."""

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
    """One shard's checkpoints. `samples` are the last times, in seconds, that it took to make one durable."""

    def __init__(self, context: HostContext) -> None:
        self._context = context
        self.samples: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._begun: dict[tuple[int, int], RunRecord] = {}
        self._sizes: dict[int, dict[int, int]] = {}
        """By run and tick, for the last ones kept: bytes on this disk."""

    def begin(self, run: RunRecord) -> None:
        """Begins a run, in the epoch of its record; called before the tick thread begins it."""
        self._sizes.pop(run.number, None)  # its first state is stored anew
        self._begun = {**self._begun, (run.number, run.epoch): run}

    def forget(self, run: int) -> None:
        """Forgets a run that is over."""
        self._begun = {key: known for key, known in self._begun.items() if key[0] != run}
        self._sizes.pop(run, None)

    def kept_bytes(self, run: int) -> int:
        """Returns the bytes kept of a run on this disk, as far as this life wrote them."""
        return sum(list(self._sizes.get(run, {}).values()))

    def keep(self, states: StoreStates, lost: Callable[[str], None]) -> None:
        """From the tick thread: makes a checkpoint durable and reports that there; calls `lost` if there is no room."""
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
        """Reports to the control plane which states of waiting runs are here, and how far each run was seen to come."""
        self._context.ticks.order(lambda: self._look_up(asked, reached))

    def _look_up(self, asked: fx.TellStates, reached: Callable[[int], int]) -> Sequence[News]:
        """Runs on the tick thread, after it has left the older view: so its last writes are already in the queue."""

        def tell(held: Mapping[int, StatesHeld]) -> None:
            self._context.soon(self._tell, asked, held, reached)

        self._context.disk.submit(lambda store: store.states_as_made(), tell)
        return []

    def _tell(self, asked: fx.TellStates, held: Mapping[int, StatesHeld], reached: Callable[[int], int]) -> None:
        states = {run: held.get(run, {}) for run in asked.runs}
        self._context.orders.states_held(asked.epoch, states, {run: reached(run) for run in asked.runs})

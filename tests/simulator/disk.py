"""A simulated disk: what a daemon's store keeps, and what is left of it when the power goes.

It has two writers, as the store has: the control loop persists what consensus asks for and waits; all else goes through
one queue, in order, and the states that stand in it one behind the other share a sync. What was under way when the
host went down is there or is not; of states, which are many transactions, some may be. What was waiting is lost.

A disk can be full or fail: then the next write does, and its host must go. It can also lie: it says that it has synced,
and forgets at the next power cut. The tests let it, to see that the invariants notice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from consensus import Persist, Stored
from daemon.control.bootstrap import Promise
from daemon.control.effects import KeepPromise
from tests.simulator.world import MS, US

SNAPSHOTS_KEPT, SNAPSHOT_EVERY = 8, 16
OLDER_KEPT = 2
"""Committed ticks below the last one whose states can still be read."""

After: TypeAlias = Callable[[int, Callable[[], None]], None]
States: TypeAlias = dict[int, dict[int, dict[int, bytes]]]
"""By run, tick and partition."""


@dataclass(frozen=True)
class Row:
    """The state of one partition at a tick of a run; what is older than `floor` is not needed any more."""

    run: int
    tick: int
    floor: int
    partition: int
    state: bytes
    epoch: int = 0
    """In which it was made."""


@dataclass
class Contents:
    """What can be read from a disk; `life` is the generation of the last life that began on it."""

    stored: Stored | None = None
    life: int = 0
    number: int = 0
    persisted: int = 0
    """How many decisions have been persisted."""
    held: dict[str, frozenset[int]] = field(default_factory=dict)
    states: States = field(default_factory=dict)
    epochs: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """In which each of them was made: by run, tick and partition."""
    promise: Promise | None = None

    def copy(self) -> Contents:
        """Another one, that does not change with this one."""
        states = {run: {tick: dict(kept) for tick, kept in ticks.items()} for run, ticks in self.states.items()}
        return Contents(
            self.stored,
            self.life,
            self.number,
            self.persisted,
            dict(self.held),
            states,
            dict(self.epochs),
            self.promise,
        )

    def persist(self, effect: Persist | KeepPromise) -> None:
        """As the effect says."""
        if isinstance(effect, KeepPromise):
            self.promise = effect.promise
            return
        self.stored = effect.onto(self.stored or Stored())
        self.persisted += 1

    def keep(self, rows: Iterable[Row]) -> None:
        """As the store does: the old states of a partition go with the transaction that brings the new."""
        for row in rows:
            ticks = self.states.setdefault(row.run, {})
            older = sorted(tick for tick, kept in ticks.items() if tick < row.floor and row.partition in kept)
            for tick in older[: max(0, len(older) - OLDER_KEPT)]:
                ticks[tick].pop(row.partition, None)
                if not ticks[tick]:
                    del ticks[tick]
            ticks.setdefault(row.tick, {})[row.partition] = row.state
            self.epochs[row.run, row.tick, row.partition] = row.epoch

    def gain(self, load: str, partitions: Iterable[int]) -> None:
        """Partitions are whole."""
        self.held[load] = self.held.get(load, frozenset()) | frozenset(partitions)

    def drop(self, load: str, partitions: frozenset[int] | None) -> None:
        """Partitions are deleted; None means all of the load."""
        left = self.held.pop(load, frozenset()) - (partitions or frozenset())
        if partitions is not None and left:
            self.held[load] = left

    def forget(self, wanted: Mapping[int, int], known: int) -> None:
        """Delete the states of known runs that are not `wanted`; of the others, all but the last few ticks."""
        for run in [run for run in self.states if run <= known and run not in wanted]:
            del self.states[run]
        for run, last in wanted.items():
            ticks = self.states.get(run, {})
            for tick in sorted(tick for tick in ticks if tick <= last)[: -OLDER_KEPT - 1]:
                del ticks[tick]

    def drop_void(self, run: int, is_void: Callable[[int, int], bool]) -> None:
        """Delete the states of a run of which `is_void` says so, given the epoch and the tick of each."""
        ticks = self.states.get(run, {})
        for tick, kept in list(ticks.items()):
            for partition in [each for each in kept if is_void(self.epochs[run, tick, each], tick)]:
                del kept[partition]
            if not kept:
                del ticks[tick]

    def held_as_made(self, run: int) -> dict[tuple[int, int], frozenset[int]]:
        """Of one run: partitions by tick and the epoch in which it was made."""
        found: dict[tuple[int, int], set[int]] = {}
        for tick, kept in self.states.get(run, {}).items():
            for partition in kept:
                found.setdefault((tick, self.epochs[run, tick, partition]), set()).add(partition)
        return {made: frozenset(kept) for made, kept in found.items()}

    def ticks_held(self, run: int) -> dict[int, frozenset[int]]:
        """Of one run: partitions by tick."""
        return {tick: frozenset(kept) for tick, kept in self.states.get(run, {}).items()}

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """One state, or None if it is not here."""
        return self.states.get(run, {}).get(tick, {}).get(partition)


@dataclass
class _Job:
    """A write of rows, or of something else, or none; and what is to be called then."""

    rows: tuple[Row, ...]
    write: Callable[[Contents], None] | None
    done: Callable[[], None]

    @property
    def is_states(self) -> bool:
        return self.write is None and bool(self.rows)


class Disk:
    """It outlives its host. `open` it for each life of one, and `cut` it when that ends."""

    def __init__(self, number: int, random: Random, *, lies: bool = False) -> None:
        self.lies = lies
        self.is_full = False
        self.sync_ns = (50 * US, 3 * MS)
        self.contents = Contents(number=number)
        self.snapshots: list[Contents] = []
        """Taken now and then, of what had been synced; it can go back to one of them."""
        self._high_water = (number, 0)
        self._syncs = self._went_back = 0
        self._random = random
        self._truth = Contents(number=number)
        """What a disk that lies really has."""
        self._queue: deque[_Job] = deque()
        self._writing: list[_Job] = []
        self._persisting: Persist | KeepPromise | None = None

    @property
    def number(self) -> int:
        """Which disk it is; a shard that gives up what its server knew makes another one of it."""
        return self.contents.number

    @property
    def identity(self) -> tuple[int, int]:
        """It is another one once it has been replaced, or has gone back: what was on it need not be there any more."""
        return self.number, self._went_back

    def open(self, generation: int, after: After, failed: Callable[[], None]) -> tuple[int, bool]:
        """Begin to serve a host: `after` calls back in its present life only; `failed` is called once, at a failure.

        The life before, and whether decisions that were durable are gone.
        """
        self._after, self._failed = after, failed
        before, self.contents.life = self.contents.life, generation
        self._truth.life = generation
        return self.remembers(before)

    def remembers(self, before: int) -> tuple[int, bool]:
        """What it says of itself: the life before, and whether it lacks what was durable."""
        number, persisted = self._high_water
        return before, number == self.number and persisted > self.contents.persisted

    def renounce(self) -> None:
        """Forget what consensus has persisted, and be another disk."""
        self.contents.stored, self.contents.promise, self.contents.persisted = None, None, 0
        self.contents.number = self._truth.number = self.number + 1000
        self._truth.stored, self._truth.promise, self._truth.persisted = None, None, 0

    def go_back(self, contents: Contents, *, with_folder: bool) -> None:
        """To an earlier state: with the whole folder, as a machine's snapshot does it, or the database alone."""
        self.contents = contents.copy()
        self._went_back += 1
        if with_folder:
            self._high_water = (contents.number, contents.persisted)

    def persist(self, effect: Persist | KeepPromise, done: Callable[[], None]) -> None:
        """One transaction of consensus; its writer waits."""
        assert self._persisting is None
        self._persisting = effect
        self._after(self._latency(), lambda: self._persisted(done))

    def _persisted(self, done: Callable[[], None]) -> None:
        effect, self._persisting = self._persisting, None
        if self.is_full:
            self._failed()
        else:
            assert effect is not None
            self.contents.persist(effect)
            self._synced()
            self._high_water = (self.number, self.contents.persisted)
            done()

    def keep(self, rows: Iterable[Row], done: Callable[[], None]) -> None:
        """Have states written, with those that wait behind them."""
        self._submit(_Job(tuple(rows), None, done))

    def write(self, write: Callable[[Contents], None], done: Callable[[], None] = lambda: None) -> None:
        """Have something else written, in one transaction."""
        self._submit(_Job((), write, done))

    def read(self, look: Callable[[], None]) -> None:
        """Look at the contents when everything before has been written."""
        self._submit(_Job((), None, look))

    def cut(self) -> None:
        """The host is gone, or the power: what was being written is there or not, what waited is not."""
        if self._persisting is not None and self._random.random() < 0.5:
            self.contents.persist(self._persisting)
        rows = [row for job in self._writing for row in job.rows]
        self.contents.keep(rows[: self._random.randint(0, len(rows))])
        for job in self._writing:
            if job.write is not None and self._random.random() < 0.5:
                job.write(self.contents)
        self._persisting, self._writing = None, []
        self._queue.clear()
        if self.lies:
            self.contents = self._truth.copy()

    def _submit(self, job: _Job) -> None:
        self._queue.append(job)
        if not self._writing:
            self._begin()

    def _begin(self) -> None:
        while self._queue and not self._queue[0].rows and self._queue[0].write is None:
            self._queue.popleft().done()
            if self._writing:
                return  # something was submitted meanwhile
        if self._queue:
            self._writing = [self._queue.popleft()]
            while self._writing[0].is_states and self._queue and self._queue[0].is_states:
                self._writing.append(self._queue.popleft())
            self._after(self._latency(), self._written)

    def _written(self) -> None:
        if self.is_full:
            self._failed()
            return
        jobs, self._writing = self._writing, []
        for job in jobs:
            self.contents.keep(job.rows)
            if job.write is not None:
                job.write(self.contents)
        self._synced()
        for job in jobs:
            job.done()
        if not self._writing:
            self._begin()

    def _synced(self) -> None:
        self._syncs += 1
        if self._syncs % SNAPSHOT_EVERY == 0:
            self.snapshots = [*self.snapshots[-SNAPSHOTS_KEPT + 1 :], self.contents.copy()]
        if self.lies and self._random.random() < 0.02:
            self._truth = self.contents.copy()

    def _latency(self) -> int:
        return self._random.randint(*self.sync_ns)

"""A thread that runs the store's jobs, one after the other. A daemon has two: one only for what consensus persists.

Submitting returns at once; the outcome is reported on this thread, and the caller's callback hands it to its own loop.
Every job has an outcome: once the disk has failed or the thread is closed, that it won't be done. States that wait one
behind the other become one transaction, so while the disk syncs for one tick, the next ones gather and share the sync
that follows (group commit). Nothing overtakes: a job between two states runs between them.

The queue has no limit of its own, because its sources are bounded: a tick waits until its state is held, and a load
comes in shipments that are acknowledged. `waiting` is its length.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from daemon.store import DataFolder, NoRoom, StateRecord, Store, StoreFailed

T = TypeVar("T")
CLOSE_SECONDS: Final = 10.0
"""An unresponsive disk delays the end no longer than this."""
GROUP_BYTES_MAX: Final = 4 << 20  # more is no faster, and delays the first: the store splits there anyway


def _nobody_waits(error: StoreFailed) -> None:
    """For callers that ignore the failure."""


@dataclass(frozen=True, slots=True)
class _Job:
    do: Callable[[Store], Any]
    done: Callable[[Any], None]
    lost: Callable[[StoreFailed], None]


@dataclass(frozen=True, slots=True)
class _States:
    record: StateRecord
    size: int
    done: Callable[[], None]
    lost: Callable[[StoreFailed], None]


_Work: TypeAlias = _Job | _States


class StoreThread(threading.Thread):
    """`start` it once the folder is open. Reports the first failure to `failed`; then it runs no more jobs."""

    def __init__(self, folder: DataFolder, failed: Callable[[BaseException], None], name: str = "shoal-store") -> None:
        super().__init__(name=name, daemon=True)
        self._folder, self._failed = folder, failed
        self._work: deque[_Work] = deque()
        self._in_hand: list[_Work] = []
        self._changed = threading.Condition()
        self._over = False
        self._failure: StoreFailed | None = None

    # -- from any thread -------------------------------------------------------------------------------------------

    def submit(
        self,
        job: Callable[[Store], T],
        done: Callable[[T], None],
        lost: Callable[[StoreFailed], None] = _nobody_waits,
    ) -> None:
        """Runs a job in its turn, then calls `done` with its result, or `lost` if it will not run.

        It may call `lost` on the caller's own thread, at once.
        """
        self._add(_Job(job, done, lost))

    def submit_states(
        self, record: StateRecord, done: Callable[[], None], lost: Callable[[StoreFailed], None] = _nobody_waits
    ) -> None:
        """Writes states, in one transaction with those before and behind them; calls `done` once they are durable.

        Calls `lost` if they never will be: there is no room (`NoRoom`), or the thread runs no more jobs.
        """
        self._add(_States(record, record.size, done, lost))

    @property
    def waiting(self) -> int:
        """The number of jobs not begun yet."""
        return len(self._work)

    def wait_until_idle(self) -> None:
        """Blocks until all jobs are done, or the thread runs no more. Not from a callback."""
        with self._changed:
            while (self._work or self._in_hand) and self.is_alive() and self._failure is None:
                self._changed.wait()

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Finishes waiting jobs, then ends the thread; returns False if that takes too long. Not from a callback."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self.ident is not None:
            self.join(seconds)
        return not self.is_alive()

    def _add(self, work: _Work) -> None:
        with self._changed:
            if not self._over:
                self._work.append(work)
                self._changed.notify_all()
                return
        work.lost(self._failure or StoreFailed("the data folder has been closed: the daemon is ending"))

    # -- the thread ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            store = Store(self._folder)
            try:
                while self._carry_out(store):
                    pass  # keep no reference to the job while waiting for the next: it may hold a whole graph
            finally:
                store.close()
        except BaseException as error:  # a full disk, or a broken invariant: the daemon must not go on
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Stops all work, and reports that to all callers."""
        with self._changed:
            self._over = True
            self._failure = error if isinstance(error, StoreFailed) else StoreFailed(f"the store failed: {error}")
            lost, self._in_hand = [*self._in_hand, *self._work], []
            self._work.clear()
            self._changed.notify_all()
        self._failed(error)
        for work in lost:
            work.lost(self._failure)

    def _take(self) -> list[_Work]:
        """Returns the next job, or all states at the front of the queue; empty once closed."""
        with self._changed:
            while not self._work and not self._over:
                self._changed.wait()
            work: list[_Work] = []
            size = 0
            while self._work and (not work or self._joins(work[0], size)):
                work.append(self._work.popleft())
                size += getattr(work[-1], "size", 0)
            self._in_hand = work
            return work

    def _joins(self, first: _Work, size: int) -> bool:
        following = self._work[0]
        return (
            isinstance(first, _States) and isinstance(following, _States) and size + following.size <= GROUP_BYTES_MAX
        )

    def _carry_out(self, store: Store) -> bool:
        """Runs the next job or group; returns False if there is none."""
        is_over = not self._take()
        self._do(store)
        return not is_over

    def _do(self, store: Store) -> None:
        """Runs the current job or group."""
        work = self._in_hand
        states = [item for item in work if isinstance(item, _States)]
        if states and not _kept(states, store):
            work = []
        for item in work:
            if isinstance(item, _Job):
                item.done(item.do(store))
            else:
                item.done()
        with self._changed:
            self._in_hand = []
            self._changed.notify_all()
        if not self._work:
            store.relieve()


def _kept(states: list[_States], store: Store) -> bool:
    """Keeps all states, or as many as there is room for, so that not every run loses its own."""
    try:
        store.put_states([item.record for item in states])
    except NoRoom as error:
        if len(states) == 1:
            states[0].lost(error)
            return False
        for item in states:
            if _kept([item], store):
                item.done()
        return False
    return True

"""A thread that writes to the store, one job after the other. A daemon has two: what consensus persists has its own.

Whoever submits goes on at once and is told when it is done, on this thread: it hands over to its own loop. Everybody is
told in the end: once the disk has failed, or the thread was closed, that it will not be done. States that
wait one behind the other become one transaction, so while the disk syncs for one tick, the next ones gather and share
the sync that follows (group commit). Nothing overtakes: a job between two states is done between them.

The queue has no limit of its own. What is in it was bounded where it came from: a tick waits for its state to be held,
and a load is sent in shipments that are answered. `waiting` shows its length.
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
"""A disk that does not answer holds up an end no longer than this."""
GROUP_BYTES_MAX: Final = 4 << 20  # more is no faster, and keeps the first waiting: the store cuts at this anyway


def _nobody_waits(error: StoreFailed) -> None:
    """For those to whom it makes no difference."""


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
    """`start` it once the folder is open. `failed` is told of the first failure, once; then no more work is done."""

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

        `lost` may come on the caller's own thread, at once.
        """
        self._add(_Job(job, done, lost))

    def submit_states(
        self, record: StateRecord, done: Callable[[], None], lost: Callable[[StoreFailed], None] = _nobody_waits
    ) -> None:
        """Writes states, in one transaction with those before and behind them; calls `done` once they are durable.

        `lost` if that will not be: there is no room for them (`NoRoom`), or nothing is done any more.
        """
        self._add(_States(record, record.size, done, lost))

    @property
    def waiting(self) -> int:
        """Jobs that the thread has not got to."""
        return len(self._work)

    def wait_until_idle(self) -> None:
        """Stands still until nothing is left to be done, or nothing is done any more. Not from a callback."""
        with self._changed:
            while (self._work or self._in_hand) and self.is_alive() and self._failure is None:
                self._changed.wait()

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Finishes what waits, then ends the thread; returns False if that takes too long. Not from a callback."""
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
                    pass  # nothing of a job is held while the next one is waited for: it may have been a whole graph
            finally:
                store.close()
        except BaseException as error:  # a full disk, or a broken invariant: either way the daemon must not go on
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Nothing more is done, and all who wait are told."""
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
        """The next job, or the states that are next and all directly behind them; empty when it is over."""
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
        """Runs what is next; returns False if there is nothing more."""
        is_over = not self._take()
        self._do(store)
        return not is_over

    def _do(self, store: Store) -> None:
        """Runs what is in hand."""
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
    """Keeps them all, or as many as there is room for, so that not all runs lack it."""
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

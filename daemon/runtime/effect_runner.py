"""Carries out the control plane's effects in order, and lets the disk write beside the loop.

A thread of its own writes what consensus persists, one transaction after the other. Effects behind a write wait until
it is durable; the loop goes on meanwhile, and all pending writes share the next transaction
(`consensus.effect_queue`). If the disk stalls, the loop waits for it: a shard that can't make its promises durable
should stay silent, so that the others continue without it.

A lone write, with none shortly before it, happens on the loop itself: there is nothing to share it with, and two
context switches cost more than they save, especially on a busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias, assert_never

from consensus import EffectQueue, Persist
from daemon.control.effects import Effect, KeepPromise, KeepVersion
from daemon.membership.effects import Counted
from daemon.runtime.durable import Durable
from daemon.runtime.store_thread import StoreThread
from daemon.store import Store, StoreFailed

Write: TypeAlias = Persist | KeepPromise | KeepVersion
WRITES: Final = (Persist, KeepPromise, KeepVersion)
LONE_NS: Final = 1_000_000
"""Under load, the next write is due as soon as the last one is done."""


class EffectRunner:
    """One daemon's runner. `soon` calls a function on the loop from another thread; all else runs on the loop.

    It calls `carry_out` with each effect except writes, in order, and `persisted` with each `Persist` that is durable.
    """

    def __init__(
        self,
        thread: StoreThread,
        carry_out: Callable[[Effect], None],
        persisted: Callable[[Persist], None],
        soon: Callable[..., None],
        failed: Callable[[BaseException], None],
        here: Durable | None = None,
    ) -> None:
        """`here` writes on the loop; `failed` is called if that fails."""
        self._thread, self._carry_out, self._persisted, self._soon = thread, carry_out, persisted, soon
        self._failed, self._here, self._written_ns = failed, here, -LONE_NS
        self._queue: EffectQueue[Effect] = EffectQueue(WRITES)
        self._is_running = self._is_over = False

    @property
    def is_idle(self) -> bool:
        """Whether all effects have been carried out and written."""
        return self._queue.is_idle

    def stop(self) -> None:
        """Carries out nothing more."""
        self._is_over = True
        self._queue.clear()

    def run(self, effects: Iterable[Effect]) -> None:
        """Carries out the effects of a door, behind earlier ones. Counters are updated at once."""
        for effect in effects:
            if isinstance(effect, Counted):
                self._carry_out(effect)
            elif not self._is_over:
                self._queue.put((effect,))
        if not self._is_running:
            self._go_on()
        if self._queue.has_stalled(time.monotonic_ns()):
            self._thread.wait_until_idle()

    def _go_on(self) -> None:
        self._is_running = True
        try:
            while not self._is_over and (effect := self._queue.next(time.monotonic_ns())) is not None:
                if isinstance(effect, Persist) and self._here is not None and self._is_lone(effect):
                    self._write_here(effect, self._here)
                elif isinstance(effect, WRITES):
                    self._thread.submit(partial(_write, effect), lambda written: self._soon(self._written, written))
                else:
                    self._carry_out(effect)
        finally:
            self._is_running = False

    def _write_here(self, persist: Persist, here: Durable) -> None:
        try:
            here.persist(persist)
        except StoreFailed as error:
            self.stop()
            self._failed(error)
        else:
            self._note(persist)

    def _written(self, effect: Write) -> None:
        self._note(effect)
        self._go_on()

    def _note(self, effect: Write) -> None:
        """Takes note that a write is durable; its consequences follow the effects that already wait."""
        self._written_ns = time.monotonic_ns()
        self._queue.written()
        if isinstance(effect, KeepVersion) and self._here is not None:
            self._here.follow_version(effect.version)
        if isinstance(effect, Persist) and not self._is_over:
            self._persisted(effect)

    def _is_lone(self, persist: Persist) -> bool:
        return persist.snapshot is None and time.monotonic_ns() - self._written_ns >= LONE_NS


def _write(effect: Write, store: Store) -> Write:
    match effect:
        case Persist():
            store.persist(effect)
        case KeepPromise(promise=promise):
            store.keep_promise(promise)
        case KeepVersion(version=version):
            store.raise_version(version)
        case _:
            assert_never(effect)
    return effect

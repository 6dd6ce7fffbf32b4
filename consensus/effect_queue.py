"""Queues a machine's effects for a host that keeps working while its disk writes.

Purpose: group commit. While one transaction is being synced, the host goes on calling the machine's doors. The effects
that they return wait behind the write, in order, and all pending ``Persist`` become the next write::

    given     P1 S1      P2 S2    P3 S3
    let out   P1 ......... S1 P2+3 ......... S2 S3         ......... the disk is busy

Effects leave in the order given, except that a ``Persist`` may become durable sooner; so no send leaves before the
write that it relies on. The host hands each write back to the machine (``Raft.persisted``).

A machine whose disk has stalled should do nothing, so that its peers notice. ``has_stalled`` reports that, and also
that more is waiting than a host should keep. The host then waits for the disk before it calls another door.

>>> from consensus.stored import HardState
>>> queue: EffectQueue[object] = EffectQueue()
>>> queue.put([Persist(HardState(2)), "send 1", Persist(HardState(3)), "send 2"])
>>> queue.next(now=0), queue.next(now=0)
(Persist(hard_state=HardState(term=3, vote=None), snapshot=None, truncate_from=None, entries=()), None)
>>> queue.written()
>>> queue.next(now=9), queue.next(now=9), queue.next(now=9)
('send 1', 'send 2', None)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, Generic, TypeVar, cast

from consensus.effects import Persist

E = TypeVar("E")

STALL_NS: Final = 200_000_000
"""A sync takes some milliseconds; a silence this long, the default heartbeat interval of `Limits`, goes unnoticed."""
WAITING_MAX: Final = 10_000


class EffectQueue(Generic[E]):
    """One host's queue. Effects of the types ``writes`` are durable before the ones behind them are let out."""

    def __init__(self, writes: tuple[type, ...] = (Persist,)) -> None:
        self._writes = writes
        self._waiting: deque[E] = deque()
        self._writing_since_ns: int | None = None

    @property
    def is_writing(self) -> bool:
        """Whether a write is under way."""
        return self._writing_since_ns is not None

    @property
    def is_idle(self) -> bool:
        """Whether every effect has been let out and written."""
        return not self._waiting and not self.is_writing

    def has_stalled(self, now: int) -> bool:
        """Whether the host should wait for the disk before it does anything else."""
        since_ns = self._writing_since_ns
        return since_ns is not None and (now - since_ns >= STALL_NS or len(self._waiting) >= WAITING_MAX)

    def put(self, effects: Iterable[E]) -> None:
        """Queues the effects that a door returned."""
        self._waiting.extend(effects)

    def next(self, now: int) -> E | None:
        """Returns the next effect to carry out; after a write, None until ``written``."""
        if self.is_writing or not self._waiting:
            return None
        effect = self._waiting.popleft()
        if not isinstance(effect, self._writes):
            return effect
        self._writing_since_ns = now
        return cast(E, self._with_those_behind(effect)) if isinstance(effect, Persist) else effect

    def written(self) -> None:
        """Records that the write is durable."""
        assert self.is_writing
        self._writing_since_ns = None

    def clear(self) -> None:
        """Drops all waiting effects."""
        self._waiting.clear()

    def _with_those_behind(self, persist: Persist) -> Persist:
        """Merges every ``Persist`` that waits before another kind of write into one transaction."""
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Persist):
                persist = persist.then(effect)
                continue
            self._waiting.append(effect)
            if isinstance(effect, self._writes):
                break
        self._waiting.extend(waiting)
        return persist

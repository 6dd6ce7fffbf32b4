"""The effects of a machine whose host does not stand still while its disk writes.

Purpose: group commit. While one transaction is being synced, the host goes on to call doors. What they return waits
behind the write, in order, and all that there is to be persisted by then becomes the next write::

    given     P1 S1      P2 S2    P3 S3
    let out   P1 ......... S1 P2+3 ......... S2 S3         ......... the disk is busy

Nothing is let out before what was given before it, but for a ``Persist``, which may be made durable sooner: so no send
leaves before what it relies on is on disk. A host hands each write back to the machine (``Raft.persisted``).

A machine whose disk has stalled should do nothing, so that the others notice: ``has_stalled`` says so, and also if more
is waiting than a host should keep. Then the host waits for the disk before it calls another door.

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
"""A sync takes some milliseconds; a heartbeat's interval is a time for which nobody misses a server."""
WAITING_MAX: Final = 10_000


class EffectQueue(Generic[E]):
    """Of one host. Effects of the types ``writes`` are durable before what is behind them is let out."""

    def __init__(self, writes: tuple[type, ...] = (Persist,)) -> None:
        self._writes = writes
        self._waiting: deque[E] = deque()
        self._writing_since_ns: int | None = None

    @property
    def is_writing(self) -> bool:
        """Whether the disk has something to do."""
        return self._writing_since_ns is not None

    @property
    def is_idle(self) -> bool:
        """Whether all that was given has been let out and written."""
        return not self._waiting and not self.is_writing

    def has_stalled(self, now: int) -> bool:
        """Whether the host should do nothing more before the disk has answered."""
        since_ns = self._writing_since_ns
        return since_ns is not None and (now - since_ns >= STALL_NS or len(self._waiting) >= WAITING_MAX)

    def put(self, effects: Iterable[E]) -> None:
        """What a door has returned."""
        self._waiting.extend(effects)

    def next(self, now: int) -> E | None:
        """What to carry out now. After a write there is nothing until ``written``."""
        if self.is_writing or not self._waiting:
            return None
        effect = self._waiting.popleft()
        if not isinstance(effect, self._writes):
            return effect
        self._writing_since_ns = now
        return cast(E, self._with_those_behind(effect)) if isinstance(effect, Persist) else effect

    def written(self) -> None:
        """The write is durable."""
        assert self.is_writing
        self._writing_since_ns = None

    def clear(self) -> None:
        """Let nothing more out."""
        self._waiting.clear()

    def _with_those_behind(self, persist: Persist) -> Persist:
        """One transaction for all that is to be persisted before another kind of write."""
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

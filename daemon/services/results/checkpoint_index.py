"""At which ticks a run can be read: asked of all members, for each knows what is on its own disk alone.

A tick can be read if it is committed and the states of all partitions are there, wherever they are. Committed it is if
anybody has seen it or a later one pass its barrier; a checkpoint that is still being brought to the disks is not.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence

from daemon.control.messages import RunStates
from daemon.runtime.disk import Disk
from daemon.services.results.messages import KeptTicksReply, KeptTicksRequest
from daemon.state.commands import from_bits, to_bits

PATIENCE_SECONDS = 2.0


class KeptTicks:
    """Both sides. `committed` gives the last tick of a run, by its number, that is known here to be committed."""

    def __init__(
        self, me: str, disk: Disk, send: Callable[[str, object], None], committed: Callable[[int], int]
    ) -> None:
        self._me, self._disk, self._send, self._committed = me, disk, send, committed
        self._waiting: dict[tuple[str, str], asyncio.Future[KeptTicksReply]] = {}

    async def readable(self, run: int, partitions: int, members: Sequence[str], kept: int) -> list[int]:
        """The last `kept` ticks that can be read, ascending; who is silent is taken to have nothing."""
        request = uuid.uuid4().hex
        loop = asyncio.get_running_loop()
        waiting = {name: loop.create_future() for name in members if name != self._me}
        self._waiting.update({(request, name): answer for name, answer in waiting.items()})
        for name in waiting:
            self._send(name, KeptTicksRequest(request, run))
        told = [await self.tell(KeptTicksRequest(request, run))]
        if waiting:
            await asyncio.wait(waiting.values(), timeout=PATIENCE_SECONDS)
        for name, answer in waiting.items():
            del self._waiting[request, name]
            if answer.done():
                told.append(answer.result())
        return whole_ticks(told, partitions)[-kept:]

    async def tell(self, asked: KeptTicksRequest) -> KeptTicksReply:
        """What is here, and how far the run is known to have come."""
        committed = self._committed(asked.run)
        held = await self._disk.do(lambda store: store.states_of(asked.run))
        states = tuple(RunStates(asked.run, tick, to_bits(partitions)) for tick, partitions in sorted(held.items()))
        return KeptTicksReply(asked.request, committed, states)

    def told(self, sender: str, answer: KeptTicksReply) -> None:
        """A member's answer."""
        waiting = self._waiting.get((answer.request, sender))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def whole_ticks(told: Sequence[KeptTicksReply], partitions: int) -> list[int]:
    """The committed ticks of which somebody has each partition, ascending.

    >>> a = KeptTicksReply("", 8, (RunStates(1, 6, to_bits({0})), RunStates(1, 8, to_bits({0, 1}))))
    >>> b = KeptTicksReply("", 7, (RunStates(1, 6, to_bits({1})), RunStates(1, 9, to_bits({0, 1}))))
    >>> whole_ticks([a, b], 2)
    [6, 8]
    """
    committed = max((each.committed for each in told), default=0)
    held: dict[int, set[int]] = defaultdict(set)
    for each in told:
        for state in each.states:
            held[state.tick] |= from_bits(state.partitions)
    return sorted(tick for tick, there in held.items() if tick <= committed and there >= set(range(partitions)))

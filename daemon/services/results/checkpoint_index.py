"""Finds the ticks at which a run can be read, by asking all members: each knows only what is on its own disk.

A tick can be read if it is committed and the states of all partitions exist, on whichever disks. It is committed if any
member has seen it or a later tick pass its barrier; a checkpoint that is still being replicated is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Never

from daemon.control.leader.messages import RunStates
from daemon.runtime.context import HostContext
from daemon.runtime.rpc import once
from daemon.runtime.service import Service
from daemon.services.results.messages import KeptTicksReply, KeptTicksRequest
from daemon.services.runs.controller import RunController
from daemon.state.commands import Identity, from_bits, to_bits

PATIENCE: Final = once(2.0)


class CheckpointIndex(Service[KeptTicksRequest, Never]):
    """Asks which ticks of runs are kept, and answers with those on this disk."""

    messages = (KeptTicksRequest,)
    replies = (KeptTicksReply,)

    def __init__(self, context: HostContext, runs: RunController) -> None:
        self._context, self._runs = context, runs

    async def readable(self, run: int, partitions: int, members: Sequence[str], kept: int) -> list[int]:
        """Returns the last `kept` ticks that can be read, ascending; silent members count as having nothing."""
        asked = KeptTicksRequest("", run)
        others = [name for name in members if name != self._context.me]
        told = await self._context.rpc.call_each(others, asked, KeptTicksReply, PATIENCE)
        return whole_ticks([await self._own(asked), *told.values()], partitions)[-kept:]

    async def on_message(self, sender: Identity, message: KeptTicksRequest) -> KeptTicksReply:
        """Returns this disk's ticks, and the last tick known to be committed."""
        return await self._own(message)

    async def _own(self, asked: KeptTicksRequest) -> KeptTicksReply:
        committed = self._runs.committed(asked.run)
        held = await self._context.disk.do(lambda store: store.states_of(asked.run))
        states = tuple(RunStates(asked.run, tick, to_bits(partitions)) for tick, partitions in sorted(held.items()))
        return KeptTicksReply(asked.request, committed, states)


def whole_ticks(told: Sequence[KeptTicksReply], partitions: int) -> list[int]:
    """Returns the committed ticks of which every partition is held somewhere, ascending.

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

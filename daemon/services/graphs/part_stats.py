"""Collects figures of each member's part of a graph: they change with every view, so the log does not keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Never

from daemon.runtime.context import HostContext
from daemon.runtime.rpc import once
from daemon.runtime.service import Service
from daemon.services.graphs.messages import PartStatsReply, PartStatsRequest
from daemon.services.graphs.parts import Parts
from daemon.state.commands import Identity

PATIENCE: Final = once(2.0)


class PartStats(Service[PartStatsRequest, Never]):
    """Asks for the figures of parts, and answers with those of this shard."""

    messages = (PartStatsRequest,)
    replies = (PartStatsReply,)

    def __init__(self, context: HostContext, parts: Parts) -> None:
        self._context, self._parts = context, parts

    async def of_all(self, load: str, members: Sequence[str]) -> dict[str, PartStatsReply]:
        """Returns the members' figures for a load; leaves out those that are silent, or have no part of it yet."""
        me = self._context.me
        others = [name for name in members if name != me]
        told = await self._context.rpc.call_each(others, PartStatsRequest("", load), PartStatsReply, PATIENCE)
        if (part := self._own(PartStatsRequest("", load))) is not None:
            told[me] = part
        return {name: told[name] for name in members if name in told}

    async def on_message(self, sender: Identity, message: PartStatsRequest) -> PartStatsReply | None:
        """Answers, if necessary after catching up with the log: the sender may be ahead."""
        told = self._own(message)
        if told is None:
            await self._context.read_index()
            told = self._own(message)
        return told

    def _own(self, asked: PartStatsRequest) -> PartStatsReply | None:
        part = self._parts.by_load.get(asked.load)
        if part is None:
            return None
        return PartStatsReply(
            asked.request, part.size, part.held_edges, part.ghost_count, part.cross_edges, part.nbytes
        )

"""What each member holds of a graph in memory, asked of all of them: it changes with every view, so no log keeps it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence

from daemon.services.graphs.graphs import Graphs
from daemon.services.graphs.messages import PartStatsReply, PartStatsRequest
from shoal.graph.shard_graph import ShardGraph

PATIENCE_SECONDS = 2.0


class PartStats:
    """Both sides. `send` hands a message to a member's control plane."""

    def __init__(self, me: str, graphs: Graphs, send: Callable[[str, object], None]) -> None:
        self._me, self._graphs, self._send = me, graphs, send
        self._waiting: dict[tuple[str, str], asyncio.Future[PartStatsReply]] = {}

    async def take(self, load: str, members: Sequence[str]) -> dict[str, PartStatsReply]:
        """What each member tells of a load within a moment; who is silent, or has no part of it yet, is left out."""
        request = uuid.uuid4().hex
        loop = asyncio.get_running_loop()
        asked = {name: loop.create_future() for name in members if name != self._me}
        self._waiting.update({(request, name): answer for name, answer in asked.items()})
        for name in asked:
            self._send(name, PartStatsRequest(request, load))
        told = {self._me: part} if (part := self.tell(PartStatsRequest(request, load))) is not None else {}
        if asked:
            await asyncio.wait(asked.values(), timeout=PATIENCE_SECONDS)
        for name, answer in asked.items():
            del self._waiting[request, name]
            if answer.done():
                told[name] = answer.result()
        return {name: told[name] for name in members if name in told}

    def tell(self, asked: PartStatsRequest) -> PartStatsReply | None:
        """What is here."""
        part: ShardGraph | None = self._graphs.parts.get(asked.load)
        if part is None:
            return None
        return PartStatsReply(
            asked.request, part.size, part.held_edges, part.ghost_count, part.cross_edges, part.nbytes
        )

    def told(self, sender: str, answer: PartStatsReply) -> None:
        """A member's answer."""
        waiting = self._waiting.get((answer.request, sender))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

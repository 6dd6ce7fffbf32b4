"""Takes the pieces of loads, each in a task of its own, and drops loads that fail meanwhile.

A load may be dropped at any moment: its client hangs up, or another shard refuses its piece. The running write has to
end first; otherwise its load would be deleted underneath it, or it would write afterwards and leave data for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Never, TypeAlias, assert_never

from daemon.runtime.context import HostContext
from daemon.runtime.service import Service, types_of
from daemon.services.graphs.staging import Staging
from daemon.services.graphs.transfer import answered, checked_piece, spec_of
from daemon.state.records import View
from daemon.transfer.chunks import LoadedPiece, PieceAnswered, PieceArrived, PieceGone
from shoal.graph.shard_graph import ShardGraph

Events: TypeAlias = LoadedPiece | PieceGone | PieceAnswered


class Pieces(Service[Never, Events]):
    """One shard's pieces, by load."""

    events = types_of(Events)

    def __init__(self, context: HostContext, staging: Staging) -> None:
        self._context, self._staging = context, staging
        self._taking: dict[str, asyncio.Task[Any]] = {}

    def on_event(self, event: Events) -> None:
        """Handles a complete piece, one that has failed, and the answer to one that was sent."""
        match event:
            case LoadedPiece():
                view = self._context.state.registry.view
                self.take(event, lambda: self._take_in(event, view))
            case PieceGone(load=load):
                if self._context.state.registry.graph_of(load) is None:
                    self._context.spawn(self._drop(load))
            case PieceAnswered():
                pass  # its sender waits for that (`transfer.carried`)
            case _:
                assert_never(event)

    def take(self, piece: PieceArrived, work: Callable[[], Awaitable[ShardGraph | None]]) -> None:
        """Processes a complete piece, and answers its sender."""
        load = piece.load
        task = self._taking[load] = self._context.spawn(self._answer(piece, work))
        task.add_done_callback(lambda done: self._forget(load, done))

    async def _take_in(self, piece: PieceArrived, view: View | None) -> ShardGraph:
        """Keeps and builds a load's piece."""
        spec = spec_of(piece, view)
        assert view is not None
        checked = await checked_piece(piece, spec, view, self._context.me)
        await self._staging.keep_table(piece.load, checked.graph, checked.table, checked.partitions)
        return await self._staging.stage(piece.load, checked.graph, view, checked.placed, checked.slices)

    async def _answer(self, piece: PieceArrived, work: Callable[[], Awaitable[ShardGraph | None]]) -> None:
        answer = await answered(piece, self._context.me, work())
        ticks = self._context.ticks
        ticks.order(lambda: ticks.piece_built(answer))

    async def _drop(self, load: str) -> None:
        task = self._taking.get(load)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._staging.drop(load)

    def _forget(self, load: str, task: asyncio.Task[Any]) -> None:
        if self._taking.get(load) is task:
            del self._taking[load]

"""Serves reads of runs: the ticks at which they can be read, and this shard's rows at one of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Never

from daemon.runtime.context import HostContext
from daemon.runtime.service import Service
from daemon.services.graphs.present import PresentParts
from daemon.services.programs.programs import Programs
from daemon.services.results.checkpoint_index import CheckpointIndex
from daemon.services.results.messages import RowsReply, RowsRequest
from daemon.services.results.results import Results
from daemon.state.commands import Identity
from daemon.state.placement import sources
from daemon.state.records import COMPLETED, RunRecord
from daemon.store import NotHeld
from shoal.api.errors import Refused


class Reading(Service[RowsRequest, Never]):
    """The kept ticks and the results of one shard, in its present view."""

    messages = (RowsRequest,)
    replies = (RowsReply,)

    def __init__(
        self, context: HostContext, parts: PresentParts, programs: Programs, results: Results, index: CheckpointIndex
    ) -> None:
        self._context, self._parts, self._programs = context, parts, programs
        self._results, self._index = results, index

    async def recall(self, name: str, tick: int) -> None:
        """Loads a run's columns at a tick, for this shard's primary partitions in the present view."""
        registry = self._context.state.registry
        run = registry.runs.get(name)
        if run is None or registry.view is None:
            return
        if run.has_expired:
            raise Refused(f"the result of run '{name}' has expired")
        others = sources(self._context.me, (), registry.view.names)
        await self._results.recall(run, tick, await self._parts.of(registry.graphs[run.graph]), others)

    async def ticks(self, run: RunRecord) -> list[int]:
        """Returns the ticks at which a run can be read, ascending; none before it has converged, if it has to."""
        registry = self._context.state.registry
        graph = registry.graph_of(run.load)
        if graph is None or registry.view is None or not (run.active or run.has_result):
            return []
        kept = self._context.config.ticks.checkpoints_kept
        ticks = await self._index.readable(run.number, graph.partition_count, registry.view.names, kept)
        if (await self._programs.make(run)).anytime:
            return ticks
        return [tick for tick in ticks if run.state == COMPLETED and tick == run.tick]

    async def on_message(self, sender: Identity, message: RowsRequest) -> RowsReply:
        """Returns the requested rows to a peer."""
        with contextlib.suppress(Refused, NotHeld):  # the answer then names what is missing
            await self.recall(message.run, message.tick)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._context.workers, self._results.answer, message)

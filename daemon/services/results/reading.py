"""Reading runs, as far as this shard is asked for it: which ticks there are, and what is here of one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from daemon.services.results.checkpoint_index import KeptTicks
from daemon.services.results.messages import KeptTicksReply, KeptTicksRequest, RowsReply, RowsRequest
from daemon.services.results.results import Results
from daemon.state.placement import sources
from daemon.state.records import COMPLETED, RunRecord
from daemon.store import NotHeld
from shoal.api.errors import Refused

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime


class Reading:
    """The kept ticks and the results of one shard, in the view that it is in."""

    def __init__(self, runtime: Runtime, results: Results) -> None:
        self._runtime, self.results = runtime, results
        me, send = runtime.me.name, runtime.messenger.send
        self._ticks = KeptTicks(me, runtime.disk, send, lambda run: runtime.runs.committed(run))

    async def recall(self, name: str, tick: int) -> None:
        """Have a run's columns at a tick at hand, as far as this shard is primary in the present view."""
        runtime, registry = self._runtime, self._runtime.shard.registry
        run = registry.runs.get(name)
        if run is None or registry.view is None:
            return
        if run.has_expired:
            raise Refused(f"the result of run '{name}' has expired")
        graph, placed = registry.graphs[run.graph], registry.placements[run.graph]
        if not runtime.shard.in_view or registry.lost(run.graph):
            raise Refused(f"graph '{run.graph}' is not whole in this view: try again once its holders are back")
        others = sources(runtime.me.name, (), registry.view.names)
        await self.results.recall(run, tick, await runtime.graphs.part(graph, registry.view, placed), others)

    async def ticks(self, run: RunRecord) -> list[int]:
        """The ticks at which a run can be read, ascending: one that has to converge, once it has."""
        registry = self._runtime.shard.registry
        graph = registry.graph_of(run.load)
        if graph is None or registry.view is None or not (run.active or run.has_result):
            return []
        kept = self._runtime.config.ticks.checkpoints_kept
        ticks = await self._ticks.readable(run.number, graph.partition_count, registry.view.names, kept)
        if (await self._runtime.programs.make(run)).anytime:
            return ticks
        return [tick for tick in ticks if run.state == COMPLETED and tick == run.tick]

    async def answer(self, sender: str, asked: RowsRequest | KeptTicksRequest) -> None:
        """Give a peer what it asks for. The last tick of a run is on disk before anybody hears of its end."""
        if isinstance(asked, KeptTicksRequest):
            self._runtime.messenger.send(sender, await self._ticks.tell(asked))
            return
        with contextlib.suppress(Refused, NotHeld):  # the answer then says what is not here
            await self.recall(asked.run, asked.tick)
        answer = await asyncio.get_running_loop().run_in_executor(self._runtime.workers, self.results.answer, asked)
        self._runtime.messenger.send(sender, answer)

    def told(self, sender: str, answer: RowsReply | KeptTicksReply) -> None:
        """A peer's answer."""
        if isinstance(answer, KeptTicksReply):
            self._ticks.told(sender, answer)
        else:
            self.results.answered(sender, answer)

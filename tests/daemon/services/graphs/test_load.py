"""A load on a shard of its own: what the log says of its graph is what counts, however short it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

import shoal
from daemon.control.effects import Answered
from daemon.services.graphs.load import Loading
from daemon.services.graphs.parts import primaries
from daemon.services.graphs.staging import Staging
from daemon.state import ReplicatedState
from daemon.state.commands import Identity
from daemon.state.placement import Placed
from daemon.state.records import View
from shoal.graph.partitions import PartitionSet, build
from shoal.graph.shard_graph import ShardGraph
from tests.daemon.services.contexts import context_of

DATA = shoal.from_arrays(np.arange(20), np.arange(20) * 7 % 20)


class Staged:
    """Builds parts, and keeps nothing."""

    async def keep_table(self, *_: object) -> None:
        """It is written."""

    async def stage(self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet) -> ShardGraph:
        return build(graph, slices, DATA.partition, primaries(view, placed), 0)


def test_a_graph_that_is_dropped_as_soon_as_it_is_decided_was_loaded() -> None:
    async def run() -> None:
        async def decide(_: object) -> Answered:
            return Answered("r", "", decided=True)  # and the next entry of the log drops the graph

        async def do(job: Callable[[Any], Any]) -> Any:
            return job(SimpleNamespace(require=lambda nbytes: None))

        async def emit(_: object) -> None:
            """Nobody looks."""

        state = ReplicatedState()
        state.registry.view = View(1, (Identity("a", 1),), 8, 1)
        ticks = SimpleNamespace(order=lambda _: None)
        context = context_of(state, decide=decide, disk=SimpleNamespace(do=do), ticks=ticks)
        vars(context.state).update(in_view=True, missing_members=list)
        loading = Loading(context, cast(Staging, Staged()), "g", emit)
        async with asyncio.timeout(30):
            loaded = await loading.run(*DATA.to_wire())
        assert (loaded["graph"], loaded["nodes"], loaded["edges"]) == ("g", 20, 20)

    asyncio.run(run())

"""Stages what loads send to this shard: written and built, but unused until the log says that the graph exists.

A failed load leaves nothing. The log adds a graph only in the view that it was partitioned for.

A staged load stays until that is decided, because the log may be about to add its graph. The number of staged loads is
bounded by how many may begin, from other shards (`transfer.chunks.Intake`) and here.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any, Never, TypeAlias, assert_never

from numpy.typing import NDArray

from daemon.control.effects import DeleteParts
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service, types_of
from daemon.services.graphs.parts import Built, Parts, primaries
from daemon.services.graphs.slices import Slices
from daemon.services.graphs.transfer import CHANGED
from daemon.state import GraphInstalled, ViewInstalled
from daemon.state.placement import Placed
from daemon.state.records import View
from shoal.api.errors import Failed, Refused
from shoal.graph.partitions import PartitionSet, Uncut
from shoal.graph.shard_graph import ShardGraph

log = logging.getLogger("shoal.graphs")

Events: TypeAlias = ViewInstalled | GraphInstalled | DeleteParts


class Staging(Service[Never, Events]):
    """One shard's staged loads."""

    events = types_of(Events)

    def __init__(self, context: HostContext, parts: Parts, slices: Slices) -> None:
        self._context, self._parts, self._slices = context, parts, slices
        self._staged: dict[str, Built] = {}
        self._own: set[str] = set()
        """Loads that this shard coordinates, until they are decided."""

    def on_event(self, event: Events) -> None:
        """Follows the log's decisions about graphs."""
        match event:
            case ViewInstalled():
                self._drop_undecided()
            case GraphInstalled(graph=graph):
                log.info("graph %s: %d nodes, %d edges", graph.name, graph.node_count, graph.edge_count)
                ticks, load = self._context.ticks, graph.load
                ticks.order(lambda: ticks.load_decided(load))
                self._install(load)
            case DeleteParts(load=load, partitions=partitions):
                drop = self.drop(load) if partitions is None else self._slices.drop(load, partitions)
                self._context.spawn(drop)
            case _:
                assert_never(event)

    def begin(self, load: str) -> None:
        """Begins a load that this shard coordinates. Raises `Refused` if there are enough of them."""
        if len(self._own) >= self._context.load_limits.pieces_max:
            raise Refused(f"this shard already loads {len(self._own)} graphs; try again when one is done")
        self._own.add(load)

    async def keep_table(self, load: str, graph: str, table: NDArray[Any], partitions: int) -> None:
        """Writes a load's partition table and header, before its slices."""
        await self._slices.keep_table(load, graph, table, partitions)

    async def keep_and_build(
        self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet | Uncut
    ) -> ShardGraph:
        """Writes slices and builds their part, without keeping the part."""
        placement, table = primaries(view, placed), await self._slices.table(load)
        keeping = asyncio.ensure_future(self._slices.keep(load, slices))
        try:
            part = await self._parts.build(graph, slices, table, placement)
        finally:
            await keeping
        return part

    async def stage(
        self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet | Uncut
    ) -> ShardGraph:
        """Writes a load's slices, and builds and stages their part."""
        part = await self.keep_and_build(load, graph, view, placed, slices)
        if self._context.state.registry.view != view:
            await self.drop(load)
            raise Failed(CHANGED)
        self._staged[load] = Built(primaries(view, placed), part)
        return part

    async def drop(self, load: str) -> None:
        """Drops everything of a load."""
        self._staged.pop(load, None)
        self._own.discard(load)
        await self._parts.drop_load(load)

    def _drop_undecided(self) -> None:
        """Drops loads of an older view: the log adds a graph only in the view that it was partitioned for."""
        registry, ticks = self._context.state.registry, self._context.ticks
        for load in list(self._staged):
            if registry.graph_of(load) is not None:  # a snapshot of the log contains it
                self._install(load)
                continue
            log.info("load %s was partitioned for an older view: it is dropped", load)
            ticks.order(partial(ticks.load_decided, load))
            self._context.spawn(self.drop(load))

    def _install(self, load: str) -> None:
        """Adopts the part of a graph that the log has added."""
        built = self._staged.pop(load, None)
        self._own.discard(load)
        if built is not None:
            self._parts.adopt(load, built)

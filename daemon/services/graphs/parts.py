"""The parts of graphs that this shard computes on, one of each graph, for the present view.

A part is built off the loop from the slices on disk, once for each placement: again in each view that places it
differently. Parts are identified by their loads, because another graph may take the name of a dropped one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from daemon.runtime import memory
from daemon.runtime.context import HostContext
from daemon.services.graphs.slices import Slices
from daemon.state.commands import AddGraph
from daemon.state.placement import Placed
from daemon.state.records import View
from daemon.store import NotHeld
from shoal.graph.ids import partition_type
from shoal.graph.partitions import PartitionSet, Uncut, build, joined
from shoal.graph.shard_graph import Placement, ShardGraph

log = logging.getLogger("shoal.graphs")

GIVE_BACK_SECONDS = 1.0


@dataclass(frozen=True)
class Built:
    """A part, and the placement that it was built for."""

    placement: Placement
    part: ShardGraph

    def serves(self, placement: Placement) -> bool:
        """Whether it is the part for that placement."""
        mine = self.placement
        return mine.shards == placement.shards and np.array_equal(mine.holder, placement.holder)


class Parts:
    """The parts of one shard."""

    def __init__(self, context: HostContext, slices: Slices) -> None:
        self._disk, self._workers, self._slices = context.disk, context.workers, slices
        self._shard = context.me
        self._built: dict[str, Built] = {}
        self._building: dict[str, asyncio.Lock] = {}
        self._giving_back: asyncio.TimerHandle | None = None

    @property
    def by_load(self) -> dict[str, ShardGraph]:
        """The parts in memory, by load."""
        return {load: built.part for load, built in self._built.items()}

    async def part(self, graph: AddGraph, view: View, placed: Placed) -> ShardGraph:
        """Returns the part of a graph in a placement; builds it from the slices on disk if it is not in memory.

        Raises `NotHeld`, also if the graph is dropped meanwhile.
        """
        load, placement = graph.load, primaries(view, placed)
        turn = self._building.setdefault(load, asyncio.Lock())
        async with turn:
            built = self._built.get(load)
            if built is None or not built.serves(placement):
                built = Built(placement, await self._read(graph, placement))
                if self._building.get(load) is not turn:
                    raise NotHeld(f"graph '{graph.name}' was dropped while it was read")
                self._built[load] = built
        return built.part

    async def partition_sizes(self, graph: AddGraph) -> NDArray[np.int64]:
        """Returns how many nodes each partition of a graph has."""
        return np.bincount(await self._slices.table(graph.load), minlength=graph.partition_count)

    async def build(
        self, graph: str, slices: PartitionSet | Uncut, table: NDArray[Any], placement: Placement
    ) -> ShardGraph:
        """Builds a part off the loop."""
        return await self._in_worker(build, graph, slices, table, placement, placement.shards.index(self._shard))

    def adopt(self, load: str, built: Built) -> None:
        """Takes over the part that a load has built."""
        self._built[load] = built
        self.give_back_soon()

    async def drop_load(self, load: str) -> None:
        """Deletes everything of a load, in memory and on disk."""
        self._built.pop(load, None)
        self._building.pop(load, None)
        await self._slices.drop_load(load)
        self.give_back_soon()

    # -- within ----------------------------------------------------------------------------------------------------

    async def _read(self, graph: AddGraph, placement: Placement) -> ShardGraph:
        me = placement.shards.index(self._shard)
        mine = placement.partitions(me)
        if not mine:  # then the table, which this shard may not hold, is not needed
            return await self._in_worker(_nothing, graph, placement, me)
        table = await self._slices.table(graph.load)
        read = await self._disk.do(lambda store: [store.slice(graph.load, partition) for partition in mine])
        return await self._in_worker(_assemble, graph.name, read, table, placement, me)

    def give_back_soon(self) -> None:
        """Returns free memory to the system, once the remains of a load or a run have been released everywhere."""
        if self._giving_back is not None:
            return

        def give_back() -> None:
            self._giving_back = None
            with contextlib.suppress(RuntimeError):  # the workers have ended
                self._workers.submit(memory.give_back)

        self._giving_back = asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, give_back)

    async def _in_worker(self, work: Callable[..., ShardGraph], *args: Any) -> ShardGraph:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *args)


def primaries(view: View, placed: Placed) -> Placement:
    """Returns the primary of each partition, in the form that parts are built for."""
    return Placement.of([holders[0] for holders in placed], view.names)


def empty_slices(graph: AddGraph) -> PartitionSet:
    """Returns a set of slices of no partition of a graph."""
    types = (graph.id_type, dict(graph.node_columns), dict(graph.edge_columns))
    counts = graph.node_count, graph.edge_count, graph.partition_count
    return PartitionSet.empty(*counts, *types, directed=graph.directed)


def _nothing(graph: AddGraph, placement: Placement, me: int) -> ShardGraph:
    table = np.zeros(graph.node_count, partition_type(graph.partition_count))
    return build(graph.name, empty_slices(graph), table, placement, me)


def _assemble(
    graph: str, read: list[tuple[bytes, list[bytes]]], table: NDArray[Any], placement: Placement, me: int
) -> ShardGraph:
    pieces = [PartitionSet.from_wire(msgpack.unpackb(spec), frames, table) for spec, frames in read]
    return build(graph, joined(pieces), table, placement, me)

"""The graphs of this shard: slices on its disk, and for the present view a part of each in memory.

    shipped or fetched slices --keep--> disk --part--> the part that this shard is primary of
                                                        (again in each view that places it elsewhere)

What a load brings is staged, on disk and built, until the log says that the graph exists; a load that comes to nothing
leaves nothing. A part is built off the loop, once for each placement. Parts are known by their loads: another graph may
take the name of one that was dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Never, TypeAlias, assert_never

import msgpack
import numpy as np
from numpy.typing import NDArray

from daemon.control.effects import DeleteParts
from daemon.runtime import memory
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service, types_of
from daemon.state import GraphInstalled, ViewInstalled
from daemon.state.commands import AddGraph
from daemon.state.placement import Placed
from daemon.state.records import View
from daemon.store import NotHeld, Store
from shoal.graph.graph_data import BadGraph
from shoal.graph.ids import partition_type
from shoal.graph.partitions import PartitionSet, Uncut, build, joined
from shoal.graph.shard_graph import Placement, ShardGraph

log = logging.getLogger("shoal.graphs")

Events: TypeAlias = ViewInstalled | GraphInstalled | DeleteParts

STAGED_MAX = 4
GIVE_BACK_SECONDS = 1.0


@dataclass(frozen=True)
class _Built:
    """A part, and what it was built for."""

    placement: Placement
    part: ShardGraph

    def serves(self, placement: Placement) -> bool:
        """Whether it is the part in that placement."""
        mine = self.placement
        return mine.shards == placement.shards and np.array_equal(mine.holder, placement.holder)


class Graphs(Service[Never, Events]):
    """Slices on disk and parts in memory."""

    events = types_of(Events)

    def __init__(self, context: HostContext) -> None:
        self._context, self._disk, self._workers = context, context.disk, context.workers
        self._shard = context.me
        self._built: dict[str, _Built] = {}
        self._staged: dict[str, _Built] = {}
        self._tables: dict[str, NDArray[Any]] = {}
        self._building: dict[str, asyncio.Lock] = {}
        self._unwanted: dict[str, set[int]] = {}
        """Partitions that were to be deleted, and that have not been written again since."""
        self._giving_back: asyncio.TimerHandle | None = None

    def on_event(self, event: Events) -> None:
        """What the log says of graphs."""
        match event:
            case ViewInstalled():
                self._drop_undecided()
            case GraphInstalled(graph=graph):
                log.info("graph %s: %d nodes, %d edges", graph.name, graph.node_count, graph.edge_count)
                ticks, load = self._context.ticks, graph.load
                ticks.order(lambda: ticks.load_decided(load))
                self._install(load)
            case DeleteParts(load=load, partitions=partitions):
                self._context.spawn(self.drop_load(load, partitions))
            case _:
                assert_never(event)

    # -- read ------------------------------------------------------------------------------------------------------

    @property
    def parts(self) -> dict[str, ShardGraph]:
        """The parts in memory, by load."""
        return {load: built.part for load, built in self._built.items()}

    async def part(self, graph: AddGraph, view: View, placed: Placed) -> ShardGraph:
        """The part of a graph in a placement, built from the slices on disk if it is not here.

        Raises `NotHeld`, also if the graph is dropped meanwhile.
        """
        load, placement = graph.load, primaries(view, placed)
        turn = self._building.setdefault(load, asyncio.Lock())
        async with turn:
            built = self._built.get(load)
            if built is None or not built.serves(placement):
                built = _Built(placement, await self._read(graph, placement))
                if self._building.get(load) is not turn:
                    raise NotHeld(f"graph '{graph.name}' was dropped while it was read")
                self._built[load] = built
        return built.part

    async def table(self, load: str) -> NDArray[Any]:
        """The partition of each node of a load that is held here."""
        if load not in self._tables:
            _, frame, header = await self._disk.do(lambda store: store.graph(load))
            self._tables[load] = table_of(frame, msgpack.unpackb(header)["partitions"])
        return self._tables[load]

    # -- write -----------------------------------------------------------------------------------------------------

    async def keep_table(self, load: str, graph: str, table: NDArray[Any], partitions: int) -> None:
        """Writes what belongs to a load as a whole."""
        header = msgpack.packb({"partitions": partitions})
        await self._disk.do(lambda store: store.put_graph(load, graph, table.view(np.uint8).data, header))
        self._tables[load] = table

    async def keep(self, load: str, slices: PartitionSet | Uncut) -> None:
        """Writes slices, which are durable when this returns: one partition per job, so that others get their turn."""
        self._unwanted.get(load, set()).difference_update(slices.partitions)
        for partition in slices.partitions:
            await self._disk.do(partial(_put, load, slices, partition))
        await self._disk.do(lambda store: store.seal(load, slices.partitions))

    async def keep_and_build(
        self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet | Uncut
    ) -> ShardGraph:
        """Writes slices and builds their part, which nobody keeps."""
        placement, table = primaries(view, placed), self._tables[load]
        keeping = asyncio.ensure_future(self.keep(load, slices))
        try:
            part = await self._in_worker(build, graph, slices, table, placement, view.names.index(self._shard))
        finally:
            await keeping
        return part

    async def stage(
        self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet | Uncut
    ) -> ShardGraph:
        """Writes the slices that a load has brought, and builds and stages their part."""
        part = await self.keep_and_build(load, graph, view, placed, slices)
        if self._context.state.registry.view != view:
            await self.drop_load(load)
            raise BadGraph("it was cut for another view: try again")
        self._staged[load] = _Built(primaries(view, placed), part)
        while len(self._staged) > STAGED_MAX:
            dropped = next(iter(self._staged))
            log.warning("load %s was never decided: its slices are dropped", dropped)
            await self.drop_load(dropped)
        return part

    def _drop_undecided(self) -> None:
        """The log adds a graph in the view that it was cut for or never: whoever was loading it may be gone."""
        registry, ticks = self._context.state.registry, self._context.ticks
        for load in list(self._staged):
            if registry.graph_of(load) is not None:  # a snapshot of the log told so
                self._install(load)
                continue
            log.info("load %s was cut for an older view: it is dropped", load)
            ticks.order(partial(ticks.load_decided, load))
            self._context.spawn(self.drop_load(load))

    def _install(self, load: str) -> None:
        """The log says that a graph exists."""
        built = self._staged.pop(load, None)
        if built is not None:
            self._built[load] = built
            self.give_back_soon()

    async def drop_load(self, load: str, partitions: frozenset[int] | None = None) -> None:
        """Deletes partitions of a load from disk, or all that is here of it."""
        if partitions is not None:
            unwanted = self._unwanted.setdefault(load, set())
            unwanted |= partitions
            await self._disk.delete(lambda store: store.drop_slices(load, frozenset(unwanted)))
            return
        self._staged.pop(load, None)
        self._tables.pop(load, None)
        self._built.pop(load, None)
        self._building.pop(load, None)
        self._unwanted.pop(load, None)
        await self._disk.delete(lambda store: store.drop_load(load))
        self.give_back_soon()

    # -- within ----------------------------------------------------------------------------------------------------

    async def _read(self, graph: AddGraph, placement: Placement) -> ShardGraph:
        me = placement.shards.index(self._shard)
        mine = placement.partitions(me)
        if not mine:  # then no node is looked up in the table, and perhaps there is none here
            return await self._in_worker(_nothing, graph, placement, me)
        table = await self.table(graph.load)
        read = await self._disk.do(lambda store: [store.slice(graph.load, partition) for partition in mine])
        return await self._in_worker(_assemble, graph.name, read, table, placement, me)

    def give_back_soon(self) -> None:
        """Once what a load or a run has left is let go by all who handed it on: its pages to the system."""
        if self._giving_back is not None:
            return

        def give_back() -> None:
            self._giving_back = None
            with contextlib.suppress(RuntimeError):  # the workers have gone home
                self._workers.submit(memory.give_back)

        self._giving_back = asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, give_back)

    async def _in_worker(self, work: Callable[..., ShardGraph], *args: Any) -> ShardGraph:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *args)


def primaries(view: View, placed: Placed) -> Placement:
    """Who is primary of which partition, as parts are built for it."""
    return Placement.of([holders[0] for holders in placed], view.names)


def table_of(frame: Any, partitions: int) -> NDArray[Any]:
    """A partition table from its bytes; what is in it is checked with the slices that go with it."""
    return np.frombuffer(frame, partition_type(partitions))


def empty_slices(graph: AddGraph) -> PartitionSet:
    """The slices of no partition of a graph."""
    types = (graph.id_type, dict(graph.node_columns), dict(graph.edge_columns))
    counts = graph.node_count, graph.edge_count, graph.partition_count
    return PartitionSet.empty(*counts, *types, directed=graph.directed)


def _put(load: str, slices: PartitionSet | Uncut, partition: int, store: Store) -> None:
    spec, frames = slices.select([partition]).to_wire()
    store.put_slice(load, partition, msgpack.packb(spec), frames)


def _nothing(graph: AddGraph, placement: Placement, me: int) -> ShardGraph:
    table = np.zeros(graph.node_count, partition_type(graph.partition_count))
    return build(graph.name, empty_slices(graph), table, placement, me)


def _assemble(
    graph: str, read: list[tuple[bytes, list[bytes]]], table: NDArray[Any], placement: Placement, me: int
) -> ShardGraph:
    pieces = [PartitionSet.from_wire(msgpack.unpackb(spec), frames, table) for spec, frames in read]
    return build(graph, joined(pieces), table, placement, me)

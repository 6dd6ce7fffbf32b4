"""Loads a graph into the cluster: partitions it, ships the slices, and proposes it to the log.

    whole graph --cut--> slices --ship--> every member keeps its own on disk --all have--> AddGraph in the log

A member gets the slices of all partitions that it is to hold, as primary or replica, and answers once they are durable:
so an acknowledged load survives the loss of any R - 1 machines, and a power cut on all. Until the log has decided, the
load is staged and nobody sees it; if anything fails before that, it is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgpack
from msgspec.structs import replace
from numpy.typing import NDArray

from daemon.runtime.context import HostContext
from daemon.services.graphs.staging import Staging
from daemon.services.graphs.transfer import answer_of, carried, crossing, held_by, placement_of
from daemon.state.commands import AddGraph
from daemon.state.records import View
from daemon.transfer.shipment import Shipment, size_in_bytes
from shoal.api.command import Emit
from shoal.api.commands.graphs import LoadedGraph
from shoal.api.errors import Failed, NameTaken, Refused
from shoal.graph.columns import type_name
from shoal.graph.graph_data import BadGraph, GraphData
from shoal.graph.partitions import Cut
from shoal.graph.shard_graph import ShardGraph

log = logging.getLogger("shoal.loading")


class Loading:
    """One load, coordinated by this shard."""

    def __init__(self, context: HostContext, staging: Staging, name: str, emit: Emit) -> None:
        self._context, self._staging, self._name, self._emit = context, staging, name, emit
        self._state, self._limits = context.state, context.load_limits
        self._load = f"{self._state.identity}/{context.new_id()}"

    async def run(self, spec: Any, frames: Sequence[Any]) -> LoadedGraph:
        """Loads the graph. Raises `Refused` or `Failed`, and then leaves nothing of it anywhere."""
        began = self._context.clock.monotonic_ns()
        view = self._checked_view()
        self._staging.begin(self._load)
        shipments: list[Shipment] = []
        try:
            added, table, cut = await asyncio.to_thread(self._cut, view, spec, frames)
            _let_go(frames)
            mine = await self._dealt(view, table, cut, shipments)
            del cut  # the shipments have views of what has not arrived yet
            await carried(self._context, view, shipments, self._emit)
            added = _counted(added, view, mine, shipments)
        except BaseException:
            await self._drop(shipments)
            raise
        await self._decided(added, shipments)
        return {
            "graph": self._name,
            "nodes": added.node_count,
            "edges": added.edge_count,
            "directed": added.directed,
            "partitions": added.partition_count,
            "cross_edges": added.cross_edges,
            "seconds": (self._context.clock.monotonic_ns() - began) / 1e9,
        }

    def _checked_view(self) -> View:
        state = self._state
        view = state.registry.view
        if view is None or not state.in_view:
            raise Refused("this shard is in no view yet: wait until `status` says joined")
        if self._name in state.registry.graphs:
            raise NameTaken.by_graph(self._name)
        missing = state.missing_members()
        if missing:
            raise Refused(f"the view lacks {', '.join(missing)}: try again once it is back, or in the next view")
        return view

    def _cut(self, view: View, spec: Any, frames: Sequence[Any]) -> tuple[AddGraph, NDArray[Any], Cut]:
        """Reads the graph and groups it by partition."""
        try:
            data = GraphData.from_wire(spec, frames)
        except BadGraph as bad:
            raise Refused(f"graph '{self._name}': {bad}") from bad
        return self._added(view, data), data.partition, Cut(data)

    async def _dealt(self, view: View, table: NDArray[Any], cut: Cut, shipments: list[Shipment]) -> ShardGraph:
        """Sends each shard its slices, without copying them first, and keeps this shard's own."""
        partitions = cut.partition_count
        placed = placement_of(view, partitions)
        header = {"graph": self._name, "epoch": view.epoch, "partitions": partitions}
        me, ticks = self._context.me, self._context.ticks
        _, own = await asyncio.to_thread(cut.to_wire, held_by(me, placed))
        nbytes = size_in_bytes([table, *own])
        del own
        await self._context.disk.do(lambda store: store.require(nbytes))
        for done, name in enumerate(name for name in view.names if name != me):
            spec, frames = await asyncio.to_thread(cut.to_wire, held_by(name, placed))
            body = msgpack.packb({**header, "slices": spec})
            shipment = Shipment(self._load, name, body, [table, *frames], self._limits)
            shipments.append(shipment)
            ticks.order(partial(ticks.ship, [shipment]))
            await self._emit({"stage": "cut", "done": done + 1, "total": len(view.names)})
        await self._staging.keep_table(self._load, self._name, table, partitions)
        return await self._staging.stage(self._load, self._name, view, placed, cut.some(held_by(me, placed)))

    def _added(self, view: View, data: GraphData) -> AddGraph:
        """Returns the command for the log; the number of crossing edges is only known once all parts are built."""
        return AddGraph(
            name=self._name,
            load=self._load,
            epoch=view.epoch,
            node_count=data.node_count,
            edge_count=data.edge_count,
            partition_count=data.partition_count,
            cross_edges=0,
            id_type=type_name(data.ids),
            node_columns=tuple((name, type_name(column)) for name, column in data.node_columns.items()),
            edge_columns=tuple((name, type_name(column)) for name, column in data.edge_columns.items()),
            directed=data.directed,
        )

    async def _decided(self, added: AddGraph, shipments: Sequence[Shipment]) -> None:
        """Proposes the graph; on return, this shard's log has it, unless it was dropped again.

        Drops the shipped data at once only if the log rejects the graph: otherwise it may still be committed later.
        """
        answer = await self._context.decide(added)
        if not answer.error:
            self._order_landing([])
            return
        if answer.decided:
            await self._drop(shipments)
        else:
            self._context.spawn(self._outlive(added.epoch, shipments))
        raise Failed(answer.error)

    async def _outlive(self, epoch: int, shipments: Sequence[Shipment]) -> None:
        """Drops the shipped data once no proposal of it can be in flight, unless the log has the graph by then."""
        registry, seconds = self._state.registry, self._limits.idle_timeout_ns / 1e9

        def is_settled() -> bool:
            return registry.graph_of(self._load) is not None or registry.epoch != epoch

        await self._context.conditions.until(is_settled, seconds)
        if registry.graph_of(self._load) is None:
            await self._drop(shipments)
        else:
            self._order_landing([])

    async def _drop(self, shipments: Sequence[Shipment]) -> None:
        self._order_landing([shipment.to for shipment in shipments])
        await self._staging.drop(self._load)

    def _order_landing(self, tell: Sequence[str]) -> None:
        ticks, load = self._context.ticks, self._load
        ticks.order(lambda: ticks.land(load, tell))


def _counted(added: AddGraph, view: View, mine: ShardGraph, shipments: Sequence[Shipment]) -> AddGraph:
    answers = {shipment.to: shipment.answer for shipment in shipments if shipment.answer is not None}
    answers[mine.shard] = answer_of(added.load, mine)
    return replace(added, cross_edges=crossing(view, answers, added.node_count))


def _let_go(frames: Sequence[Any]) -> None:
    """Frees a request's bytes, which the server keeps until it has answered: they are as large as the graph."""
    for frame in frames:
        with contextlib.suppress(BufferError):  # something still has a view of it, such as the ids
            if isinstance(frame, memoryview):
                frame.release()

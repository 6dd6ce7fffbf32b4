"""Loading a graph into the cluster: cut it, carry the slices, and let consensus decide that it is there.

    whole graph --cut--> slices --ship--> every member keeps its own on disk --all have--> AddGraph in the log

A member gets the slices of all partitions that it is to hold, as primary or replica, and answers once they are durable:
so a load that was acknowledged survives the loss of any R - 1 machines, and of all machines' power. Until the log has
decided, it is staged and nobody sees it; if anything fails before that, it is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack
from numpy.typing import NDArray

from daemon.services.graphs.graphs import Graphs
from daemon.services.graphs.transfer import (
    Emit,
    answer_of,
    answered,
    carried,
    checked_piece,
    crossing,
    held_by,
    placement_of,
    spec_of,
)
from daemon.state.commands import AddGraph
from daemon.state.records import View
from daemon.transfer.chunks import PieceArrived, Shipment, size_in_bytes
from shoal.api.errors import Failed, NameTaken, Refused
from shoal.graph.columns import type_name
from shoal.graph.graph_data import BadGraph, GraphData
from shoal.graph.partitions import Cut
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.messages import PieceBuilt

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime

log = logging.getLogger("shoal.loading")

LOOK_SECONDS = 0.02


class Loading:
    """One load, coordinated by this shard."""

    def __init__(self, runtime: Runtime, name: str, emit: Emit) -> None:
        self._runtime, self._name, self._emit = runtime, name, emit
        self._load = f"{runtime.me}/{uuid.uuid4().hex}"
        self._limits = runtime.load_limits

    async def run(self, spec: Any, frames: Sequence[Any]) -> dict[str, Any]:
        """Load the graph. Raises `Refused` or `Failed`; then nothing of it is kept anywhere."""
        began = time.monotonic()
        view = self._checked_view()
        added, table, cut = await asyncio.to_thread(self._cut, view, spec, frames)
        _let_go(frames)
        shipments: list[Shipment] = []
        try:
            mine = await self._dealt(view, table, cut, shipments)
            del cut  # what has not arrived, the shipments have views of
            await carried(self._runtime, view, shipments, self._emit)
            added = _counted(added, view, mine, shipments)
        except BaseException:
            await self._drop(shipments)
            raise
        await self._decided(added, shipments)
        await self._until_installed()
        return {
            "graph": self._name,
            "nodes": added.node_count,
            "edges": added.edge_count,
            "directed": added.directed,
            "partitions": added.partition_count,
            "cross_edges": added.cross_edges,
            "seconds": time.monotonic() - began,
        }

    def _checked_view(self) -> View:
        shard = self._runtime.shard
        view = shard.registry.view
        if view is None or not shard.in_view:
            raise Refused("this shard is in no view yet: wait until `status` says joined")
        if self._name in shard.registry.graphs:
            taken = f"a graph called '{self._name}' is loaded already: drop it, or choose another name"
            raise NameTaken(taken)
        missing = shard.missing_members()
        if missing:
            raise Refused(f"the view lacks {', '.join(missing)}: try again once it is back, or in the next view")
        return view

    def _cut(self, view: View, spec: Any, frames: Sequence[Any]) -> tuple[AddGraph, NDArray[Any], Cut]:
        """Read the graph, group it by partition, and keep of it no more than that."""
        try:
            data = GraphData.from_wire(spec, frames)
        except BadGraph as bad:
            raise Refused(f"graph '{self._name}': {bad}") from bad
        return self._added(view, data), data.partition, Cut(data)

    async def _dealt(self, view: View, table: NDArray[Any], cut: Cut, shipments: list[Shipment]) -> ShardGraph:
        """Send each shard its slices, which nobody copies before they go out; keep our own."""
        partitions = cut.partition_count
        placed = placement_of(view, partitions)
        header = {"graph": self._name, "epoch": view.epoch, "partitions": partitions}
        me = self._runtime.me.name
        _, own = await asyncio.to_thread(cut.to_wire, held_by(me, placed))
        nbytes = size_in_bytes([table, *own])
        del own
        await self._runtime.disk.do(lambda store: store.require(nbytes))
        for done, name in enumerate(name for name in view.names if name != me):
            spec, frames = await asyncio.to_thread(cut.to_wire, held_by(name, placed))
            body = msgpack.packb({**header, "slices": spec})
            shipment = Shipment(self._load, name, body, [table, *frames], self._limits)
            shipments.append(shipment)
            self._runtime.ticks.order(partial(self._runtime.ticks.ship, [shipment]))
            await self._emit({"stage": "cut", "done": done + 1, "total": len(view.names)})
        graphs = self._runtime.graphs
        await graphs.keep_table(self._load, self._name, table, partitions)
        return await graphs.stage(self._load, self._name, view, placed, cut.some(held_by(me, placed)))

    def _added(self, view: View, data: GraphData) -> AddGraph:
        """What the log is to say of the graph; how many edges cross is known once all parts are built."""
        return AddGraph(
            request=uuid.uuid4().hex,
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
        """Have consensus decide. Until it has, the log may still come to say yes: nothing is dropped but by its no."""
        answer = await self._runtime.decide(added)
        if answer.error and answer.decided:
            await self._drop(shipments)
        else:
            self._order_landing([])
        if answer.error:
            raise Failed(answer.error)

    async def _drop(self, shipments: Sequence[Shipment]) -> None:
        self._order_landing([shipment.to for shipment in shipments])
        await self._runtime.graphs.drop_load(self._load)

    def _order_landing(self, tell: Sequence[str]) -> None:
        ticks, load = self._runtime.ticks, self._load
        ticks.order(lambda: ticks.land(load, tell))

    async def _until_installed(self) -> None:
        """Our own log has it by now: the answer came from it."""
        while self._name not in self._runtime.shard.registry.graphs:
            await asyncio.sleep(LOOK_SECONDS)


def _counted(added: AddGraph, view: View, mine: ShardGraph, shipments: Sequence[Shipment]) -> AddGraph:
    answers = {shipment.to: shipment.answer for shipment in shipments if shipment.answer is not None}
    answers[mine.shard] = answer_of(added.load, mine)
    return replace(added, cross_edges=crossing(view, answers, added.node_count))


def _let_go(frames: Sequence[Any]) -> None:
    """Free the bytes of a request: the server keeps it until it is answered, and they are as many as the graph's."""
    for frame in frames:
        with contextlib.suppress(BufferError):  # something is a view of it still, such as the ids
            if isinstance(frame, memoryview):
                frame.release()


async def take_in(piece: PieceArrived, graphs: Graphs, view: View | None, me: str) -> PieceBuilt:
    """Keep and build what a load has brought here; whatever is wrong with it is the answer."""
    return await answered(piece, me, _taken_in(piece, graphs, view, me))


async def _taken_in(piece: PieceArrived, graphs: Graphs, view: View | None, me: str) -> ShardGraph:
    spec = spec_of(piece, view)
    assert view is not None
    checked = await checked_piece(piece, spec, view, me)
    await graphs.keep_table(piece.load, checked.graph, checked.table, checked.partitions)
    return await graphs.stage(piece.load, checked.graph, view, checked.placed, checked.slices)

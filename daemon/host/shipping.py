"""Carrying pieces of a graph to the members of a view, and what they make of them: loading and restoring alike.

slices --Shipment--> a member keeps and builds them --PieceBuilt--> counts of the part, for the log
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daemon.admin.commands import Failed
from daemon.protocol.load import Shipment
from daemon.protocol.placement import Placed, ideal
from daemon.protocol.records import View
from daemon.protocol.tick_messages import PieceBuilt
from shoal.part import Part

if TYPE_CHECKING:
    from daemon.host.runtime import Runtime

Emit = Callable[[Mapping[str, Any]], Awaitable[None]]

LOOK_SECONDS = 0.02
TELL_SECONDS = 0.1
SILENCE_SECONDS = 30.0


def placement_of(view: View, partitions: int) -> Placed:
    """Who is to hold what of a graph that comes into being in a view."""
    return ideal(view.names, view.virtual_nodes, partitions, view.replicas)


def held_by(name: str, placed: Placed) -> list[int]:
    """The partitions that one shard is to hold."""
    return [partition for partition, holders in enumerate(placed) if name in holders]


async def carried(runtime: Runtime, view: View, shipments: Sequence[Shipment], emit: Emit) -> None:
    """Wait until every piece is built. Raises `Failed` when one has come no further for long, or its shard is gone."""
    moved, before, told = time.monotonic(), (-1, -1), 0.0
    while not all(shipment.answer for shipment in shipments):
        await asyncio.sleep(LOOK_SECONDS)
        now = time.monotonic()
        taken = sum(shipment.progress[0] for shipment in shipments)
        standing = (taken, sum(shipment.answer is not None for shipment in shipments))
        if standing != before:
            moved, before = now, standing
        missing = runtime.shard.missing_members()
        if missing or runtime.shard.registry.view != view:
            what = f"lost {', '.join(missing)}" if missing else "changed"
            raise Failed(f"the view {what} while the graph was loading: nothing of it is kept, try again")
        if now - moved > SILENCE_SECONDS:
            silent = [shipment.to for shipment in shipments if shipment.answer is None]
            raise Failed(f"no word from {', '.join(silent)} for {SILENCE_SECONDS:.0f} s: is it well?")
        if now - told > TELL_SECONDS:
            told = now
            total = sum(shipment.progress[1] for shipment in shipments)
            await emit({"stage": "ship", "done": taken, "total": total})
    errors = [shipment.answer.error for shipment in shipments if shipment.answer and shipment.answer.error]
    if errors:
        raise Failed("; ".join(errors))


def answer_of(load: str, part: Part) -> PieceBuilt:
    """What is said of a part that was built."""
    return PieceBuilt(load, "", part.size, part.held_edges, part.ghost_count, part.cross_edges, part.nbytes)


def crossing(view: View, answers: Mapping[str, PieceBuilt], nodes: int) -> int:
    """How many edges cross. Raises `Failed` if what the members have built is not the whole graph."""
    if sum(answers[name].nodes for name in view.names) != nodes:
        raise Failed("the parts that the shards have built do not add up to the graph")
    return sum(said.cross_edges for said in answers.values())

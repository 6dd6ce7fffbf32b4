"""Ships pieces of a graph to the members of a view, and checks them there, for loads and restorations.

slices --Shipment--> a member checks, keeps and builds them --PieceBuilt--> counts of the part, for the log
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
from numpy.typing import NDArray

from daemon.runtime.context import HostContext
from daemon.services.graphs.slices import table_of
from daemon.state.placement import Placed, ideal
from daemon.state.records import View
from daemon.store import NoRoom
from daemon.transfer.chunks import PieceArrived
from daemon.transfer.shipment import Shipment
from shoal.api.command import Emit
from shoal.api.errors import Failed, ShoalError
from shoal.graph.graph_data import BadGraph
from shoal.graph.ids import PARTITIONS_MAX
from shoal.graph.partitions import PartitionSet
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.messages import PieceBuilt

log = logging.getLogger("shoal.shipping")


TELL_SECONDS: Final = 0.1
SILENCE_SECONDS: Final = 30.0
CHANGED: Final = "the view changed while the graph was loading: the load was cancelled, try again"


def placement_of(view: View, partitions: int) -> Placed:
    """Returns the wanted holders of each partition of a new graph in a view."""
    return ideal(view.names, view.virtual_nodes, partitions, view.replicas)


def held_by(name: str, placed: Placed) -> list[int]:
    """Returns the partitions that one shard is to hold."""
    return [partition for partition, holders in enumerate(placed) if name in holders]


async def carried(context: HostContext, view: View, shipments: Sequence[Shipment], emit: Emit) -> None:
    """Waits until every piece is built. Raises `Failed` if one makes no progress for long, or its shard is gone."""
    state = context.state
    silence, before = 0.0, (-1, -1)

    def is_settled() -> bool:
        return (
            all(shipment.answer for shipment in shipments)
            or bool(_errors(shipments) or state.missing_members())
            or state.registry.view != view
        )

    while not await context.conditions.until(is_settled, TELL_SECONDS):
        taken, total = (sum(shipment.progress[which] for shipment in shipments) for which in (0, 1))
        standing = taken, sum(shipment.answer is not None for shipment in shipments)
        silence, before = silence + TELL_SECONDS if standing == before else 0.0, standing
        if silence > SILENCE_SECONDS:
            silent = [shipment.to for shipment in shipments if shipment.answer is None]
            raise Failed(f"no word from {', '.join(silent)} for {SILENCE_SECONDS:.0f} s: is it alive?")
        await emit({"stage": "ship", "done": taken, "total": total})
    if errors := _errors(shipments):
        raise Failed("; ".join(errors))
    missing = state.missing_members()
    if missing:
        raise Failed(
            f"the view lost {', '.join(missing)} while the graph was loading: the load was cancelled, try again"
        )
    if state.registry.view != view:
        raise Failed(CHANGED)


def _errors(shipments: Sequence[Shipment]) -> list[str]:
    answers = [(shipment.to, shipment.answer.error) for shipment in shipments if shipment.answer is not None]
    return [error if to in error else f"shard '{to}': {error}" for to, error in answers if error]


def answer_of(load: str, part: ShardGraph) -> PieceBuilt:
    """Returns the answer about a part that was built."""
    return PieceBuilt(load, "", part.size, part.held_edges, part.ghost_count, part.cross_edges, part.nbytes)


def crossing(view: View, answers: Mapping[str, PieceBuilt], nodes: int) -> int:
    """Returns the number of crossing edges. Raises `Failed` if the members' parts don't add up to the graph."""
    if sum(answers[name].nodes for name in view.names) != nodes:
        raise Failed("the parts that the shards have built do not add up to the graph")
    return sum(said.cross_edges for said in answers.values())


# -- the members' side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Received slices, checked: the partitions that belong here in the view that they were partitioned for."""

    graph: str
    partitions: int
    placed: Placed
    table: NDArray[Any]
    slices: PartitionSet


def spec_of(piece: PieceArrived, view: View | None) -> Mapping[str, Any]:
    """Decodes a piece's spec. Raises `Failed` if it was not meant for the present view."""
    spec = msgpack.unpackb(piece.spec)
    if view is None or not isinstance(spec, dict) or spec.get("epoch") != view.epoch:
        raise Failed(CHANGED)
    return spec


async def checked_piece(piece: PieceArrived, spec: Mapping[str, Any], view: View, me: str) -> Piece:
    """Checks a piece. Raises `ShoalError`, or whatever decoding nonsense may raise."""
    graph, partitions = spec.get("graph"), spec.get("partitions")
    if type(graph) is not str or not is_number(partitions, 1, PARTITIONS_MAX):
        raise BadGraph("it names no graph")
    assert isinstance(partitions, int)
    placed, table = placement_of(view, partitions), table_of(piece.frames[0], partitions)
    slices = await asyncio.to_thread(PartitionSet.from_wire, spec.get("slices"), piece.frames[1:], table)
    if slices.partitions != tuple(held_by(me, placed)):
        raise BadGraph("it lacks partitions that belong here")
    return Piece(graph, partitions, placed, table, slices)


async def answered(piece: PieceArrived, me: str, taken: Awaitable[ShardGraph | None]) -> PieceBuilt:
    """Awaits a piece's result and returns the answer for its sender: figures of the part, if any, or an error."""
    try:
        part = await taken
    except (ShoalError, NoRoom, ValueError, TypeError, KeyError, IndexError, msgpack.UnpackException) as error:
        log.warning("a piece of %s from %s: %s", piece.load, piece.sender, error)
        return PieceBuilt(piece.load, f"shard '{me}': {error}", 0, 0, 0, 0, 0)
    return answer_of(piece.load, part) if part is not None else PieceBuilt(piece.load, "", 0, 0, 0, 0, 0)


def is_number(value: object, least: int, most: int) -> bool:
    """Whether a value from outside is a whole number within these bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

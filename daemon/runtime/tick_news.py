"""What the tick thread hands over to the loop: pieces that have come, and how runs go."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from daemon.runtime.tick_runner import HandedOver
from daemon.services.backup.restore import RESTORE, take_in_restored
from daemon.services.graphs.load import take_in
from daemon.transfer.chunks import PieceArrived, PieceGone
from shoal.lockstep.effects import PhaseLate, RunOver, TickCommitted
from shoal.lockstep.messages import PieceBuilt

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime


def take(runtime: Runtime, news: HandedOver) -> None:
    """One of it, on the loop."""
    match news:
        case PieceArrived(load=load) if load.startswith("fetch/"):
            if not runtime.fetching.arrived(news):
                runtime.ticks.order(lambda: runtime.ticks.fetched(PieceBuilt(load, "", 0, 0, 0, 0, 0)))
        case PieceArrived(load=load) if load.startswith(RESTORE):
            runtime.pieces.take(load, _take_restored(runtime, news))
        case PieceArrived(load=load):
            runtime.pieces.take(load, _take_piece(runtime, news))
        case PieceGone(load=load):
            runtime.pieces.give_up(load)
        case TickCommitted() | PhaseLate() | RunOver():
            runtime.runs.hear(news)
        case _:
            assert_never(news)


async def _take_piece(runtime: Runtime, piece: PieceArrived) -> None:
    answer = await take_in(piece, runtime.graphs, runtime.shard.registry.view, runtime.me.name)
    runtime.ticks.order(lambda: runtime.ticks.piece_built(answer))


async def _take_restored(runtime: Runtime, piece: PieceArrived) -> None:
    answer = await take_in_restored(piece, runtime.graphs, runtime.disk, runtime)
    runtime.ticks.order(lambda: runtime.ticks.piece_built(answer))

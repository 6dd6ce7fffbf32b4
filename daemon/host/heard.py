"""What members say on the control plane, by who has to do with it; most of it is the shard's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from daemon.protocol.cluster_messages import (
    PartAsked,
    PartitionMissing,
    PartitionWanted,
    PartTold,
    RowsTold,
    RowsWanted,
    SearchTold,
    SearchWanted,
    StatesWanted,
    TableTold,
    TableWanted,
    TicksAsked,
    TicksTold,
)
from daemon.protocol.decisions import Identity

if TYPE_CHECKING:
    from daemon.host.runtime import Runtime

ANSWERED = (RowsWanted, PartitionWanted, StatesWanted, TicksAsked, TableWanted, SearchWanted, PartAsked)
"""Questions that take a while: so many are worked on at once, and more are dropped, for they can be asked again."""
ANSWERING_MAX = 256


def take(runtime: Runtime, sender: Identity, message: Any) -> None:
    """Take a message that the codec has let through."""
    match message:
        case _ if isinstance(message, ANSWERED):
            _answer(runtime, sender, message)
        case TableTold():
            runtime.tables.told(sender.name, message)
        case SearchTold():
            runtime.searching.told(sender.name, message)
        case RowsTold() | TicksTold():
            runtime.reading.told(sender.name, message)
        case PartitionMissing(fetch=fetch):
            runtime.fetching.missing(fetch)
        case PartTold():
            runtime.census.told(sender.name, message)
        case _:
            runtime.perform(runtime.shard.step(sender, message, time.monotonic_ns()))


def _answer(runtime: Runtime, sender: Identity, question: Any) -> None:
    if runtime.tasks.count >= ANSWERING_MAX:
        runtime.metrics.dropped("busy")
        return
    match question:
        case RowsWanted() | TicksAsked():
            runtime.tasks.spawn(runtime.reading.answer(sender.name, question))
        case PartAsked():
            runtime.tasks.spawn(_tell_part(runtime, sender.name, question))
        case TableWanted():
            runtime.tasks.spawn(runtime.tables.answer(sender.name, question))
        case SearchWanted():
            runtime.tasks.spawn(runtime.searching.answer(sender.name, question))
        case PartitionWanted() | StatesWanted():
            if runtime.shard.registry.has_member(sender):
                runtime.tasks.spawn(runtime.fetching.give(sender.name, question))


async def _tell_part(runtime: Runtime, asker: str, asked: PartAsked) -> None:
    told = runtime.census.tell(asked)
    if told is None:  # whoever asks may be further in the log
        await runtime.caught_up()
        told = runtime.census.tell(asked)
    if told is not None:
        runtime.post.send(asker, told)

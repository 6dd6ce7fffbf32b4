"""What members say on the control plane, by who has to do with it; most of it is the shard's."""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from daemon.services.graphs.messages import (
    PartitionMissing,
    PartitionRequest,
    PartStatsReply,
    PartStatsRequest,
    StatesRequest,
)
from daemon.services.results.messages import (
    KeptTicksReply,
    KeptTicksRequest,
    RowsReply,
    RowsRequest,
    SearchReply,
    SearchRequest,
    TableReply,
    TableRequest,
)
from daemon.state.commands import Identity
from daemon.store import NoRoom, NotHeld, StoreFailed

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime

log = logging.getLogger("shoal.heard")

Question: TypeAlias = (
    RowsRequest | PartitionRequest | StatesRequest | KeptTicksRequest | TableRequest | SearchRequest | PartStatsRequest
)
"""Questions that take a while: so many are worked on at once, and more are dropped, for they can be asked again."""
ANSWERING_MAX = 256
ANSWERING_PEER_MAX = 64
"""Of one peer: an answer may be much larger than its question."""


def take(runtime: Runtime, sender: Identity, message: Any) -> None:
    """Take a message that the codec has let through."""
    match message:
        case _ if isinstance(message, Question):
            _answer(runtime, sender, message)
        case TableReply():
            runtime.tables.told(sender.name, message)
        case SearchReply():
            runtime.searching.told(sender.name, message)
        case RowsReply() | KeptTicksReply():
            runtime.reading.told(sender.name, message)
        case PartitionMissing(request=fetch):
            runtime.fetching.missing(fetch)
        case PartStatsReply():
            runtime.part_stats.told(sender.name, message)
        case _:
            runtime.perform(runtime.shard.step(sender, message, time.monotonic_ns()))


def _answer(runtime: Runtime, sender: Identity, question: Question) -> None:
    if runtime.tasks.count >= ANSWERING_MAX or runtime.answering[sender.name] >= ANSWERING_PEER_MAX:
        runtime.messenger.refuse("busy", sender.name)
        return
    work: Coroutine[Any, Any, None] | None = None
    match question:
        case RowsRequest() | KeptTicksRequest():
            work = runtime.reading.answer(sender.name, question)
        case PartStatsRequest():
            work = _tell_part(runtime, sender.name, question)
        case TableRequest():
            work = runtime.tables.answer(sender.name, question)
        case SearchRequest():
            work = runtime.searching.answer(sender.name, question)
        case PartitionRequest() | StatesRequest():
            if runtime.shard.registry.has_member(sender):
                work = runtime.fetching.give(sender.name, question)
        case _:
            assert_never(question)
    if work is not None:
        runtime.answering[sender.name] += 1
        runtime.tasks.spawn(_answered(runtime, sender.name, type(question).__name__, work))


async def _answered(runtime: Runtime, asker: str, asked: str, work: Coroutine[Any, Any, None]) -> None:
    """A question changes nothing here: what breaks over it is this question, never the daemon, but for its disk."""
    try:
        await work
    except Exception as error:
        if isinstance(error, StoreFailed) and not isinstance(error, NotHeld | NoRoom):
            raise
        runtime.metrics.dropped("unanswerable")
        log.warning("%s of shard %s can't be answered", asked, asker, exc_info=True)
    finally:
        runtime.answering[asker] -= 1
        if not runtime.answering[asker]:
            del runtime.answering[asker]


async def _tell_part(runtime: Runtime, asker: str, asked: PartStatsRequest) -> None:
    told = runtime.part_stats.tell(asked)
    if told is None:  # whoever asks may be further in the log
        await runtime.caught_up()
        told = runtime.part_stats.tell(asked)
    if told is not None:
        runtime.messenger.send(asker, told)

"""Searches the documents of a graph: asks all shards twice, and merges their answers (`shoal.query.search`).

Each shard answers for its primary partitions in the requested epoch, from an index of its part, which it builds off the
loop at the first request, and keeps. Both questions name the epoch: if a partition moved in between, its documents
would count twice or not at all.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from daemon.runtime.context import HostContext
from daemon.runtime.rpc import together
from daemon.runtime.service import Service
from daemon.services.graphs.present import PresentParts
from daemon.services.results.messages import SearchReply, SearchRequest
from daemon.state import GraphRemoved
from daemon.state.commands import Identity
from daemon.store import NotHeld
from shoal.api.errors import Failed, Refused
from shoal.api.ranges import HITS_MAX
from shoal.graph import columns as col
from shoal.graph.graph_data import BadGraph
from shoal.graph.shard_graph import ShardGraph
from shoal.query.search import TERMS_MAX, Found, Hits, Index, Query, merged, told

INDEXES_KEPT: Final = 4


class Searching(Service[SearchRequest, GraphRemoved]):
    """Both sides of a search, on one shard."""

    messages = (SearchRequest,)
    replies = (SearchReply,)
    events = (GraphRemoved,)

    def __init__(self, context: HostContext, parts: PresentParts) -> None:
        self._context, self._state, self._parts = context, context.state, parts
        self._indexes: OrderedDict[tuple[str, str], tuple[ShardGraph, Index]] = OrderedDict()
        self._making = asyncio.Lock()

    async def search(self, load: str, column: str, query: Query, count: int) -> Found:
        """Returns the best documents of a load's graph, as `run search` replies. Raises `Refused` or `Failed`."""
        registry = self._state.registry
        if registry.view is None:
            raise Refused("this shard is not in the view: ask a member")
        members, epoch = registry.view.names, registry.epoch
        wanted = SearchRequest("", epoch, load, column, query.terms, (), 0)
        counted = await together(self._ask(member, wanted) for member in members)
        documents = sum(each.documents for each, _ in counted)
        frequencies = [sum(each) for each in zip(*(each.frequencies for each, _ in counted), strict=True)]
        wanted = replace(wanted, weights=query.weights(documents, frequencies), top=count)
        found = await together(self._ask(member, wanted) for member in members)
        return told(merged([hits for _, hits in found], count), query, documents, frequencies)

    async def on_message(self, sender: Identity, message: SearchRequest) -> SearchReply:
        """Searches this shard's documents for a peer."""
        return await self._answer(message)

    def on_event(self, event: GraphRemoved) -> None:
        """Drops all indexes, since one may be of the removed graph."""
        self._indexes.clear()

    # -- within ----------------------------------------------------------------------------------------------------

    async def _ask(self, member: str, wanted: SearchRequest) -> tuple[SearchReply, Hits]:
        if member == self._context.me:
            answer = await self._answer(wanted)
        else:
            answer = await self._context.rpc.call(member, wanted, SearchReply)
        return answer, _hits(member, wanted, answer)

    async def _answer(self, asked: SearchRequest) -> SearchReply:
        try:
            if len(asked.terms) > TERMS_MAX or not 0 <= asked.top <= HITS_MAX:
                raise Refused("too many terms or documents for one search")
            if asked.weights and len(asked.weights) != len(asked.terms):
                raise Refused("the numbers of terms and weights differ")
            index = await self._index(asked)
        except (Refused, NotHeld) as problem:
            return SearchReply(asked.request, str(problem) or type(problem).__name__, 0, (), 0, b"")
        if not asked.weights:
            return SearchReply(asked.request, "", index.documents, tuple(index.frequencies(asked.terms)), 0, b"")
        hits = await asyncio.to_thread(index.best, asked.terms, asked.weights, asked.top)
        spec, frames = col.to_wire(hits.ids)
        frames = [hits.ordinals, hits.scores, *frames]
        return SearchReply(
            asked.request, "", index.documents, (), len(hits.ordinals), json.dumps(spec).encode(), tuple(frames)
        )

    async def _index(self, asked: SearchRequest) -> Index:
        registry = self._state.registry
        graph = registry.graph_of(asked.load)
        in_epoch = self._state.in_view and registry.epoch == asked.epoch
        if graph is None or not in_epoch:
            raise Refused(f"the graph is not served here in epoch {asked.epoch}: try again")
        async with self._making:
            part = await self._parts.of(graph)
            key = asked.load, asked.column
            known = self._indexes.get(key)
            if known is None or known[0] is not part:
                known = self._indexes[key] = part, await asyncio.to_thread(Index, part, asked.column)
            self._indexes.move_to_end(key)
            while len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        if registry.epoch != asked.epoch:
            raise Refused(f"epoch {asked.epoch} is over: try again")
        return known[1]


def _hits(member: str, wanted: SearchRequest, answer: SearchReply) -> Hits:
    """Decodes and checks a shard's answer."""
    if answer.error:
        raise Failed(f"shard '{member}': {answer.error}")
    if not wanted.weights:
        if len(answer.frequencies) != len(wanted.terms) or min(answer.documents, *answer.frequencies) < 0:
            raise Failed(f"shard '{member}' has counted other terms than requested")
        return Hits(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.int64))
    try:
        kinds: Sequence[str] = ("int64", "float64")
        if answer.total > wanted.top or len(answer.frames) < len(kinds):
            raise BadGraph("its frames are not those of an answer")
        ordinals, scores = (
            np.asarray(col.from_wire({"type": kind, "length": answer.total}, [frame], "a column"))
            for kind, frame in zip(kinds, answer.frames, strict=False)
        )
        ids = col.from_wire(json.loads(answer.ids), answer.frames[len(kinds) :], "the node ids")
        if len(ids) != answer.total:
            raise BadGraph("the numbers of ids and documents differ")
    except (BadGraph, ValueError) as problem:
        raise Failed(f"shard '{member}' sent an invalid answer: {problem}") from problem
    return Hits(ordinals, scores, ids)

"""A load on a shard of its own: what the log says of its graph is what counts, however short it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import shoal
from daemon.control.effects import Answered
from daemon.services.graphs.load import Loading
from daemon.services.graphs.parts import Parts, primaries
from daemon.services.graphs.slices import Slices
from daemon.services.graphs.staging import Staging
from daemon.services.graphs.transfer import placement_of
from daemon.state import ReplicatedState
from daemon.state.commands import Identity
from daemon.state.placement import Placed
from daemon.state.records import View
from shoal.api.errors import Failed, Refused
from shoal.graph.partitions import Cut, PartitionSet, Uncut, build
from shoal.graph.shard_graph import Placement, ShardGraph
from tests.daemon.services.contexts import context_of

DATA = shoal.from_arrays(np.arange(20), np.arange(20) * 7 % 20)


class Staged:
    """Builds parts, and keeps nothing."""

    def begin(self, load: str) -> None:
        """There is always room for one more."""

    async def keep_table(self, *_: object) -> None:
        """It is written."""

    async def stage(self, load: str, graph: str, view: View, placed: Placed, slices: PartitionSet) -> ShardGraph:
        return build(graph, slices, DATA.partition, primaries(view, placed), 0)


def test_a_graph_that_is_dropped_as_soon_as_it_is_decided_was_loaded() -> None:
    async def run() -> None:
        async def decide(_: object) -> Answered:
            return Answered("r", "", decided=True)  # and the next entry of the log drops the graph

        async def do(job: Callable[[Any], Any]) -> Any:
            return job(SimpleNamespace(require=lambda nbytes: None))

        async def emit(_: object) -> None:
            """Nobody looks."""

        state = ReplicatedState()
        state.registry.view = View(1, (Identity("a", 1),), 8, 1)
        ticks = SimpleNamespace(order=lambda _: None)
        context = context_of(state, decide=decide, disk=SimpleNamespace(do=do), ticks=ticks)
        vars(context.state).update(in_view=True, missing_members=list)
        loading = Loading(context, cast(Staging, Staged()), "g", emit)
        async with asyncio.timeout(30):
            loaded = await loading.run(*DATA.to_wire())
        assert (loaded["graph"], loaded["nodes"], loaded["edges"]) == ("g", 20, 20)

    asyncio.run(run())


def test_a_load_keeps_its_place_until_it_is_known_what_became_of_it() -> None:
    """No staged load is given up for a later one: the log may be about to say that its graph exists."""
    dropped: list[str] = []

    async def drop_load(load: str) -> None:
        dropped.append(load)

    async def run() -> None:
        parts = SimpleNamespace(drop_load=drop_load, adopt=lambda load, built: None, build=part)
        slices = SimpleNamespace(keep=keep, table=table)
        view = View(1, (Identity("a", 1),), 8, 1)
        context = context_of(spawn=asyncio.ensure_future, ticks=SimpleNamespace(order=lambda _: None))
        context.state.registry.view = view
        staging = Staging(context, cast(Parts, parts), cast(Slices, slices))
        own = [f"own-{number}" for number in range(context.load_limits.pieces_max)]
        for load in own:
            staging.begin(load)
        for load in [*own, *(f"other-{number}" for number in range(20))]:
            await staging.stage(load, "g", view, placement_of(view, 64), Cut(DATA).some(range(64)))
        assert dropped == []
        with pytest.raises(Refused, match="already loads 4 graphs; try again when one is done"):
            staging.begin("one more")
        await staging.drop(own[0])
        staging.begin("one more")
        assert dropped == own[:1]

    async def part(graph: str, slices: Uncut, table: Any, placement: Placement) -> ShardGraph:
        return build(graph, slices, table, placement, 0)

    async def table(load: str) -> Any:
        return DATA.partition

    async def keep(load: str, slices: Uncut) -> None:
        """They are written."""

    asyncio.run(run())


def test_what_nobody_has_decided_is_dropped_once_the_view_has_changed() -> None:
    dropped: list[str] = []

    async def drop(load: str) -> None:
        dropped.append(load)

    async def run() -> None:
        async def decide(_: object) -> Answered:
            return Answered("r", "the tick leader has not answered: try again")

        async def do(job: Callable[[Any], Any]) -> Any:
            return job(SimpleNamespace(require=lambda nbytes: None))

        async def emit(_: object) -> None:
            """Nobody looks."""

        state, spawned = ReplicatedState(), []
        state.registry.view = View(1, (Identity("a", 1),), 8, 1)
        context = context_of(
            state,
            decide=decide,
            disk=SimpleNamespace(do=do),
            ticks=SimpleNamespace(order=lambda _: None),
            spawn=lambda job: spawned.append(asyncio.ensure_future(job)),
        )
        vars(context.state).update(in_view=True, missing_members=list)
        staging = Staged()
        vars(staging)["drop"] = drop
        async with asyncio.timeout(30):
            with pytest.raises(Failed, match="has not answered"):
                await Loading(context, cast(Staging, staging), "g", emit).run(*DATA.to_wire())
            await asyncio.sleep(0)
            assert dropped == []
            state.registry.view = View(2, (Identity("a", 1),), 8, 1)
            context.conditions.look()
            await asyncio.gather(*spawned)
        assert len(dropped) == 1

    asyncio.run(run())

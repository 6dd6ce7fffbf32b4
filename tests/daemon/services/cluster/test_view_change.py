"""What a shard does when the log gives it a view: only the last one counts, and a dropped graph leaves nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from daemon.services.cluster.view_change import ViewChange
from daemon.state import GraphInstalled, ViewInstalled
from daemon.state.commands import DropGraph, Identity
from tests.daemon.services.contexts import Untouched, context_of
from tests.daemon.state.registries import LOAD, Log, formed


def test_an_older_view_than_the_present_one_is_not_entered() -> None:
    async def run() -> None:
        log = formed()
        older = log.registry.view
        log.view("ab")
        assert older is not None
        ViewChange(context_of(log.state), Untouched("graphs")).on_event(ViewInstalled(older))  # type: ignore[arg-type]

    asyncio.run(run())


class Graphs:
    """Builds parts; the graph is dropped meanwhile."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.dropped: list[str] = []

    async def part(self, *_: object) -> None:
        assert self.log.apply(DropGraph("web", LOAD, True)) == ""

    async def drop_load(self, load: str) -> None:
        self.dropped.append(load)


def test_a_graph_that_is_dropped_while_its_part_is_built_leaves_nothing() -> None:
    async def run() -> None:
        log, tasks = formed(), list[asyncio.Task[Any]]()
        graphs, graph = Graphs(log), log.registry.graphs["web"]
        state = SimpleNamespace(identity=Identity("a", 1), registry=log.registry, in_view=True)
        loop = asyncio.get_running_loop()
        context = context_of(log.state, spawn=lambda work: tasks.append(loop.create_task(work)))
        context = replace(context, state=state)  # type: ignore[arg-type]
        ViewChange(context, graphs).on_event(GraphInstalled(graph))  # type: ignore[arg-type]
        await asyncio.gather(*tasks)
        assert graphs.dropped == [LOAD]

    asyncio.run(run())

"""A load that comes to nothing while it is taken in leaves nothing and harms nobody, at whatever moment it does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import shoal
from daemon.runtime.disk import Disk
from daemon.runtime.store_thread import StoreThread
from daemon.runtime.tasks import Tasks
from daemon.services.graphs.parts import Parts
from daemon.services.graphs.pieces import Pieces
from daemon.services.graphs.slices import Slices
from daemon.services.graphs.staging import Staging
from daemon.services.graphs.transfer import held_by, placement_of
from daemon.state.commands import Identity
from daemon.state.records import View
from daemon.store import DataFolder
from daemon.transfer.chunks import LoadedPiece, PieceGone
from shoal.graph.partitions import Cut
from shoal.graph.shard_graph import ShardGraph
from tests.daemon.services.contexts import context_of

PARTITIONS = 64
DATA = shoal.from_arrays(np.arange(2000), np.arange(2000) * 7 % 2000)


VIEW = View(1, tuple(Identity(name, 1) for name in "abc"), 64, 2)
LOAD = "b/1/0123"


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 30, 100, 300])
def test_a_load_may_come_to_nothing_at_any_moment(tmp_path: Path, turns: int) -> None:
    fatal: list[BaseException] = []

    async def take_in_and_give_up() -> None:
        tasks, ticks = Tasks(fatal.append), SimpleNamespace(order=lambda _: None)
        context = context_of(disk=Disk(thread, tasks.soon), workers=workers, spawn=tasks.spawn, ticks=ticks)
        slices = Slices(context.disk)
        parts = Parts(context, slices)
        staging = Staging(context, parts, slices)
        pieces = Pieces(context, staging)

        async def taken() -> ShardGraph:
            placed = placement_of(VIEW, PARTITIONS)
            await asyncio.sleep(0)
            await staging.keep_table(LOAD, "g", DATA.partition, PARTITIONS)
            return await staging.stage(LOAD, "g", VIEW, placed, Cut(DATA).some(held_by("a", placed)))

        pieces.take(LoadedPiece(LOAD, "b", b"", ()), taken)
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        pieces.on_event(PieceGone(LOAD))
        async with asyncio.timeout(30):
            while tasks.count:
                await asyncio.sleep(0.001)
        assert parts.by_load == {}
        assert await context.disk.do(lambda store: store.loads()) == {}

    loop = asyncio.new_event_loop()
    with DataFolder(tmp_path, "demo", "a").open() as folder, ThreadPoolExecutor(1) as workers:
        thread = StoreThread(folder, fatal.append)
        thread.start()
        try:
            loop.run_until_complete(take_in_and_give_up())
        finally:
            thread.close()
            loop.close()
    assert fatal == []

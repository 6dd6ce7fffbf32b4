"""What is kept of results in memory: bounded in bytes, read from the disk when asked, and gone with its run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from daemon.runtime.disk import Disk
from daemon.runtime.store_thread import StoreThread
from daemon.services.graphs.fetch import Fetching
from daemon.services.results.messages import RowsRequest
from daemon.services.results.results import KEPT_AT_ONCE, Results
from daemon.state import ResultsExpired, ViewInstalled
from daemon.state.commands import StartRun
from daemon.state.records import COMPLETED, RunRecord, View, begun
from daemon.store import DataFolder, StateRecord
from shoal.algorithms.degree import Degree
from shoal.api.errors import Refused
from shoal.engine.engine import Engine
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.graph.sources.arrays import from_arrays
from shoal.program.phase import Phase
from shoal.program.program import Program
from tests.daemon.services.contexts import context_of

NODES = 1000
BYTES = 8 * NODES * sum(not column.hidden for column in Degree.columns)
START = StartRun("degree", "ring", "load-1", (), 1, 0, False, 8, ("degree",))


@pytest.fixture(scope="module")
def part() -> ShardGraph:
    data = from_arrays(np.arange(NODES), np.roll(np.arange(NODES), 1))
    return part_of("ring", data, Placement.of(["a"] * data.partition_count, ["a"]), 0)


def computed(part: ShardGraph) -> Engine:
    engine = Engine(part, Degree())
    for tick, phase in ((0, Phase.ADVANCE), (1, Phase.ADVANCE)):
        engine.run(tick, phase)
        engine.settle(phase, {})
    return engine


def record(number: int) -> RunRecord:
    return replace(begun(START, number, 1, 77), state=COMPLETED, tick=1, origin=1)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    with DataFolder(tmp_path / "data", "demo", "a").open() as folder:
        yield folder


async def made(folder: DataFolder, memory: int) -> tuple[Results, StoreThread]:
    thread = StoreThread(folder, lambda error: None)
    thread.start()
    config = SimpleNamespace(ticks=SimpleNamespace(results_memory=memory))
    context = context_of(disk=Disk(thread, asyncio.get_running_loop().call_soon_threadsafe), config=config)

    async def make(_: RunRecord) -> Program:
        return Degree()

    return Results(context, Fetching(context), SimpleNamespace(make=make)), thread  # type: ignore[arg-type]


def held(results: Results, runs: range) -> list[int]:
    return [number for number in runs if results.has(f"degree-{number}", 1)]


def test_what_a_run_has_computed_stays_at_hand_if_it_is_little_and_there_is_room(
    folder: DataFolder, part: ShardGraph
) -> None:
    async def run() -> None:
        results, thread = await made(folder, KEPT_AT_ONCE * BYTES)
        for number in range(1, 21):
            results.keep(f"degree-{number}", 1, computed(part))
        assert results.nbytes == KEPT_AT_ONCE * BYTES
        assert held(results, range(1, 21)) == list(range(13, 21)), "the newest"
        results.on_event(ResultsExpired((record(20), record(14))))
        assert held(results, range(1, 21)) == [13, 15, 16, 17, 18, 19]
        results.on_event(ViewInstalled(View(2, (), 64, 1)))
        assert results.nbytes == 0
        thread.close()
        tight, thread = await made(folder, KEPT_AT_ONCE * BYTES - 1)
        tight.keep("degree-1", 1, computed(part))
        assert tight.nbytes == 0, "more than is copied on the control loop"
        thread.close()

    asyncio.run(run())


def test_what_is_asked_for_is_read_from_the_disk_and_pushes_out_what_was_read_before(
    folder: DataFolder, part: ShardGraph
) -> None:
    async def run() -> None:
        results, thread = await made(folder, 2 * BYTES)
        states = computed(part).capture()
        disk = Disk(thread, asyncio.get_running_loop().call_soon_threadsafe)
        for number in range(1, 6):
            await disk.do(lambda store, n=number: store.put_states([StateRecord(n, 1, 0, states, epoch=1)]))  # type: ignore[misc]
        for number in range(1, 6):
            await results.recall(record(number), 1, part, ())
            told = results.answer(RowsRequest("q", f"degree-{number}", 1, ("degree",), 0, NODES, 0, False))
            assert (told.error, told.total) == ("", NODES)
        assert held(results, range(1, 6)) == [4, 5]
        assert results.nbytes == 2 * BYTES
        await disk.do(lambda store: store.drop_run(4))
        results.on_event(ResultsExpired((record(4),)))
        assert (
            "no longer kept here" in results.answer(RowsRequest("q", "degree-4", 1, ("degree",), 0, 9, 0, False)).error
        )
        with pytest.raises(Refused, match="is incomplete"):
            await results.recall(record(4), 1, part, ())
        thread.close()

    asyncio.run(run())


def test_one_that_is_larger_than_the_memory_can_be_read_all_the_same(folder: DataFolder, part: ShardGraph) -> None:
    async def run() -> None:
        results, thread = await made(folder, 1)
        disk = Disk(thread, asyncio.get_running_loop().call_soon_threadsafe)
        states = computed(part).capture()
        await disk.do(lambda store: store.put_states([StateRecord(n, 1, 0, states, epoch=1) for n in (1, 2)]))
        for number in (1, 2):
            await results.recall(record(number), 1, part, ())
        assert held(results, range(1, 3)) == [2], "the one that is being read"
        thread.close()

    asyncio.run(run())

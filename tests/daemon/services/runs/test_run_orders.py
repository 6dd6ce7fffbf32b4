"""What the run controller makes of news from the log: orders for the tick plane, and what is deleted on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from daemon.config import Config
from daemon.control.effects import BeginRun, HealBarrier, TellStates
from daemon.runtime.disk import Disk
from daemon.runtime.store_thread import StoreThread
from daemon.services.runs.checkpoints import Checkpoints
from daemon.services.runs.controller import RunController
from daemon.state import ViewInstalled
from daemon.state.commands import DropGraph
from daemon.state.records import RunRecord
from daemon.store import DataFolder, StateRecord
from shoal.lockstep.barrier import entry_of
from shoal.lockstep.effects import StoreStates
from shoal.lockstep.machine import TickMachine
from shoal.program.phase import Phase
from tests.daemon.services.contexts import Untouched, context_of
from tests.daemon.state.registries import LOAD, Log, formed
from tests.shoal.lockstep.network import ALL, TIMING


class Ticks:
    """A tick plane with one run, which carries out orders at once, or keeps them for the test."""

    def __init__(self, epoch: int = 1) -> None:
        self.machine = TickMachine(1, "a", "ab", ALL, 3, TIMING)
        self.epoch, self.waits = epoch, False
        self.orders: list[Callable[[], Any]] = []
        self.tokens: list[int] = []

    def order(self, order: Callable[[], Any]) -> None:
        if self.waits:
            self.orders.append(order)
        else:
            order()

    def with_run(self, run: int, do: Callable[[TickMachine, int], Any]) -> Sequence[Any]:
        do(self.machine, 0)
        return []

    def stored(self, token: int) -> Sequence[Any]:
        self.tokens.append(token)
        return []


class Bench:
    """Services on one loop, over a store of their own; `done` waits until the store has done all that was ordered."""

    def __init__(self, folder: DataFolder, log: Log) -> None:
        loop = asyncio.get_running_loop()
        self.log, self.ticks = log, Ticks()
        self.thread = StoreThread(folder, lambda error: loop.call_soon_threadsafe(self.failures.append, error))
        self.thread.start()
        self.failures: list[BaseException] = []
        self.spawned: list[asyncio.Task[Any]] = []
        self.disk = Disk(self.thread, loop.call_soon_threadsafe)
        self.context = context_of(
            log.state,
            config=Config(),
            disk=SimpleNamespace(
                order=self.disk.order, submit=self.thread.submit, submit_states=self.thread.submit_states
            ),
            ticks=self.ticks,
            metrics=Untouched("metrics"),
            spawn=lambda work: self.spawned.append(loop.create_task(work)),
        )

    def controller(self) -> RunController:
        untouched = [Untouched(name) for name in ("graphs", "fetching", "programs", "keep")]
        return RunController(self.context, *untouched)  # type: ignore[arg-type]

    async def keep(self, run: int, tick: int, epoch: int) -> None:
        await self.disk.do(lambda store: store.put_states([StateRecord(run, tick, 0, {0: b"state"}, epoch=epoch)]))

    async def held(self) -> dict[int, dict[tuple[int, int], frozenset[int]]]:
        return await self.disk.do(lambda store: store.states_as_made())


@contextmanager
def on_disk(folder: Path, log: Log) -> Iterator[Bench]:
    with ExitStack() as stack:
        bench = Bench(stack.enter_context(DataFolder(folder, "demo", "a").open()), log)
        stack.callback(bench.thread.close)
        yield bench
    assert bench.failures == []


def started(log: Log) -> RunRecord:
    assert log.run() == ""
    return log.registry.runs[f"rank-{log.registry.runs_begun}"]


def test_what_gossip_says_of_a_barrier_comes_to_the_runs_machine(tmp_path: Path) -> None:
    async def run() -> None:
        with on_disk(tmp_path, formed()) as bench:
            entry = entry_of(0, Phase.ADVANCE)
            bench.controller().on_event(HealBarrier(1, (("b", entry),)))
            assert bench.ticks.machine.barrier.entry("b") == entry

    asyncio.run(run())


def test_a_run_is_not_begun_in_a_view_that_is_over(tmp_path: Path) -> None:
    """The log may hand out a view and the next one in one batch. Neither the program nor the part is looked for."""

    async def run() -> None:
        log = formed()
        record, view = started(log), log.registry.view
        assert view is not None
        log.view("ab")
        with on_disk(tmp_path, log) as bench:
            bench.controller().on_event(BeginRun(record, view, None))
            await asyncio.gather(*bench.spawned)

    asyncio.run(run())


@pytest.mark.parametrize(("resumed", "kept"), [(0, {}), (3, {(3, 0): frozenset({0})})])
def test_a_run_from_its_start_deletes_what_another_of_its_number_has_left(
    tmp_path: Path, resumed: int, kept: dict[tuple[int, int], frozenset[int]]
) -> None:
    async def run() -> None:
        log = formed()
        record, view = structs.replace(started(log), resumed=resumed), log.registry.view
        assert view is not None
        log.view("ab")
        with on_disk(tmp_path, log) as bench:
            await bench.keep(1, 3, epoch=0)
            bench.controller().on_event(BeginRun(record, view, None))
            assert (await bench.held()).get(1, {}) == kept
            await asyncio.gather(*bench.spawned)

    asyncio.run(run())


def test_states_are_deleted_with_their_graph_but_none_of_a_run_that_the_log_has_not_come_to(tmp_path: Path) -> None:
    async def run() -> None:
        log = formed()
        started(log)
        view = log.registry.view
        assert view is not None
        with on_disk(tmp_path, log) as bench:
            controller = bench.controller()
            for number in (1, 2):
                await bench.keep(number, 3, epoch=1)
            controller.on_event(ViewInstalled(view))
            assert (await bench.held()).keys() == {1, 2}
            assert log.apply(DropGraph("web", LOAD, True)) == ""
            controller.on_event(ViewInstalled(view))
            assert (await bench.held()).keys() == {2}

    asyncio.run(run())


def test_a_state_is_kept_with_the_epoch_in_which_its_tick_was_made(tmp_path: Path) -> None:
    """The tick that a run goes on from is kept again, as what it was."""

    async def run() -> None:
        log = formed()
        record = structs.replace(started(log), epoch=3, resumed=4, origin=2)
        with on_disk(tmp_path, log) as bench:
            bench.ticks.epoch = 3
            checkpoints = Checkpoints(bench.context)
            checkpoints.begin(record)
            for tick in (4, 5):
                checkpoints.keep(StoreStates(1, tick, 0, {0: b"state"}, tick), lambda why: None)
            assert (await bench.held()) == {1: {(4, 2): frozenset({0}), (5, 3): frozenset({0})}}
            assert bench.ticks.tokens == [4, 5]

    asyncio.run(run())


def test_states_are_looked_up_once_the_tick_plane_has_left_the_older_view(tmp_path: Path) -> None:
    """What it stores until then is in the store's queue before the question."""

    async def run() -> None:
        told: list[Any] = []
        log = formed()
        with on_disk(tmp_path, log) as bench:
            bench.ticks.waits = True
            context = replace(
                bench.context,
                orders=SimpleNamespace(states_held=lambda *said: told.append(said)),  # type: ignore[arg-type]
            )
            Checkpoints(context).look_up(TellStates(2, (1,)), lambda run: 9)
            await bench.keep(1, 3, epoch=1)
            for order in bench.ticks.orders:
                order()
            await bench.held()
            await asyncio.sleep(0)
            assert told == [(2, {1: {(3, 1): frozenset({0})}}, {1: 9})]

    asyncio.run(run())

"""Effects in order, beside a real disk that is busy, stalls or fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from consensus import Entry, HardState, Persist, Stored
from consensus.effect_queue import STALL_NS
from daemon.control.bootstrap import Promise
from daemon.control.effects import Answered, Effect, KeepPromise
from daemon.membership.effects import Counted
from daemon.runtime.durable import Durable
from daemon.runtime.effect_runner import LONE_NS, EffectRunner
from daemon.runtime.store_thread import StoreThread
from daemon.state.commands import Identity
from daemon.store import DataFolder, Store

PATIENCE = 30.0
FIRST, SECOND = (Persist(HardState(term), None, None, (Entry(term, term, b"x"),)) for term in (1, 2))
DONE = Answered("r", "")


class Bench:
    """A runner on a loop, and what it has let out."""

    def __init__(self, folder: DataFolder, here: Durable | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.folder = folder
        self.out: list[object] = []
        self.more: Callable[[], None] = lambda: None
        self.failures: list[BaseException] = []
        self.thread = StoreThread(folder, self.failures.append, "shoal-log")
        self.runner = EffectRunner(
            self.thread,
            self._carry_out,
            lambda persist: self.out.append(persist),
            loop.call_soon_threadsafe,
            self.failures.append,
            here,
        )

    def _carry_out(self, effect: Effect) -> None:
        self.out.append(effect)
        self.more()

    def stored(self) -> Stored | None:
        """What another connection finds on the disk."""
        store = Store(self.folder)
        try:
            return store.load_consensus()
        finally:
            store.close()

    async def until(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < until, self.out
            await asyncio.sleep(0.001)


def hosted(path: Path, work: Callable[[Bench], Coroutine[Any, Any, None]], *, on_loop: bool = False) -> None:
    async def host() -> None:
        with DataFolder(path, "demo", "a").open() as folder:
            bench = Bench(folder, Durable(folder, Store(folder)) if on_loop else None)
            bench.thread.start()
            try:
                await work(bench)
            finally:
                bench.runner.stop()
                assert bench.thread.close()

    asyncio.run(host())


def test_what_comes_while_the_disk_is_busy_shares_the_next_write(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with bench.folder.turn:  # somebody else writes
            bench.runner.run([FIRST, Answered("1", "")])
            bench.runner.run([SECOND, Answered("2", "")])
            bench.runner.run([Persist(HardState(3)), Answered("3", ""), Counted("seen", 1)])
            await asyncio.sleep(0.01)
            assert bench.out == [Counted("seen", 1)], "only what is counted does not wait"
        await bench.until(lambda: len(bench.out) == 6)
        merged = SECOND.then(Persist(HardState(3)))
        assert bench.out[1:] == [FIRST, Answered("1", ""), merged, Answered("2", ""), Answered("3", "")]
        assert bench.stored() == Stored(HardState(3), entries=(*FIRST.entries, *SECOND.entries))

    hosted(tmp_path, work)


def test_a_promise_is_kept_before_what_is_behind_it_is_said(tmp_path: Path) -> None:
    promise = Promise(1, (Identity("a", 1),))

    async def work(bench: Bench) -> None:
        bench.runner.run([KeepPromise(promise), DONE])
        await bench.until(lambda: bench.out == [DONE])
        store = Store(bench.folder)
        assert store.promise() == promise
        store.close()

    hosted(tmp_path, work)


def test_what_is_given_while_an_effect_is_carried_out_comes_behind_the_others(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def once() -> None:
            bench.more = lambda: None
            bench.runner.run([Answered("nested", "")])

        bench.more = once
        bench.runner.run([Answered("1", ""), Answered("2", "")])
        assert bench.out == [Answered("1", ""), Answered("2", ""), Answered("nested", "")]

    hosted(tmp_path, work)


def test_a_disk_that_stalls_holds_the_loop_up(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        bench.folder.turn.__enter__()
        bench.runner.run([FIRST, DONE])
        await asyncio.sleep(STALL_NS / 1e9 + 0.01)
        let_go = loop.run_in_executor(None, lambda: (time.sleep(0.2), bench.folder.turn.__exit__()))
        began = time.monotonic()
        bench.runner.run([])
        assert time.monotonic() - began > 0.1, "it went on"
        assert bench.stored() == FIRST.onto(Stored())
        await let_go
        await bench.until(lambda: DONE in bench.out)

    hosted(tmp_path, work)


def test_when_the_disk_has_failed_nothing_is_let_out_and_nobody_waits(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        impossible = Persist(entries=(FIRST.entries[0], FIRST.entries[0]))  # two rows of one key
        bench.runner.run([impossible, DONE])
        await bench.until(lambda: bool(bench.failures))
        await asyncio.sleep(STALL_NS / 1e9)
        bench.runner.run([DONE])
        assert bench.out == []

    hosted(tmp_path, work)


@pytest.mark.parametrize("count", [0, 3])
def test_a_runner_that_was_stopped_lets_nothing_more_out(tmp_path: Path, count: int) -> None:
    async def work(bench: Bench) -> None:
        bench.runner.run([FIRST] * bool(count) + [DONE] * count)
        bench.runner.stop()
        bench.runner.run([DONE])
        assert bench.thread.close()
        await asyncio.sleep(0)
        assert bench.out == []

    hosted(tmp_path, work)


def test_a_lone_write_is_made_on_the_loop_and_the_next_ones_beside_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.runner.run([FIRST, Answered("1", "")])
        assert bench.out == [FIRST, Answered("1", "")], "without another turn of the loop"
        assert bench.stored() == FIRST.onto(Stored())
        bench.runner._written_ns = time.monotonic_ns()  # however slow this machine is
        bench.runner.run([SECOND, Answered("2", "")])
        assert len(bench.out) == 2
        await bench.until(lambda: len(bench.out) == 4)
        await asyncio.sleep(LONE_NS / 1e9)
        bench.runner.run([Persist(HardState(5)), Answered("3", "")])
        assert bench.out[-2:] == [Persist(HardState(5)), Answered("3", "")]
        assert bench.stored() == Stored(HardState(5), entries=(*FIRST.entries, *SECOND.entries))

    hosted(tmp_path, work, on_loop=True)


def test_when_a_lone_write_fails_nothing_is_let_out(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.runner.run([Persist(entries=(FIRST.entries[0], FIRST.entries[0])), DONE])
        assert len(bench.failures) == 1
        bench.runner.run([DONE])
        assert bench.out == []

    hosted(tmp_path, work, on_loop=True)

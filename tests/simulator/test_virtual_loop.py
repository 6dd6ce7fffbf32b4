"""What asyncio promises, in virtual time; and lives that are paused, blocked and killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from tests.simulator.virtual_loop import Life, VirtualLoop
from tests.simulator.world import MS, SECOND, World


class Bench:
    """One life, in which `told` records what has happened, and when."""

    def __init__(self) -> None:
        self.world, self.told = World(1), list[tuple[int, str]]()
        self.life = Life(self.world, Random(1))
        self.loop = VirtualLoop(self.life)

    def tell(self, what: str) -> None:
        self.told.append((self.world.now // MS, what))

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.call(lambda: self.loop.create_task(work()))

    async def sleeps(self) -> None:
        try:
            await asyncio.sleep(0.5)
            self.tell("slept")
        finally:
            self.tell("over")


def test_sleeps_timeouts_and_events_take_virtual_time_in_their_order() -> None:
    bench, loop_of = Bench(), list[object]()

    async def work() -> None:
        loop_of.append(asyncio.get_running_loop())
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, event.set)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(event.wait(), 0.2)
        bench.tell("too late")
        await event.wait()
        bench.tell("set")
        await asyncio.gather(asyncio.sleep(3), asyncio.sleep(1))
        bench.tell("gathered")

    bench.begin(work)
    bench.world.run(9 * SECOND)
    assert bench.told == [(200, "too late"), (300, "set"), (3300, "gathered")]
    assert loop_of == [bench.loop]


def test_work_of_a_thread_is_done_after_a_while_and_its_error_is_the_awaiters() -> None:
    bench = Bench()

    async def work() -> None:
        assert await asyncio.to_thread(pow, 2, 5) == 32
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        bench.tell("done")

    bench.begin(work)
    bench.world.run(0)
    assert not bench.told
    bench.world.run(SECOND)
    assert [what for _, what in bench.told] == ["done"]


def test_a_paused_life_reads_what_came_before_it_looks_at_the_time() -> None:
    bench = Bench()
    bench.begin(bench.sleeps)
    bench.world.run(100 * MS)
    bench.life.pause(SECOND)
    bench.world.run(800 * MS)
    bench.life.receive(lambda: bench.loop.call(bench.tell, "read"))
    bench.world.run(SECOND)
    assert bench.told == [(1100, "read"), (1100, "slept"), (1100, "over")]


def test_nothing_happens_on_a_loop_that_waits_for_its_disk() -> None:
    bench = Bench()
    bench.begin(bench.sleeps)
    bench.world.run(0)
    bench.loop.block()
    bench.world.run(SECOND)
    assert not bench.told
    bench.loop.unblock()
    bench.world.run(0)
    assert bench.told == [(1000, "slept"), (1000, "over")]


def test_what_a_killed_life_does_as_it_ends_reaches_nobody() -> None:
    bench = Bench()
    bench.begin(bench.sleeps)
    bench.world.run(100 * MS)
    bench.loop.kill()
    bench.loop.call_soon(bench.tell, "nobody hears it")
    bench.loop.call_soon_threadsafe(bench.tell, "nobody hears it")
    bench.world.run(SECOND)
    assert bench.told == [(100, "over")], "its `finally` runs, and finds nothing that it could change"


def test_a_callback_that_fails_ends_the_scenario() -> None:
    bench = Bench()
    bench.loop.call(bench.loop.call_later, 0.1, divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        bench.world.run(SECOND)

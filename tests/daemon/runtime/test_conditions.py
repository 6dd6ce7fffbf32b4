"""Waiting for what becomes true in somebody else's turn."""

from __future__ import annotations

import asyncio

import pytest

from daemon.runtime.conditions import Conditions


def test_it_waits_until_somebody_looks_and_finds_it_true() -> None:
    async def run() -> None:
        conditions, there = Conditions(), set[str]()
        waits = asyncio.ensure_future(conditions.until(lambda: "it" in there))
        for _ in range(3):
            await asyncio.sleep(0)
            conditions.look()
        assert not waits.done()
        there.add("it")
        conditions.look()
        assert await waits
        assert conditions._waiting == {}

    asyncio.run(run())


def test_what_holds_is_not_waited_for_and_what_does_not_comes_to_an_end() -> None:
    async def run() -> None:
        conditions = Conditions()
        assert await conditions.until(lambda: True)
        assert not await conditions.until(lambda: False, 0.01)
        assert conditions._waiting == {}

    asyncio.run(run())


def test_a_condition_that_raises_is_its_askers_alone() -> None:
    async def run() -> None:
        conditions, there = Conditions(), list[int]()
        other = asyncio.ensure_future(conditions.until(lambda: there))
        broken = asyncio.ensure_future(conditions.until(lambda: there and 1 // 0))
        await asyncio.sleep(0)
        there.append(1)
        conditions.look()
        assert await other
        with pytest.raises(ZeroDivisionError):
            await broken

    asyncio.run(run())

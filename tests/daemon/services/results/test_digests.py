"""Digests of columns, from stretches that pass by in whatever order and company."""

from __future__ import annotations

import asyncio

import numpy as np

from daemon.services.results.digests import Digests
from shoal.query.result import ColumnResult

IDS, VALUES = np.arange(10), np.arange(10) * 1.5
KEY = ("r-1", 4, "c")
WHOLE = ColumnResult("r-1", "c", IDS, VALUES).digest


async def take(digests: Digests, first: int, last: int) -> None:
    await digests.take("r-1", 4, first, 10, IDS[first:last], {"c": VALUES[first:last]})


def test_stretches_in_their_turn_make_the_digest() -> None:
    async def run() -> None:
        digests = Digests()
        for first, last in ((0, 4), (4, 5), (5, 10)):
            assert digests.known(KEY) is None
            await take(digests, first, last)
        assert digests.known(KEY) == WHOLE
        assert digests.known(("r-1", 5, "c")) is None

    asyncio.run(run())


def test_what_comes_out_of_turn_or_twice_does_no_harm() -> None:
    async def run() -> None:
        digests = Digests()
        for first, last in ((4, 10), (0, 4), (0, 4), (5, 10), (4, 10), (0, 4), (4, 10)):
            await take(digests, first, last)
        assert digests.known(KEY) == WHOLE

    asyncio.run(run())


def test_readers_in_each_others_way_never_make_a_wrong_one() -> None:
    async def reader(digests: Digests) -> None:
        for first in range(0, 10, 2):
            await take(digests, first, first + 2)

    async def run() -> None:
        digests = Digests()
        await asyncio.gather(*(reader(digests) for _ in range(3)))
        assert digests.known(KEY) in (None, WHOLE)
        await reader(digests)
        assert digests.known(KEY) == WHOLE

    asyncio.run(run())

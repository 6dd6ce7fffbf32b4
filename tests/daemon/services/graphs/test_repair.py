"""Repair while the world goes on: sources change, graphs are dropped. Its loop is one whose time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import msgpack
import pytest
from msgspec.structs import replace

from daemon.config import Config
from daemon.control.effects import MendHoldings
from daemon.control.holdings import Want
from daemon.services.graphs.fetch import TABLE, Fetched, Fetching, NotFetched
from daemon.services.graphs.repair import Repair
from daemon.services.graphs.slices import Slices
from daemon.state import ReplicatedState, ViewInstalled
from daemon.state.commands import AddGraph, Identity
from daemon.state.records import COMPLETED, RunRecord, View
from daemon.store import NotHeld
from shoal.program.phase import Phase
from tests.daemon.services.contexts import context_of
from tests.simulator.virtual_loop import Life, VirtualLoop
from tests.simulator.world import MS, SECOND, World

GRAPH = AddGraph("web", "load-1", 1, 4, 4, 2, 0, "int", (), ())
VIEW = View(1, (Identity("a", 1), Identity("b", 1)), 8, 2)
RUN = RunRecord("p-1", 1, "p", "web", "load-1", (), 9, 0, False, (Phase.ADVANCE,), (), 0, epoch=1)


class Bench:
    """A repair whose disk and peers are the test's: `came` is called when an answer comes."""

    def __init__(self, came: Callable[[], None] = lambda: None, *, has_table: bool = True) -> None:
        self.asked: list[Sequence[str]] = []
        self.written: list[str] = []
        self.happened: list[object] = []
        self.sent: Any = None
        """What is fetched of a partition; None if nobody sends it."""
        self.gained: Callable[[frozenset[int]], None] = lambda partitions: None
        self.state, self._came, self._has_table = ReplicatedState(), came, has_table
        self.registry = self.state.registry
        self.registry.graphs["web"] = GRAPH
        self.world = World(1)
        self._loop = VirtualLoop(Life(self.world, Random(1)))
        self._loop.call(self._begin)

    def _begin(self) -> None:
        orders = SimpleNamespace(results_looked_for=self.happened.append, parts_gained=self._gained)
        context = context_of(self.state, config=Config(), disk=self, orders=orders, spawn=self._loop.create_task)
        vars(context.state)["in_view"] = True
        self.repair = Repair(context, cast(Slices, self), cast(Fetching, self))

    def aim(self, *sources: str) -> None:
        wants = (Want("web", "load-1", 0, sources),) if sources else ()
        self._loop.call(lambda: self.repair.on_event(MendHoldings(wants)))

    def _gained(self, load: str, partitions: frozenset[int]) -> None:
        self.happened.append(partitions)
        self.gained(partitions)

    def enter_view(self) -> None:
        self.registry.view = VIEW
        self._loop.call(lambda: self.repair.on_event(ViewInstalled(VIEW)))

    # -- the disk, the graphs and the peers ------------------------------------------------------------------------

    async def do(self, job: Callable[[Any], Any]) -> Any:
        await asyncio.sleep(0.01)
        return job(SimpleNamespace(require=lambda nbytes: None, states_as_made=self.states_as_made))

    def states_as_made(self) -> dict[int, Any]:
        self.happened.append("the disk has answered")
        return {}

    async def states_from(self, *_: object) -> dict[int, Any]:
        await asyncio.sleep(0.01)
        self.happened.append("a peer has answered")
        return {}

    async def table(self, load: str) -> Any:
        if not self._has_table:
            raise NotHeld(load)

    async def keep_table(self, load: str, *_: object) -> None:
        self.written.append(load)

    async def fetch(self, sources: Sequence[str], load: str, partition: int) -> Fetched:
        self.asked.append(sources)
        self._came()
        await asyncio.sleep(0.01)
        if partition == TABLE:
            return Fetched(msgpack.packb(["web", msgpack.packb({"partitions": 2})]), [], [b"\0\1"])
        if self.sent is None:
            raise NotFetched("nobody has sent it")
        return cast(Fetched, self.sent)

    async def keep(self, *_: object) -> None:
        """It is written."""


def test_who_serves_a_partition_by_now_is_asked_the_next_time() -> None:
    bench = Bench(lambda: bench.aim("well") if len(bench.asked) == 1 else None)
    bench.aim("dead")
    bench.world.run(3 * SECOND)
    assert bench.asked[:3] == [("dead",), ("well",), ("well",)]


@pytest.mark.parametrize("is_dropped", [False, True])
def test_nothing_is_written_of_a_graph_that_was_dropped_while_it_came(is_dropped: bool) -> None:
    bench = Bench(lambda: bench.registry.graphs.clear() if is_dropped else None, has_table=False)
    bench.aim("well")
    bench.world.run(SECOND // 2)
    assert bench.asked[0] == ("well",)
    assert bench.written == ([] if is_dropped else ["load-1"])


@pytest.mark.parametrize("partitions", [0, 1, 2])
def test_results_have_been_looked_for_once_the_disk_and_the_peers_have_answered(partitions: int) -> None:
    """What else this shard should fetch changes all the time meanwhile."""
    bench = Bench()
    bench.registry.runs["p-1"] = replace(RUN, state=COMPLETED, tick=5)
    bench.registry.placements["web"] = (("a", "b"),) * partitions
    bench.enter_view()
    for at in range(1, 200):
        bench.world.at(at * MS, bench.aim)
    bench.world.run(SECOND)
    assert bench.happened == ["the disk has answered", *["a peer has answered"] * partitions, VIEW.epoch]


@pytest.mark.parametrize("turns", range(8))
def test_what_is_to_be_fetched_just_as_the_last_fetch_ends_is_fetched(turns: int) -> None:
    bench = Bench()
    bench.sent = SimpleNamespace(nbytes=0, slice=lambda *_: None, records=list)

    def aim_after(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(aim_after, left - 1)
        else:
            bench.repair.on_event(MendHoldings((Want("web", "load-1", 1, ("well",)),)))

    bench.gained = lambda partitions: aim_after(turns) if partitions == {0} else None
    bench.aim("well")
    bench.world.run(SECOND)
    assert bench.happened == [{0}, {1}]

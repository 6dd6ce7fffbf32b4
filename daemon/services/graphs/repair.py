"""Re-replication: fetches the partitions that this shard should hold but does not, a few at a time.

A shard that was away also lacks results, in partitions that it holds, of runs that ended meanwhile: it looks for them
in each new view, and again while some are missing, at any shard that may have them.

It works in the background, at a bounded rate, so that it takes no more than its share of the network and the disks. It
reports each partition to the log once that is durable here. It retries a partition that nobody sends after the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Never, TypeAlias, assert_never

import msgpack
from numpy.typing import NDArray

from daemon.control.effects import MendHoldings
from daemon.control.holdings import Want
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service, types_of
from daemon.services.graphs.fetch import NONSENSE, TABLE, Fetching, NotFetched
from daemon.services.graphs.slices import Slices, table_of
from daemon.state import ViewInstalled
from daemon.state.placement import sources
from daemon.state.records import View
from daemon.store import NoRoom, NotHeld, StateRecord
from shoal.api.errors import ShoalError

log = logging.getLogger("shoal.repair")

TRY_AGAIN_SECONDS = 1.0
ROOM_AGAIN_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 10.0
LANES = 3

Events: TypeAlias = MendHoldings | ViewInstalled


@dataclass
class RepairProgress:
    """The present task: partitions fetched, partitions in all, and bytes fetched."""

    done: int = 0
    total: int = 0
    bytes: int = 0
    waits: str = ""
    """What it waits for, if it can't go on: free space on this disk."""


@dataclass(frozen=True)
class StateWant:
    """The state of a run's last tick for a partition that this shard holds, and the epoch that made it."""

    run: int
    tick: int
    partition: int
    made_in: int
    sources: tuple[str, ...]


class Repair(Service[Never, Events]):
    """The list of wants, and the one task that works it off."""

    events = types_of(Events)

    def __init__(self, context: HostContext, slices: Slices, fetching: Fetching) -> None:
        self._context, self._disk, self._slices, self._fetching = context, context.disk, slices, fetching
        self._bytes_per_second = context.config.storage.repair_bandwidth
        self._given_up = 0
        self._largest = 0
        """The size of the largest shipment so far."""
        self._looking: int | None = None
        """The epoch whose states are being fetched, until the control plane is told that all have been requested."""
        self._timer: asyncio.TimerHandle | None = None
        self._wants: dict[tuple[str, int], Want] = {}
        self._in_hand: set[tuple[str, int]] = set()
        self._states: deque[StateWant] = deque()
        self._states_in_hand = 0
        self._table = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.progress = RepairProgress()

    def on_event(self, event: Events) -> None:
        """Updates the wants of this shard."""
        match event:
            case MendHoldings(wants=wants):
                self._aim(wants)
            case ViewInstalled(view=view):
                if view == self._context.state.registry.view:  # the log may be ahead, within the same batch
                    self._look_for_results()
            case _:
                assert_never(event)

    def _aim(self, wants: Sequence[Want]) -> None:
        """Fetches exactly these partitions from now on."""
        self._begin()
        self._wants = {(want.load, want.partition): want for want in wants}
        self._go_on()

    def _look_for_results(self) -> None:
        """Looks for results of runs that ended while this shard was away, if it is in the view."""
        view = self._context.state.registry.view
        if view is not None and self._context.state.in_view:
            self._context.spawn(self._look_for(self._result_wants(view), view.epoch))

    def _result_wants(self, view: View) -> list[StateWant]:
        """Returns finished runs' results that this shard should hold, with their sources, fellow holders first."""
        registry, me, wants = self._context.state.registry, self._context.me, []
        for run in registry.kept_results():
            placed = registry.placements.get(run.graph, ())
            for partition, holders in enumerate(placed):
                if me in holders:
                    others = sources(me, holders, view.names)
                    wants.append(StateWant(run.number, run.tick, partition, run.made_in(run.tick), others))
        return wants

    async def _look_for(self, wants: Sequence[StateWant], epoch: int) -> None:
        """Also fetches those of these states that are not on disk, instead of the states wanted before.

        Tells the control plane once all have been requested, including those that nobody has sent.
        """
        held = await self._disk.do(lambda store: store.states_as_made())
        self._begin()
        self._looking = epoch
        self._states = deque(
            want for want in wants if want.partition not in held.get(want.run, {}).get((want.tick, want.made_in), ())
        )
        self._go_on()

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self.progress = RepairProgress()

    def _go_on(self) -> None:
        self.progress.total = self.progress.done + len(self._wants) + len(self._states)
        if (self._wants or self._states) and (self._task is None or self._task.done()):
            self._task = self._context.spawn(self._work())
        self._tell_looked()

    def _tell_looked(self) -> None:
        if self._looking is not None and not self._states and not self._states_in_hand:
            epoch, self._looking = self._looking, None
            self._context.orders.results_looked_for(epoch)

    def stop(self) -> None:
        """Stops fetching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        log.info("to be fetched: %d partitions, %d states", len(self._wants), len(self._states))
        while self._wants or self._states:  # new ones may arrive just as the last lane ends
            await asyncio.gather(*(self._lane() for _ in range(LANES)))
        self.progress.waits = ""
        log.info("fetched: %d partitions and states, %d bytes", self.progress.done, self.progress.bytes)
        if self._given_up:
            self._given_up = 0
            self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._look_for_results)

    async def _lane(self) -> None:
        """Fetches one want after the other; a few lanes in parallel hide each request's round trip."""
        while True:
            key = next((key for key in self._wants if key not in self._in_hand), None)
            if key is None and not self._states:
                return
            nbytes = await (self._fetch_state() if key is None else self._fetch_partition(key))
            self._tell_looked()
            await asyncio.sleep(LANES * nbytes / self._bytes_per_second)

    async def _fetch_partition(self, key: tuple[str, int]) -> int:
        want = self._wants[key]
        self._in_hand.add(key)
        try:
            nbytes = await self._fetch(want)
        except NoRoom as error:
            await self._wait_for_room(error)
            return 0
        except (NotFetched, NotHeld, ShoalError, *NONSENSE) as error:
            log.warning("%s, partition %d: %s", want.graph, want.partition, error)
            latest = self._wants.pop(key, None)
            if latest is not None:  # with its present sources
                self._wants[key] = latest  # behind the others
            await asyncio.sleep(TRY_AGAIN_SECONDS)
            return 0
        finally:
            self._in_hand.discard(key)
        self._wants.pop(key, None)
        self._count(nbytes)
        self._context.orders.parts_gained(want.load, frozenset([want.partition]))
        return nbytes

    async def _fetch_state(self) -> int:
        try:
            await self._disk.do(lambda store: store.require(self._largest))
        except NoRoom as error:
            await self._wait_for_room(error)
            return 0
        if not self._states:
            return 0
        self._states_in_hand += 1
        try:
            return await self._fetch_wanted(self._states.popleft())
        finally:
            self._states_in_hand -= 1

    async def _fetch_wanted(self, want: StateWant) -> int:
        """Gives up a state that nobody has sent, for now: its holder may be away, or unreachable."""
        states = await self._fetching.states_from(want.sources, want.run, want.tick, [want.partition], want.made_in)
        if all(run.number != want.run for run in self._context.state.registry.kept_results()):
            return 0  # it was dropped, or has expired, during the transfer
        if not states:
            told = ", ".join(want.sources) or "nobody"
            log.info("run %d, tick %d, partition %d: not available (%s)", want.run, want.tick, want.partition, told)
            self._given_up += 1
            return 0
        record = StateRecord(want.run, want.tick, 0, states, epoch=want.made_in)
        self._largest = max(self._largest, record.size)
        try:
            await self._disk.do(lambda store: store.put_states([record]))
        except NoRoom as error:
            self._states.append(want)
            await self._wait_for_room(error)
            return 0
        self._count(record.size)
        return record.size

    async def _wait_for_room(self, error: NoRoom) -> None:
        """Waits for free space, without giving anything up."""
        if not self.progress.waits:
            log.error("fetching waits for room: %s", error)
        self.progress.waits = str(error)
        await asyncio.sleep(ROOM_AGAIN_SECONDS)

    def _count(self, nbytes: int) -> None:
        if self.progress.waits:
            log.info("there is room again: fetching continues")
        self.progress.waits = ""
        self.progress.done += 1
        self.progress.bytes += nbytes

    async def _fetch(self, want: Want) -> int:
        await self._disk.do(lambda store: store.require(self._largest))  # so that nothing is sent in vain
        table = await self._fetch_table(want)
        fetched = await self._fetching.fetch(want.sources, want.load, want.partition)
        self._largest = max(self._largest, fetched.nbytes)
        slices = await asyncio.to_thread(fetched.slice, want.partition, table)
        records = fetched.records()
        if any(record.states.keys() != {want.partition} for record in records):
            raise ValueError("states of other partitions came with it")
        self._need_graph(want)
        if records:
            await self._disk.do(lambda store: store.put_states(records))
        await self._slices.keep(want.load, slices)
        return fetched.nbytes

    async def _fetch_table(self, want: Want) -> NDArray[Any]:
        """Returns the load's partition table, fetched once for all of its partitions."""
        async with self._table:
            try:
                return await self._slices.table(want.load)
            except NotHeld:
                came = await self._fetching.fetch(want.sources, want.load, TABLE)
            header, frame = came.table()
            partitions = msgpack.unpackb(header)["partitions"]
            table = table_of(frame, partitions)
            self._need_graph(want)
            await self._slices.keep_table(want.load, want.graph, table, partitions)
            return table

    def _need_graph(self, want: Want) -> None:
        """Raises `NotFetched` if the graph was dropped during the transfer: writing now would leave data for ever."""
        if self._context.state.registry.graph_of(want.load) is None:
            raise NotFetched("the graph was dropped meanwhile")

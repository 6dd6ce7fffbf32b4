"""Re-replication: fetching the partitions that this shard should hold and does not, one after the other.

It works in the background, at a bounded rate, so that it takes no more than its share of the network and the disks. The
log hears of each partition once it is durable here. A partition that nobody sends is tried again after the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgpack

from daemon.host.disk import Disk
from daemon.host.fetching import TABLE, Fetched, Fetching, NotFetched
from daemon.host.graphs import Graphs, table_of
from daemon.protocol.holdings import Want
from daemon.store import NotHeld, StateRecord
from shoal.errors import ShoalError
from shoal.slices import Slices

log = logging.getLogger("shoal.mending")

TRY_AGAIN_SECONDS = 1.0


@dataclass
class MendingProgress:
    """Of the present task: partitions fetched and all, and the bytes that took."""

    done: int = 0
    total: int = 0
    bytes: int = 0


class Mending:
    """The list of wants, and the one task that works it off. `gained` is told of each partition that is durable."""

    def __init__(
        self,
        disk: Disk,
        graphs: Graphs,
        fetching: Fetching,
        bytes_per_second: int,
        gained: Callable[[str, frozenset[int]], None],
    ) -> None:
        self._disk, self._graphs, self._fetching = disk, graphs, fetching
        self._bytes_per_second, self._gained = bytes_per_second, gained
        self._wants: dict[tuple[str, int], Want] = {}
        self._task: asyncio.Task[None] | None = None
        self.progress = MendingProgress()

    def aim(self, wants: Sequence[Want]) -> None:
        """Fetch these from now on, and nothing else."""
        if not self._wants:
            self.progress = MendingProgress()
        self._wants = {(want.load, want.partition): want for want in wants}
        self.progress.total = self.progress.done + len(self._wants)
        if self._wants and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work())
            self._task.add_done_callback(_raise_error)

    def close(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        log.info("%d partitions are to be fetched", len(self._wants))
        while self._wants:
            key, want = next(iter(self._wants.items()))
            try:
                fetched = await self._fetch(want)
            except (NotFetched, NotHeld, ShoalError, ValueError) as error:
                log.warning("%s, partition %d: %s", want.graph, want.partition, error)
                if self._wants.pop(key, None) is not None:
                    self._wants[key] = want
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            self.progress.done += 1
            self.progress.bytes += fetched.nbytes
            self._wants.pop(key, None)
            self._gained(want.load, frozenset([want.partition]))
            await asyncio.sleep(fetched.nbytes / self._bytes_per_second)
        log.info("%d partitions fetched, %d bytes", self.progress.done, self.progress.bytes)

    async def _fetch(self, want: Want) -> Fetched:
        try:
            table = await self._graphs.table(want.load)
        except NotHeld:
            came = await self._fetching.fetch(want.sources, want.load, TABLE)
            _, header = msgpack.unpackb(came.header["spec"])
            partitions = msgpack.unpackb(header)["partitions"]
            table = table_of(came.frames[0], partitions)
            await self._graphs.keep_table(want.load, want.graph, table, partitions)
        fetched = await self._fetching.fetch(want.sources, want.load, want.partition)
        states = fetched.header["states"]
        frames = fetched.frames[: len(fetched.frames) - len(states)]
        slices = Slices.from_wire(msgpack.unpackb(fetched.header["spec"]), frames, table)
        if slices.partitions != (want.partition,):
            raise ValueError(f"partition {want.partition} was asked for, {slices.partitions} came")
        records = [
            StateRecord(run, tick, 0, {want.partition: state})
            for (run, tick), state in zip(states, fetched.frames[len(frames) :], strict=True)
        ]
        if records:
            await self._disk.do(lambda store: store.put_states(records))
        await self._graphs.keep(want.load, slices)
        return fetched


def _raise_error(task: asyncio.Task[None]) -> None:
    """What nobody has thought of must not end the fetching in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("fetching has ended", exc_info=error)

"""The slices on this shard's disk, and the partition tables of their loads."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from daemon.runtime.context import Disk
from daemon.store import Store
from shoal.graph.ids import partition_type
from shoal.graph.partitions import PartitionSet, Uncut


class Slices:
    """One shard's slices."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._tables: dict[str, NDArray[Any]] = {}
        self._unwanted: dict[str, set[int]] = {}
        """Partitions that were to be deleted, and that have not been written again since."""

    async def table(self, load: str) -> NDArray[Any]:
        """Returns the partition of each node of a load that is held here."""
        if load not in self._tables:
            _, frame, header = await self._disk.do(lambda store: store.graph(load))
            self._tables[load] = table_of(frame, msgpack.unpackb(header)["partitions"])
        return self._tables[load]

    async def keep_table(self, load: str, graph: str, table: NDArray[Any], partitions: int) -> None:
        """Writes a load's partition table and header."""
        header = msgpack.packb({"partitions": partitions})
        await self._disk.do(lambda store: store.put_graph(load, graph, table.view(np.uint8).data, header))
        self._tables[load] = table

    async def keep(self, load: str, slices: PartitionSet | Uncut) -> None:
        """Writes slices, which are durable on return; one job per partition, so that other jobs get their turn."""
        self._unwanted.get(load, set()).difference_update(slices.partitions)
        for partition in slices.partitions:
            await self._disk.do(partial(_put, load, slices, partition))
        await self._disk.do(lambda store: store.seal(load, slices.partitions))

    async def drop(self, load: str, partitions: frozenset[int]) -> None:
        """Deletes partitions of a load."""
        unwanted = self._unwanted.setdefault(load, set())
        unwanted |= partitions
        await self._disk.delete(lambda store: store.drop_slices(load, partitions & unwanted))

    async def drop_load(self, load: str) -> None:
        """Deletes everything of a load."""
        self._tables.pop(load, None)
        self._unwanted.pop(load, None)
        await self._disk.delete(lambda store: store.drop_load(load))


def table_of(frame: Any, partitions: int) -> NDArray[Any]:
    """Decodes a partition table; its content is checked together with its slices."""
    return np.frombuffer(frame, partition_type(partitions))


def _put(load: str, slices: PartitionSet | Uncut, partition: int, store: Store) -> None:
    spec, frames = slices.select([partition]).to_wire()
    store.put_slice(load, partition, msgpack.packb(spec), frames)

"""The loads of graphs that this shard holds, with their slices.

A load never changes; writing it again does nothing. It exists once its partition table (the slice of partition
`TABLE_PARTITION`) is sealed, and each of its partitions is held once its slice is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from daemon.store.blobs import Blobs
from daemon.store.database import Database
from daemon.store.errors import NotHeld
from daemon.store.schema import SEALED, TABLE_PARTITION
from shoal.lockstep.frames import Buffer


class GraphRows:
    """The rows of all loads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blobs = Blobs(database)

    def put_graph(self, load: str, graph: str, table: Buffer, header: bytes) -> None:
        """Writes a load's header and partition table. Durable when this returns."""
        if self._number(load) is None:
            with self._database.writing("write a graph's header") as connection:
                connection.execute(
                    "INSERT INTO load (name, graph, crc, header) VALUES (?, ?, ?, ?)",
                    (load, graph, _checksum(load, graph, header), header),
                )
        self._blobs.put(self._known(load), TABLE_PARTITION, b"", [table])
        self._blobs.seal(self._known(load), [TABLE_PARTITION])

    def put_slice(self, load: str, partition: int, spec: bytes, frames: Sequence[Buffer]) -> None:
        """Writes one partition, which is neither held nor synced before it is sealed."""
        assert partition >= 0, partition
        self._blobs.put(self._known(load), partition, spec, frames)

    def seal(self, load: str, partitions: Iterable[int]) -> None:
        """Makes all or none of these partitions held from now on, durably."""
        self._blobs.seal(self._known(load), sorted(partitions))

    def graph(self, load: str) -> tuple[str, bytes, bytes]:
        """Returns a load's graph, partition table and header."""
        what = f"the header of load {load}"
        rows = self._database.rows(f"read {what}", "SELECT graph, crc, header FROM load WHERE name = ?", (load,))
        if not rows:
            raise NotHeld(f"{self._database.path}: load {load} is not held")
        graph, crc, header = rows[0]
        if type(graph) is not str or type(header) is not bytes or _checksum(load, graph, header) != crc:
            raise self._database.torn(what)
        _, frames = self._blobs.get(self._known(load), TABLE_PARTITION)
        return graph, b"".join(frames), header

    def slice(self, load: str, partition: int) -> tuple[bytes, list[bytes]]:
        """Returns the spec and the frames of a partition that is held."""
        return self._blobs.get(self._known(load), partition)

    def loads(self) -> dict[str, tuple[str, frozenset[int]]]:
        """Returns the graph and the partitions held of each load."""
        statement = (
            "SELECT load.name, load.graph, slice.partition FROM load JOIN slice ON slice.load = load.id"
            " WHERE slice.stage = ? ORDER BY load.id, slice.partition"
        )
        found: dict[str, tuple[str, set[int]]] = {}
        for name, graph, partition in self._database.rows("list the loads", statement, (SEALED,)):
            if type(name) is not str or type(graph) is not str or type(partition) is not int:
                raise self._database.torn("the list of loads")
            if partition == TABLE_PARTITION:  # the lowest: without it the load does not exist
                found[name] = (graph, set())
            elif name in found:
                found[name][1].add(partition)
        return {name: (graph, frozenset(partitions)) for name, (graph, partitions) in found.items()}

    def drop_slices(self, load: str, partitions: Iterable[int]) -> None:
        """Deletes these partitions; ignores missing ones."""
        number = self._number(load)
        if number is not None:
            self._blobs.drop(self._blobs.numbers(number, partitions))

    def drop_load(self, load: str) -> None:
        """Deletes everything of a load; ignores a missing one."""
        number = self._number(load)
        if number is not None:
            self._blobs.drop(self._blobs.numbers(number))
            self._database.execute("drop a load", "DELETE FROM load WHERE id = ?", [(number,)])

    def sweep(self) -> None:
        """Deletes what a previous life left incomplete."""
        self._blobs.drop(self._blobs.unsealed())
        statement = "SELECT id, name FROM load WHERE id NOT IN (SELECT load FROM slice WHERE partition = -1)"
        for number, _ in self._database.rows("list the loads", statement):
            self._blobs.drop(self._blobs.numbers(number))
            self._database.execute("drop a load", "DELETE FROM load WHERE id = ?", [(number,)])

    def size(self) -> int:
        """Returns the bytes of all slices and tables."""
        ((size,),) = self._database.rows("measure the slices", "SELECT total(size) FROM slice")
        return int(size)

    def _number(self, load: str) -> int | None:
        rows = self._database.rows("look for a load", "SELECT id FROM load WHERE name = ?", (load,))
        return rows[0][0] if rows else None

    def _known(self, load: str) -> int:
        number = self._number(load)
        if number is None:
            raise NotHeld(f"{self._database.path}: load {load} is not held")
        return number


def _checksum(load: str, graph: str, header: bytes) -> int:
    return crc32(header, crc32(f"{load}\0{graph}".encode()))

"""One thread's access to the data folder: all writes and reads.

>>> import tempfile
>>> from pathlib import Path
>>> from daemon.store import DataFolder, StateRecord, Store
>>> with tempfile.TemporaryDirectory() as at, DataFolder(Path(at) / "data", "demo", "a").open() as folder:
...     store = Store(folder)
...     store.put_states([StateRecord(7, 10, 0, {3: b"three", 5: b"five"})])
...     store.put_states([StateRecord(7, 20, 10, {3: b"III", 5: b"V"}), StateRecord(7, 30, 20, {3: b"3"})])
...     print(store.states_held())
...     store.close()
{7: {10: frozenset({5}), 20: frozenset({3, 5}), 30: frozenset({3})}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from consensus.effects import Persist
from consensus.stored import Stored
from daemon.control.bootstrap import Promise
from daemon.store.consensus import ConsensusRows
from daemon.store.database import FAILURES, Database, view
from daemon.store.errors import FULL, StoreError, StoreFailed, sentence
from daemon.store.folder import DataFolder, sync_names
from daemon.store.graphs import GraphRows
from daemon.store.promise import PromiseRow
from daemon.store.room import Room
from daemon.store.states import StateRecord, StateRows
from shoal.lockstep.frames import Buffer


class Store:
    """A connection to an open folder, for the thread that creates it.

    A method that writes has made it durable when it returns (`put_slice`: when `seal` does) or raises `StoreFailed`.
    After one of those, neither this store nor another one of the folder writes anything more.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder, path = folder, folder.database_path
        try:
            self._database = Database(path, folder.turn, folder.room)
            self._database.settle(folder.log_bytes_max)
            sync_names(folder.path)
        except FAILURES as error:
            raise StoreError(sentence(error, path, "open the database")) from error
        self._consensus = ConsensusRows(self._database)
        self._promises = PromiseRow(self._database)
        self._graphs = GraphRows(self._database)
        self._states = StateRows(self._database)

    def close(self) -> None:
        """Closes the connection."""
        self._database.close()

    # -- consensus -------------------------------------------------------------------------------------------------

    def load_consensus(self) -> Stored | None:
        """Returns what Raft-lite has persisted, or None. Raises `StoreError` if it is not sound."""
        return self._consensus.load()

    def persist(self, persist: Persist) -> None:
        """Carries out the effect in one durable transaction, with the semantics of `Persist.onto`."""
        if persist == Persist():
            return
        number = self._database.despite_full_disk(partial(self._consensus.persist, persist))
        if self._folder.high_water is not None:
            try:
                self._folder.high_water.write(self._folder.disk, number)
            except OSError as error:
                if error.errno in FULL:
                    return  # too low a number accuses nobody
                doing = "note how far the decisions have come"
                raise StoreFailed(sentence(error, self._folder.path, doing)) from error

    def raise_version(self, version: int) -> None:
        """Allows formats that are new in this cluster version; from now on the folder refuses a Shoal without them."""
        self._database.despite_full_disk(partial(self._consensus.raise_version, version))

    def follow_version(self, version: int) -> None:
        """Follows a version that another connection of this life has raised."""
        self._consensus.follow_version(version)

    def stage_snapshot(self, index: int, chunks: Iterable[bytes]) -> tuple[bytes, ...]:
        """Writes and returns the chunks of a snapshot as they come, while consensus goes on. May raise `NoRoom`."""
        return self._consensus.stage(index, chunks)

    # -- room ------------------------------------------------------------------------------------------------------

    def require(self, nbytes: int) -> None:
        """Raises `NoRoom` if so many bytes of bulk data must not be written now."""
        if self._folder.room is not None:
            self._folder.room.require(nbytes, self._database.reusable(), self._database.log_growth())

    @property
    def room(self) -> Room | None:
        """The disk's space, if the folder has marks."""
        return self._folder.room

    def room_for_bulk(self) -> int | None:
        """Returns how many bytes of bulk data may be written, or None without marks."""
        if self._folder.room is None:
            return None
        return self._folder.room.for_bulk(self._database.reusable(), self._database.log_growth())

    def renounce(self, disk: int) -> None:
        """Deletes what consensus has persisted, and makes the folder a new disk from the next life on. Keeps slices and
        states.
        """
        self._database.despite_full_disk(partial(self._consensus.renounce, disk))

    def promise(self) -> Promise | None:
        """Returns this shard's promise to found a cluster. Raises `StoreError` if it is not sound."""
        return self._promises.load()

    def keep_promise(self, promise: Promise) -> None:
        """Replaces an older promise. Durable when this returns."""
        self._promises.keep(promise)

    def raise_generation(self, generation: int) -> None:
        """Makes the folder's next life begin above this generation."""
        statement = "UPDATE meta SET value = ? WHERE key = 'generation' AND CAST(value AS INTEGER) < ?"
        self._database.execute("raise the generation", statement, [(str(generation), generation)])

    # -- graphs ----------------------------------------------------------------------------------------------------

    def put_graph(self, load: str, graph: str, table: Buffer, header: bytes) -> None:
        """Writes a load's header and partition table."""
        self.require(view(table).nbytes + len(header))
        self._graphs.put_graph(load, graph, table, header)

    def put_slice(self, load: str, partition: int, spec: bytes, frames: Sequence[Buffer]) -> None:
        """Writes one partition of a load with a header; it counts as held once it is sealed."""
        self.require(sum(view(frame).nbytes for frame in frames) + len(spec))
        self._graphs.put_slice(load, partition, spec, frames)

    def seal(self, load: str, partitions: Iterable[int]) -> None:
        """Seals all of these partitions, which are held from then on, or none if one is incomplete (`NotHeld`)."""
        self._graphs.seal(load, partitions)

    def graph(self, load: str) -> tuple[str, bytes, bytes]:
        """Returns a load's graph, partition table and header. Raises `NotHeld`."""
        return self._graphs.graph(load)

    def slice(self, load: str, partition: int) -> tuple[bytes, list[bytes]]:
        """Returns the spec and the frames of a partition. Raises `NotHeld`."""
        return self._graphs.slice(load, partition)

    def loads(self) -> dict[str, tuple[str, frozenset[int]]]:
        """Returns the graph and the partitions held of each load."""
        return self._graphs.loads()

    def drop_slices(self, load: str, partitions: Iterable[int]) -> None:
        """Deletes these partitions."""
        self._graphs.drop_slices(load, partitions)

    def drop_load(self, load: str) -> None:
        """Deletes everything of a load."""
        self._graphs.drop_load(load)

    # -- states ----------------------------------------------------------------------------------------------------

    def put_states(self, records: Sequence[StateRecord]) -> None:
        """Writes the states of checkpoint ticks, and deletes those below each record's floor."""
        self.require(sum(record.size for record in records))
        self._states.put(records)

    def states_held(self) -> dict[int, dict[int, frozenset[int]]]:
        """Returns the partitions with a state, by run and tick."""
        return self._states.held()

    def states_as_made(self) -> dict[int, dict[tuple[int, int], frozenset[int]]]:
        """Returns the partitions with a state, by run and by the tick and epoch that made it."""
        return self._states.held_as_made()

    def states_of(self, run: int) -> dict[int, frozenset[int]]:
        """Returns the partitions of one run with a state, by tick."""
        return self._states.held_of(run)

    def state_ticks(self, run: int, partition: int) -> list[int]:
        """Returns the ticks of a run with a state of one partition."""
        return self._states.ticks(run, partition)

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """Returns a partition's state at a tick of a run, or None."""
        return self._states.state(run, tick, partition)

    def stamped_state(self, run: int, tick: int, partition: int) -> tuple[int, bytes] | None:
        """Returns a partition's state with the epoch that made it, or None."""
        return self._states.stamped(run, tick, partition)

    def drop_void(self, run: int, is_void: Callable[[int, int], bool]) -> None:
        """Deletes the states of a run for which `is_void` returns true, given the epoch and the tick of each."""
        self._states.drop_void(run, is_void)

    def trim_run(self, run: int, tick: int) -> None:
        """Deletes the states of a run before a tick."""
        self._states.trim(run, tick)

    def drop_run(self, run: int) -> None:
        """Deletes the states of a run."""
        self._states.drop(run)

    def relieve(self) -> None:
        """Moves the log into the database while nobody waits; earlier writes are durable anyway."""
        self._database.relieve()

    def sizes(self) -> dict[str, int]:
        """Returns the sizes of the files, of their reusable space, and of the kinds of data."""
        ((pages,),) = self._database.rows("measure the database", "PRAGMA page_count")
        ((free,),) = self._database.rows("measure the database", "PRAGMA freelist_count")
        ((page_bytes,),) = self._database.rows("measure the database", "PRAGMA page_size")
        log = self._database.path.with_name(self._database.path.name + "-wal")
        return {
            "database": pages * page_bytes,
            "free": free * page_bytes,
            "log": log.stat().st_size if log.exists() else 0,
            "slices": self._graphs.size(),
            "states": self._states.size(),
        }

"""One thread's way to the disk: all that can be kept and asked for.

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
    """A connection to an open folder, for the thread that makes it.

    A method that writes has made it durable when it returns (`put_slice`: when `seal` does) or raises `StoreFailed`,
    and after one of those nothing is written any more, by this store or another one of the folder.
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
        """Close the connection."""
        self._database.close()

    # -- consensus -------------------------------------------------------------------------------------------------

    def load_consensus(self) -> Stored | None:
        """What Raft-lite has persisted; None if it never has. Raises `StoreError` for what makes no sense."""
        return self._consensus.load()

    def persist(self, persist: Persist) -> None:
        """Carry out the effect: one durable transaction, with the semantics of `Persist.onto`."""
        if persist == Persist():
            return
        number = self._database.despite_full_disk(partial(self._consensus.persist, persist))
        if self._folder.high_water is not None:
            try:
                self._folder.high_water.write(self._folder.disk, number)
            except OSError as error:
                if error.errno in FULL:
                    return  # a number that is too low accuses nobody
                doing = "note how far the decisions have come"
                raise StoreFailed(sentence(error, self._folder.path, doing)) from error

    # -- room ------------------------------------------------------------------------------------------------------

    def require(self, nbytes: int) -> None:
        """Raise `NoRoom` if so many bytes of bulk must not be written now."""
        if self._folder.room is not None:
            self._folder.room.require(nbytes, self._database.reusable(), self._database.log_growth())

    @property
    def room(self) -> Room | None:
        """What there is to know of the disk, if the folder has marks."""
        return self._folder.room

    def room_for_bulk(self) -> int | None:
        """Bytes of bulk that may be written; None if there is no mark."""
        if self._folder.room is None:
            return None
        return self._folder.room.for_bulk(self._database.reusable(), self._database.log_growth())

    def renounce(self, disk: int) -> None:
        """Forget what consensus has persisted, and be a new disk from the next life on; slices and states stay."""
        self._database.despite_full_disk(partial(self._consensus.renounce, disk))

    def promise(self) -> Promise | None:
        """With whom this shard has promised to found a cluster. Raises `StoreError` for what makes no sense."""
        return self._promises.load()

    def keep_promise(self, promise: Promise) -> None:
        """In the place of an older one; durable when this returns."""
        self._promises.keep(promise)

    def raise_generation(self, generation: int) -> None:
        """See to it that the folder's next life is a later one than this."""
        statement = "UPDATE meta SET value = ? WHERE key = 'generation' AND CAST(value AS INTEGER) < ?"
        self._database.execute("raise the generation", statement, [(str(generation), generation)])

    # -- graphs ----------------------------------------------------------------------------------------------------

    def put_graph(self, load: str, graph: str, table: Buffer, header: bytes) -> None:
        """Keep what belongs to a load as a whole: the partition of each node, counts and types."""
        self.require(view(table).nbytes + len(header))
        self._graphs.put_graph(load, graph, table, header)

    def put_slice(self, load: str, partition: int, spec: bytes, frames: Sequence[Buffer]) -> None:
        """Write one partition of a load that has been put; held once it is sealed."""
        self.require(sum(view(frame).nbytes for frame in frames) + len(spec))
        self._graphs.put_slice(load, partition, spec, frames)

    def seal(self, load: str, partitions: Iterable[int]) -> None:
        """Hold these from now on, all of them or, if one is not whole (`NotHeld`), none."""
        self._graphs.seal(load, partitions)

    def graph(self, load: str) -> tuple[str, bytes, bytes]:
        """A load's graph, partition table and header; `NotHeld` if it is not here."""
        return self._graphs.graph(load)

    def slice(self, load: str, partition: int) -> tuple[bytes, list[bytes]]:
        """The spec and the frames of a partition; `NotHeld` if it is not held."""
        return self._graphs.slice(load, partition)

    def loads(self) -> dict[str, tuple[str, frozenset[int]]]:
        """Each load's graph and the partitions of it that are held."""
        return self._graphs.loads()

    def drop_slices(self, load: str, partitions: Iterable[int]) -> None:
        """Hold these no more."""
        self._graphs.drop_slices(load, partitions)

    def drop_load(self, load: str) -> None:
        """Forget a load and all that is held of it."""
        self._graphs.drop_load(load)

    # -- states ----------------------------------------------------------------------------------------------------

    def put_states(self, records: Sequence[StateRecord]) -> None:
        """Keep the states of checkpoint ticks, and delete those below each record's floor."""
        self.require(sum(record.size for record in records))
        self._states.put(records)

    def states_held(self) -> dict[int, dict[int, frozenset[int]]]:
        """Run to tick to partitions."""
        return self._states.held()

    def states_as_made(self) -> dict[int, dict[tuple[int, int], frozenset[int]]]:
        """Run to tick and the epoch in which it was made, to partitions."""
        return self._states.held_as_made()

    def states_of(self, run: int) -> dict[int, frozenset[int]]:
        """Of one run, tick to partitions."""
        return self._states.held_of(run)

    def state_ticks(self, run: int, partition: int) -> list[int]:
        """The ticks of a run whose state of a partition is here."""
        return self._states.ticks(run, partition)

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """A partition's state at a tick of a run, or None."""
        return self._states.state(run, tick, partition)

    def stamped_state(self, run: int, tick: int, partition: int) -> tuple[int, bytes] | None:
        """The same with the epoch in which it was made."""
        return self._states.stamped(run, tick, partition)

    def drop_void(self, run: int, is_void: Callable[[int, int], bool]) -> None:
        """Forget the states of a run of which `is_void` says so, given the epoch and the tick of each."""
        self._states.drop_void(run, is_void)

    def trim_run(self, run: int, tick: int) -> None:
        """Forget the states of a run that are older than a tick."""
        self._states.trim(run, tick)

    def drop_run(self, run: int) -> None:
        """Forget the states of a run."""
        self._states.drop(run)

    def relieve(self) -> None:
        """What was written is safe, and nobody waits: time to tidy up."""
        self._database.relieve()

    def sizes(self) -> dict[str, int]:
        """Bytes: of the files, of what in them is free for reuse, and of what is kept."""
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

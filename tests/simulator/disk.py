"""A simulated disk: the real data folder and the real store, on a file system in memory, with syncs that take time.

It has two writers, as a daemon has: one thread for what consensus persists, and one for everything else, one job at a
time; consecutive queued states share a sync. If the host goes down, a write in progress may or may not be on disk; of
states, which are many rows, some may be, and of a job with many transactions the first few. Queued writes are lost.

A disk can fail: then the next write fails, and its host must end. It can also lie: it reports a sync, and loses the
data at the next power cut. Tests use this to check that the invariants notice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from consensus import Persist, Stored
from daemon.control.versions import Version
from daemon.runtime.store_thread import StoreThread, _Job, _States
from daemon.store import DataFolder, NoRoom, Store, StoreFailed
from daemon.store.database import Turn
from daemon.store.folder import DATABASE
from daemon.store.high_water import FILE as HIGH_WATER
from tests.simulator.virtual_loop import VirtualLoop
from tests.simulator.world import MS, US

SNAPSHOTS_KEPT, SNAPSHOT_EVERY = 8, 16
LIE_ODDS = 0.02
CLUSTER = "sim"


class PowerCut(BaseException):
    """Raised when the power fails before this transaction."""


class SimTurn(Turn):
    """The holder of the turn writes a transaction; at a power cut, only `left` more complete."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    def __enter__(self) -> None:
        if self.left is not None:
            if not self.left:
                raise PowerCut
            self.left -= 1
        super().__enter__()


@dataclass(frozen=True)
class Image:
    """The contents of a disk at some time."""

    number: int
    life: int
    """The generation of its host at that time."""
    database: bytes
    high_water: bytes


class Disk:
    """A disk, which outlives its host. Call `open` for each life of the host, and `cut` when it ends."""

    def __init__(self, path: Path, name: str, random: Random, *, lies: bool = False) -> None:
        self.path, self.lies = path, lies
        self.sync_ns = (50 * US, 3 * MS)
        self.number = 0
        self.is_crowded, self.refusals = False, 0
        """Whether it has room only for decisions; and how often it refused bulk data for that reason."""
        self.stored: Stored | None = None
        """What consensus has persisted."""
        self.images: list[Image] = []
        """Images of synced contents, taken now and then; the disk can go back to one of them."""
        self._name, self._random = name, random
        self._life = self._syncs = self._went_back = 0
        self._truth: Image | None = None
        """The true contents of a disk that lies."""
        self._folder: DataFolder | None = None
        self._index: tuple[int, _Index] = (-1, _Index({}, {}))

    @property
    def identity(self) -> tuple[int, int]:
        """Changes when the disk is replaced or goes back, because its former contents may be gone then."""
        return self.number, self._went_back

    # -- lives -----------------------------------------------------------------------------------------------------

    def open(self, lives: int, version: Version) -> DataFolder:
        """Begins to serve a host of that version, in the life with that number."""
        folder = DataFolder(self.path, CLUSTER, self._name, lambda: lives, versions=(version.oldest, version.newest))
        self._turn = folder.turn = SimTurn()
        self._folder, self.has_failed = folder.open(), False
        self.number, self._life = folder.disk, folder.generation
        self._reader = Store(folder)
        self.threads: list[SimStoreThread] = []
        self.stores: list[Store] = []
        self.stored = self._reader.load_consensus()
        return folder

    def cut(self) -> None:
        """The host or the power is gone: a write in progress may have completed, queued ones are lost."""
        for thread in self.threads:
            thread.cut(self._turn, self._random)
        self._index = (-1, self._look())
        image = self._truth if self.lies else None
        self.close()
        if image is not None:
            self._put(image)

    def close(self) -> None:
        """Releases the folder, unchanged."""
        assert self._folder is not None
        for store in (self._reader, *self.stores):
            store.close()
        self._folder.close()
        self._folder = None

    def wipe(self) -> None:
        """Replaces the disk by another one, which is empty."""
        assert self._folder is None
        shutil.rmtree(self.path)
        self.number, self.stored, self.images, self._truth = 0, None, [], None
        self._went_back += 1
        self._index = (-1, _Index({}, {}))

    def go_back(self, image: Image, *, with_folder: bool) -> None:
        """Goes back to an earlier state: the whole folder, as a machine's snapshot does, or only the database."""
        assert self._folder is None
        self._went_back += 1
        self.number = image.number
        self._put(image)
        if with_folder:
            (self.path / HIGH_WATER).write_bytes(image.high_water)

    def _put(self, image: Image) -> None:
        for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
            (self.path / name).unlink(missing_ok=True)
        (self.path / DATABASE).write_bytes(image.database)
        self._index = (-1, _peek(self.path))

    def _image(self) -> Image:
        connection = self._reader._database.connection
        return Image(self.number, self._life, connection.serialize(), (self.path / HIGH_WATER).read_bytes())

    # -- writing ---------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether the next write fails."""
        return self._is_full

    _is_full = has_failed = False

    @is_full.setter
    def is_full(self, is_full: bool) -> None:
        self._is_full = is_full
        if self._folder is not None and is_full:
            self._turn.failure = StoreFailed(f"{self.path}: the disk fails")
            self.has_failed = True

    def latency(self) -> int:
        """Returns how long this sync takes."""
        return self._random.randint(*self.sync_ns)

    def synced(self) -> None:
        """Records that something is durable."""
        self._syncs += 1
        if self._syncs % SNAPSHOT_EVERY == 0:
            self.images = [*self.images[-SNAPSHOTS_KEPT + 1 :], self._image()]
        if self.lies and (self._truth is None or self._random.random() < LIE_ODDS):
            self._truth = self._image()

    # -- inspection ------------------------------------------------------------------------------------------------

    def ticks_held(self, run: int) -> Mapping[int, frozenset[int]]:
        """Returns one run's partitions by tick."""
        return self._look().states.get(run, {})

    def states_held(self) -> Mapping[int, Mapping[int, frozenset[int]]]:
        """Returns the partitions by run and tick."""
        return self._look().states

    def loads(self) -> Mapping[str, frozenset[int]]:
        """Returns the partitions held, by load."""
        return self._look().loads

    def has_state(self, run: int, tick: int, partition: int) -> bool:
        return partition in self.ticks_held(run).get(tick, ())

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """Returns one state, or None if it is not here; only while its host is up."""
        return self._reader.state(run, tick, partition)

    def slice(self, load: str, partition: int) -> tuple[bytes, list[bytes]]:
        """Returns the bytes of a partition; only while its host is up."""
        return self._reader.slice(load, partition)

    def _look(self) -> _Index:
        if self._folder is None:
            return self._index[1]
        version = self._version()
        if self._index[0] != version:
            self._index = (version, _indexed(self._reader))
        return self._index[1]

    def _version(self) -> int:
        ((version,),) = self._reader._database.connection.execute("PRAGMA data_version").fetchall()
        return int(version)


@dataclass(frozen=True)
class _Index:
    states: Mapping[int, Mapping[int, frozenset[int]]]
    loads: Mapping[str, frozenset[int]]


def _indexed(store: Store) -> _Index:
    loads = {load: partitions for load, (_, partitions) in store.loads().items()}
    return _Index(store.states_held(), loads)


def _peek(path: Path) -> _Index:
    """Reads a folder that nobody has open."""
    folder = DataFolder(path, CLUSTER, "")
    folder.disk = 0
    store = Store(folder)
    try:
        return _indexed(store)
    finally:
        store.close()


class SimStore(Store):
    """A connection that belongs to the disk's current life."""

    def __init__(self, folder: DataFolder, disk: Disk) -> None:
        super().__init__(folder)
        self._disk = disk
        disk.stores.append(self)

    def require(self, nbytes: int) -> None:
        if self._disk.is_crowded:
            self._disk.refusals += 1
            raise NoRoom(f"{self._disk.path} has no room for {nbytes} bytes more")
        super().require(nbytes)

    def persist(self, persist: Persist) -> None:
        super().persist(persist)
        self._disk.stored = persist.onto(self._disk.stored or Stored())

    def renounce(self, disk: int) -> None:
        super().renounce(disk)
        self._disk.stored = None


class SimStoreThread(StoreThread):
    """The store's thread without a thread: each job, or row of states, takes as long as a sync."""

    def __init__(
        self, folder: DataFolder, disk: Disk, loop: VirtualLoop, failed: Callable[[BaseException], None]
    ) -> None:
        super().__init__(folder, failed)
        self._store = SimStore(folder, disk)
        disk.threads.append(self)
        self._disk, self._life, self._loop = disk, loop.life, loop
        self._is_busy = False

    def start(self) -> None:
        """Does nothing: there is nothing to start."""

    def _add(self, work: Any) -> None:
        super()._add(work)
        self._go_on()

    def wait_until_idle(self) -> None:
        """Blocks the loop: nothing happens there until all jobs are done."""
        if self._is_busy:
            self._loop.block()

    def _go_on(self) -> None:
        if not self._is_busy and self._work and not self._over:
            self._is_busy = True
            self._in_hand = self._take()
            self._life.after(self._disk.latency(), self._done)

    def _done(self) -> None:
        self._is_busy = False
        try:
            self._do(self._store)
        except Exception as error:
            self._fail(error)
        else:
            self._disk.synced()
            self._go_on()
        if not self._is_busy:
            self._loop.unblock()

    def cut(self, turn: SimTurn, random: Random) -> None:
        """The power fails: some of the work in progress is completed."""
        work, self._in_hand = self._in_hand, []
        states = [item for item in work if isinstance(item, _States)]
        rows = [(item.record, partition) for item in states for partition in item.record.states]
        kept = rows[: random.randint(0, len(rows))]
        turn.left = random.randint(0, 2) if not states else None
        try:
            self._store.put_states([replace(record, states={p: record.states[p]}) for record, p in kept])
            for job in [item for item in work if isinstance(item, _Job)]:
                job.do(self._store)
        except (PowerCut, StoreFailed):
            pass
        finally:
            turn.left = None

"""Room on a disk: what is refused before it is written, what a write that finds none leaves behind, and the reserve."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos.disks import FILLER, SmallDisk, why_not
from consensus import HardState
from consensus.effects import Persist
from consensus.stored import Entry
from daemon.control.bootstrap import Promise
from daemon.state.commands import Identity
from daemon.store import DataFolder, Marks, NoRoom, StateRecord, Store, StoreError
from daemon.store.database import Database
from daemon.store.room import RESERVE, Room
from daemon.store.schema import TABLE_PARTITION

MB = 1 << 20
MARKS = Marks(warn=20 * MB, refuse=10 * MB, reserve=4 * MB)


class Disk:
    """What statvfs says."""

    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free

    def __call__(self, path: object) -> SimpleNamespace:
        return SimpleNamespace(f_blocks=self.total, f_bavail=self.free, f_frsize=1)


@pytest.mark.parametrize(
    ("free", "reusable", "log_growth", "bulk"),
    [
        (1000, 0, 0, 990),
        (1000, 0, 100, 890),
        (1000, 50, 100, 940),  # what is free within the database is written first
        (10, 0, 0, 0),
        (10, 50, 0, 50),  # at the mark the database may still be filled
        (6, 50, 0, 50),
        (6, 50, 2, 0),  # but the log of it must not take what is left
        (4, 50, 0, 0),
        (0, 0, 0, 0),
    ],
)
def test_what_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, reusable: int, log_growth: int, bulk: int
) -> None:
    monkeypatch.setattr(os, "statvfs", Disk(100_000 * MB, free * MB))
    room = Room(tmp_path, MARKS)
    assert room.for_bulk(reusable * MB, log_growth * MB) == bulk * MB * 16 // 17


def test_what_is_over_it_is_refused_in_words_that_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "statvfs", Disk(1000 * MB, 30 * MB))
    room = Room(tmp_path, MARKS)
    room.require(18 * MB, 0, 0)
    with pytest.raises(NoRoom, match=r"no room for 19922944 bytes more.*storage.refuse_free.*drop graphs"):
        room.require(19 * MB, 0, 0)
    with pytest.raises(NoRoom):
        room.require(1, 0, 20 * MB)  # what the log will need is not free


@pytest.mark.parametrize(
    ("total", "warn", "refuse", "log"), [(64, 12.8, 6.4, 8), (1 << 20, 20, 10, 96), (4, 0.8, 0.4, 1)]
)
def test_marks_fit_a_small_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total: int, warn: float, refuse: float, log: int
) -> None:
    monkeypatch.setattr(os, "statvfs", Disk(total * MB, total * MB))
    room = Room(tmp_path, MARKS)
    assert (room.warn, room.refuse, room.log_bytes(96 * MB)) == (int(warn * MB), int(refuse * MB), log * MB)


# -- on a disk of its own ----------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if why_not():
        pytest.skip(why_not())
    folder = tmp_path / "data"
    folder.mkdir()
    small = SmallDisk(folder, 32 * MB)
    yield small
    small.close()


def opened(disk: SmallDisk) -> DataFolder:
    return DataFolder(disk.folder, "demo", "a", marks=Marks()).open()


def term_of(store: Store) -> int:
    stored = store.load_consensus()
    assert stored is not None
    return stored.hard_state.term


def fill_with_bulk(store: Store) -> int:
    """Loads of a megabyte until one is refused; how many there were."""
    for number in range(100):
        try:
            store.put_graph(f"load-{number}", "web", os.urandom(MB), b"")
        except NoRoom:
            return number
    raise AssertionError("nothing was refused")


def test_bulk_is_refused_at_the_mark_and_decisions_go_on(disk: SmallDisk) -> None:
    with opened(disk) as folder:
        store, room = Store(folder), folder.room
        assert room is not None
        loads = fill_with_bulk(store)
        assert loads > 10
        assert room.free > room.refuse // 2
        with pytest.raises(NoRoom):
            store.put_states([StateRecord(1, 1, 0, {0: bytes(8 * MB)})])
        store.persist(Persist(HardState(1)))
        for number in range(loads):
            store.drop_load(f"load-{number}")
        assert fill_with_bulk(store) >= loads - 1, "what was dropped made room"
        store.close()


def test_what_is_dropped_makes_room_also_after_a_start_which_cuts_the_log(disk: SmallDisk) -> None:
    with opened(disk) as folder:
        store = Store(folder)
        loads = fill_with_bulk(store)
        store.close()
    with opened(disk) as folder:
        store = Store(folder)
        for number in range(loads):
            store.drop_load(f"load-{number}")
        store.close()
    with opened(disk) as folder:
        store = Store(folder)
        assert fill_with_bulk(store) >= loads - 1
        store.close()


def test_a_disk_that_somebody_else_fills_costs_no_write_that_was_done_and_the_reserve_is_for_decisions(
    disk: SmallDisk,
) -> None:
    with opened(disk) as folder:
        store = Store(folder)
        store.put_graph("load", "web", os.urandom(MB), b"")
        disk.fill()
        assert (disk.folder / RESERVE).exists()
        for term in range(1, 400):  # many times what the log has room for, with the reserve and without
            store.persist(Persist(HardState(term)))
        assert term_of(store) == 399
        assert not (disk.folder / RESERVE).exists()
        with pytest.raises(NoRoom):
            store.put_graph("other", "web", b"table", b"")
        assert list(store.loads()) == ["load"]
        store.close()


def test_a_full_disk_can_be_opened_and_emptied_and_has_a_reserve_again_once_there_is_room(disk: SmallDisk) -> None:
    with opened(disk) as folder:
        store = Store(folder)
        loads = fill_with_bulk(store)
        store.persist(Persist(HardState(7)))
        store.close()
    disk.fill()
    with opened(disk) as folder:
        store = Store(folder)
        assert term_of(store) == 7
        store.drop_load("load-0")
        assert len(store.loads()) == loads - 1
        store.close()
    disk.clear()
    with opened(disk) as folder:
        assert folder.room is not None
        assert folder.room.keep_reserve()
        assert not folder.forgot


def test_a_start_with_nothing_free_and_no_reserve_says_so_and_needs_only_a_little_room(disk: SmallDisk) -> None:
    with opened(disk) as folder:
        store = Store(folder)
        store.persist(Persist(HardState(7)))
        assert folder.room is not None
        folder.room.let_go()
        store.close()
    disk.fill()
    with pytest.raises(StoreError, match=r"the disk is full.*\(0 bytes free\); make room"):
        opened(disk)
    os.truncate(disk.folder / FILLER, os.path.getsize(disk.folder / FILLER) - MB)
    with opened(disk) as folder:
        store = Store(folder)
        assert term_of(store) == 7
        for term in range(8, 100):
            store.persist(Persist(HardState(term)))
        store.close()


SMALL_WRITES: dict[str, Callable[[Store], None]] = {
    "a decision": lambda store: store.persist(Persist(HardState(10_000))),
    "a promise": lambda store: store.keep_promise(Promise(1, (Identity("a", 1),))),
    "the generation": lambda store: store.raise_generation(1 << 62),
    "another disk": lambda store: store.renounce(7),
    "a load": lambda store: store.drop_load("load-0"),
    "a slice": lambda store: store.drop_slices("load-0", [TABLE_PARTITION]),
    "a run": lambda store: store.drop_run(1),
    "void states": lambda store: store.drop_void(1, lambda epoch, tick: True),
    "old states": lambda store: store.trim_run(1, 2),
}
"""What is a few pages, or gives up more than it takes: none may end a daemon whose disk is full."""


@pytest.mark.parametrize("what", SMALL_WRITES)
def test_small_writes_are_done_on_a_full_disk_without_a_reserve(disk: SmallDisk, what: str) -> None:
    """At every length that the write-ahead log may have when somebody else fills the disk."""
    with opened(disk) as folder:
        store = Store(folder)
        store.put_states([StateRecord(1, 1, 0, {0: os.urandom(MB)})])
        fill_with_bulk(store)
        store.close()
    with opened(disk) as folder:  # the log is short again
        store = Store(folder)
        assert folder.room is not None
        folder.room.let_go()
        for term in range(1, 100):
            store.persist(Persist(HardState(term)))
            if term % 7 == 0:
                disk.fill()
                SMALL_WRITES[what](store)
                disk.clear()
        store.close()


def test_decisions_go_on_for_long_once_somebody_else_has_filled_the_disk(disk: SmallDisk) -> None:
    """The write-ahead log takes no more of the reserve than the decisions themselves."""
    with opened(disk) as folder:
        store = Store(folder)
        assert folder.room is not None
        assert (disk.folder / RESERVE).stat().st_size < 2 * MB
        disk.fill()
        for index in range(1, 2001):
            store.persist(Persist(entries=(Entry(index, 1, bytes(150)),)))
        assert folder.room.free < 2 * MB
        disk.clear()
        before = store._database.log_growth()
        for index in range(2001, 2101):
            store.persist(Persist(entries=(Entry(index, 1, bytes(150)),)))
        assert store._database.log_growth() < before - MB, "the log may be long again"
        store.close()


@pytest.mark.parametrize("size", [100, 256 << 10, 3 * MB])
def test_a_snapshot_that_finds_no_room_leaves_the_reserve_to_decisions_and_to_the_next_start(
    disk: SmallDisk, size: int
) -> None:
    """The log is then not compacted, which can wait; a start on a full disk needs the reserve."""
    with opened(disk) as folder:
        store = Store(folder)
        store.persist(Persist(HardState(1)))
        disk.fill()
        with suppress(NoRoom):
            for index in range(1, 100):
                store.stage_snapshot(index, iter([os.urandom(size)] * 3))
        assert (disk.folder / RESERVE).exists()
        with pytest.raises(NoRoom):
            store.stage_snapshot(100, iter([os.urandom(MB)] * 8))
        assert (disk.folder / RESERVE).exists()
        store.persist(Persist(HardState(2)))
        store.close()
    disk.fill()
    with opened(disk) as folder:
        store = Store(folder)
        assert term_of(store) == 2
        store.close()


def test_what_is_dropped_may_take_more_of_the_log_than_there_is_room_for(disk: SmallDisk) -> None:
    """As long as each attempt frees something, there is another one."""
    slices = range(500)
    with opened(disk) as folder:
        store = Store(folder)
        store.put_graph("load", "web", b"table", b"")
        for partition in slices:
            store.put_slice("load", partition, b"spec", [b"edges"])
        store.seal("load", [TABLE_PARTITION, *slices])
        store.close()
    with opened(disk) as folder:
        store = Store(folder)
        disk.fill()
        store.drop_slices("load", slices)
        assert store.loads() == {"load": ("web", frozenset())}
        store.close()


def test_a_decision_on_a_full_disk_waits_for_a_checkpoint_that_another_thread_is_making(disk: SmallDisk) -> None:
    """SQLite would not wait for it, and the log would not be moved."""
    with opened(disk) as folder:
        store, over = Store(folder), threading.Event()
        assert folder.room is not None
        folder.room.let_go()
        store.persist(Persist(HardState(1)))
        disk.fill()

        def checkpoint() -> None:
            other = Database(folder.database_path, folder.turn)
            while not over.is_set():
                other.checkpoint("PASSIVE")
            other.close()

        thread = threading.Thread(target=checkpoint)
        thread.start()
        try:
            for term in range(2, 2000):
                store.persist(Persist(HardState(term)))
        finally:
            over.set()
            thread.join()
        store.close()


def test_a_decision_on_a_full_disk_waits_for_those_who_read_the_log(disk: SmallDisk) -> None:
    """What somebody still reads can't be overwritten."""
    with opened(disk) as folder:
        store = Store(folder)
        assert folder.room is not None
        folder.room.let_go()
        store.persist(Persist(HardState(1)))
        reader = sqlite3.connect(folder.database_path, isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN").execute("SELECT count(*) FROM meta").fetchall()
        store.persist(Persist(HardState(2)))
        disk.fill()
        stop_reading = threading.Timer(0.1, reader.execute, ["ROLLBACK"])
        stop_reading.start()
        for term in range(3, 50):
            store.persist(Persist(HardState(term)))
        stop_reading.join()
        reader.close()
        store.close()


def test_a_reserve_that_was_left_half_way_is_completed(disk: SmallDisk) -> None:
    (disk.folder / RESERVE).touch()
    room = Room(disk.folder, Marks())
    assert room.keep_reserve()
    assert (disk.folder / RESERVE).stat().st_size == room.total // 20


def test_a_write_that_finds_no_room_leaves_nothing_of_it_and_the_store_goes_on(disk: SmallDisk) -> None:
    """Without marks, as a backup is written."""
    with DataFolder(disk.folder, "demo", "a").open() as folder:
        store = Store(folder)
        store.put_states([StateRecord(1, 1, 0, {0: b"one"})])
        with pytest.raises(NoRoom, match="the disk is full"):
            store.put_states([StateRecord(1, 2, 0, {0: bytes(40 * MB)})])
        assert store.states_held() == {1: {1: frozenset({0})}}
        store.put_states([StateRecord(1, 2, 0, {0: b"two"})])
        assert store.state(1, 2, 0) == b"two"
        store.close()

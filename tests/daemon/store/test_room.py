"""Room on a disk: what is refused before it is written, what a write that finds none leaves behind, and the reserve."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos.disks import SmallDisk, why_not
from consensus import HardState
from consensus.effects import Persist
from daemon.store import DataFolder, Marks, NoRoom, StateRecord, Store
from daemon.store.room import RESERVE, Room

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

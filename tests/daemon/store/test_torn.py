"""Bytes flipped, overwritten or cut off anywhere in the files: a sentence for the operator, never another exception.

What is handed out nevertheless is what was written: every record has a checksum, and is either right or refused.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot, Stored
from daemon.store import DataFolder, StateRecord, Store, StoreError, StoreFailed

FRAMES = [bytes(range(256)) * 20, Random(1).randbytes(9000), b""]
STATE = Random(2).randbytes(6000)
BEGUN = Stored(
    HardState(2, "a"),
    Snapshot(1, 1, Configuration.of(["a"]), (b"begun",)),
    tuple(Entry(index, 2, Random(index).randbytes(300)) for index in range(2, 30)),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with something in every table, as a killed process leaves it: half of it still in the log."""
    path = tmp_path_factory.mktemp("whole") / "data"
    with DataFolder(path, "demo", "a").open() as folder:
        store = Store(folder)
        store.persist(Persist(BEGUN.hard_state, BEGUN.snapshot, None, BEGUN.entries[:20]))
        store.put_graph("l", "g", bytes(5000), b"header")
        for partition in range(8):
            store.put_slice("l", partition, b"spec", FRAMES)
        store.seal("l", range(8))
        store.close()
        store = Store(folder)
        store.persist(Persist(entries=BEGUN.entries[20:]))
        for tick in (1, 2, 3):
            store.put_states([StateRecord(1, tick, tick - 1, dict.fromkeys(range(8), STATE))])
        copy = path.with_name("killed")
        shutil.copytree(path, copy)
        store.close()
    return copy


def damage(path: Path, random: Random) -> None:
    """One to a few kinds of damage, to the database or to its log."""
    for _ in range(random.randint(1, 3)):
        file = path / random.choice(["shoal.db", "shoal.db", "shoal.db-wal", "shoal.db-shm"])
        if not file.exists() or file.stat().st_size == 0:
            continue
        size = file.stat().st_size
        draw = random.random()
        with file.open("r+b") as out:
            if draw < 0.15:
                os.ftruncate(out.fileno(), random.randrange(size))
            elif draw < 0.3:
                out.seek(random.randrange(size) & ~4095)
                out.write(random.choice([bytes(4096), random.randbytes(4096)]))
            else:  # page headers and the first page are where it hurts
                for _ in range(random.randint(1, 20)):
                    page = 0 if random.random() < 0.3 else random.randrange(size) & ~4095
                    out.seek(
                        min(
                            size - 1,
                            page + (random.randrange(120) if random.random() < 0.6 else random.randrange(4096)),
                        )
                    )
                    out.write(random.randbytes(1))


def use(folder: DataFolder) -> None:
    """Everything that can be asked and written; what comes back must be right."""
    store = Store(folder)
    try:
        stored = store.load_consensus()
        # A cut log is like a crash: the last writes are gone, which no file can tell.
        if stored is not None:
            assert stored.snapshot in (BEGUN.snapshot, Snapshot())
            assert stored.entries == BEGUN.entries[: len(stored.entries)]
        for load, (graph, partitions) in store.loads().items():
            assert (load, graph) == ("l", "g")
            assert store.graph(load) == ("g", bytes(5000), b"header")
            for partition in partitions:
                assert store.slice(load, partition) == (b"spec", FRAMES)
        for run, ticks in store.states_held().items():
            for tick, partitions in ticks.items():
                assert all(store.state(run, tick, partition) in (STATE, None) for partition in partitions)
        store.sizes()
        store.persist(Persist(HardState(9), truncate_from=25))
        store.put_states([StateRecord(1, 9, 8, dict.fromkeys(range(8), STATE))])
        store.put_graph("m", "g", bytes(9000), b"")
        store.put_slice("m", 0, b"", FRAMES)
        store.seal("m", [0])
        store.drop_slices("l", range(4))
        store.drop_load("l")
        store.drop_run(1)
    finally:
        store.close()


@pytest.mark.parametrize("block", range(8))
def test_damage_anywhere_is_an_error_in_words(whole: Path, tmp_path: Path, block: int) -> None:
    told = []
    for seed in range(block * 12, block * 12 + 12):
        path = tmp_path / str(seed)
        shutil.copytree(whole, path)
        damage(path, Random(seed))
        try:
            with DataFolder(path, "demo", "a").open() as folder:
                use(folder)
        except (StoreError, StoreFailed) as error:
            told.append(str(error))
        shutil.rmtree(path)
    assert told
    assert all(str(tmp_path) in text for text in told)


def test_undamaged_nothing_is_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    with DataFolder(tmp_path / "copy", "demo", "a").open() as folder:
        store = Store(folder)
        assert store.load_consensus() == BEGUN
        store.close()
        use(folder)


def test_a_torn_table_whose_name_is_no_text_any_more(whole: Path, tmp_path: Path) -> None:
    """SQLite quotes the name in its error, and Python's sqlite3 fails to decode that."""
    shutil.copytree(whole, tmp_path / "copy")
    database = tmp_path / "copy" / "shoal.db"
    content = database.read_bytes()
    database.write_bytes(
        content.replace(b"loadload", b"lo\xced\xff\xce\xced").replace(b"CREATE TABLE load", b"CREATE TABLE \xce\xff(")
    )
    with pytest.raises(StoreError, match="move the folder away"):
        DataFolder(tmp_path / "copy", "demo", "a").open()

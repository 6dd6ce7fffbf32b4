"""What consensus persists: the database does what `Persist.onto` says, and refuses rows that make no sense."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.log import Log
from consensus.stored import Entry, HardState, Snapshot, Stored
from daemon.store import DataFolder, Store, StoreError
from daemon.store.consensus import RECORDS
from daemon.wire import Codec

BOTH = Configuration.of(["a/1", "b/2"])
BEGUN = Stored(
    HardState(3, "b/2"),
    Snapshot(4, 1, BOTH, (b"state",)),
    (Entry(5, 2, b"command"), Entry(6, 3), Entry(7, 3, b"", Configuration.of(["a/1"], ["b/2"]))),
)


class Disk:
    """A folder that can be opened again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.folder = DataFolder(self.path, "demo", "a").open()
        self.store = Store(self.folder)

    def close(self) -> None:
        self.store.close()
        self.folder.close()

    def reopen(self) -> None:
        self.close()
        self._open()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def whole(stored: Stored) -> Persist:
    return Persist(stored.hard_state, stored.snapshot, None, stored.entries)


def test_nothing_persisted_is_none_and_an_empty_persist_changes_nothing(disk: Disk) -> None:
    assert disk.store.load_consensus() is None
    disk.store.persist(Persist())
    assert disk.store.load_consensus() is None


def test_what_was_persisted_is_loaded(disk: Disk) -> None:
    disk.store.persist(whole(BEGUN))
    disk.reopen()
    assert disk.store.load_consensus() == BEGUN


@pytest.mark.parametrize(
    "persist",
    [
        Persist(hard_state=HardState(9, None)),
        Persist(snapshot=Snapshot(6, 3, BOTH, (b"later",))),
        Persist(snapshot=Snapshot(90, 3, BOTH, (b"a leader's",)), truncate_from=5),
        Persist(truncate_from=6),
        Persist(truncate_from=6, entries=(Entry(6, 3, b"other"), Entry(7, 3, b"another"))),
        Persist(entries=(Entry(8, 3, b"next"),)),
        Persist(HardState(4, "a/1"), Snapshot(5, 2, BOTH), 7, (Entry(7, 4, b"all at once"),)),
    ],
)
def test_each_part_of_a_persist(disk: Disk, persist: Persist) -> None:
    disk.store.persist(whole(BEGUN))
    disk.store.persist(persist)
    assert disk.store.load_consensus() == persist.onto(BEGUN)


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_of_a_real_log_equal_the_specification(disk: Disk, seed: int) -> None:
    random = Random(seed)
    model = Stored.bootstrap(Configuration.of(["a/1"]), [b"begun"])
    disk.store.persist(whole(model))
    log, hard_state = Log(model.snapshot), model.hard_state
    for _ in range(60):
        hard_state = _change(log, hard_state, random)
        persist = log.take_unsaved(hard_state if random.random() < 0.8 or hard_state.term > 1 else None)
        log.validate()
        if persist is not None and random.random() < 0.9:
            disk.store.persist(persist)
            model = persist.onto(model)
        else:  # the process died before it was carried out
            log, hard_state = Log(model.snapshot, model.entries), model.hard_state
        if random.random() < 0.1:
            disk.reopen()
            assert disk.store.load_consensus() == model
            log, hard_state = Log(model.snapshot, model.entries), model.hard_state
    assert disk.store.load_consensus() == model


def _change(log: Log, hard_state: HardState, random: Random) -> HardState:
    """Some of what a server's log goes through: its own entries, a leader's, a snapshot of its own or a leader's."""
    for _ in range(random.randint(0, 3)):
        term = max(hard_state.term, log.last_term)
        draw = random.random()
        if draw < 0.3:
            term += random.randint(0, 1)
            hard_state = HardState(term, random.choice([None, "a/1", "b/2"]))
        elif draw < 0.6:
            configuration = BOTH if random.random() < 0.2 else None
            log.append(Entry(log.last_index + 1, term, random.randbytes(random.randint(0, 50)), configuration))
        elif draw < 0.75 and log.last_index > log.snapshot.index:
            first = random.randint(log.snapshot.index + 1, log.last_index)
            log.merge([Entry(first + step, term + 1, b"leader's") for step in range(random.randint(1, 4))])
            hard_state = HardState(term + 1)
        elif draw < 0.9 and log.last_index > log.snapshot.index:
            log.compact(
                random.randint(log.snapshot.index + 1, log.last_index),
                tuple(random.randbytes(20) for _ in range(random.randint(0, 3))),
            )
        elif draw >= 0.9:
            log.restore(Snapshot(log.last_index + random.randint(1, 9), term, BOTH, (b"leader's",)))
    return hard_state


CHUNKS = tuple(Random(1).randbytes(1 << 18) for _ in range(64))


def _chunk_rows(disk: Disk) -> list[tuple[int, int]]:
    """At which index, and how many."""
    with closing(sqlite3.connect(disk.folder.database_path)) as database:
        return database.execute("SELECT position, count(*) FROM consensus_chunk GROUP BY position").fetchall()


def test_a_snapshot_of_many_megabytes(disk: Disk) -> None:
    disk.store.persist(Persist(HardState(1), Snapshot(1, 1, BOTH, CHUNKS)))
    stored = disk.store.load_consensus()
    assert stored is not None
    assert stored.snapshot.chunks == CHUNKS


def test_a_snapshot_that_was_staged_is_not_written_again(disk: Disk) -> None:
    disk.store.persist(whole(BEGUN))
    assert disk.store.stage_snapshot(6, iter(CHUNKS)) == CHUNKS
    assert disk.store.load_consensus() == BEGUN, "it is not in force"
    connection = disk.store._database.connection
    before = connection.total_changes
    disk.store.persist(Persist(snapshot=Snapshot(6, 3, BOTH, CHUNKS)))
    assert connection.total_changes - before < 6
    stored = disk.store.load_consensus()
    assert stored is not None
    assert (stored.snapshot.index, stored.snapshot.chunks) == (6, CHUNKS)
    disk.store.stage_snapshot(7, iter([b"next"]))
    assert _chunk_rows(disk) == [(6, 64), (7, 1)], "the one before that in force is gone"


def test_what_was_staged_and_is_another_snapshot_is_replaced(disk: Disk) -> None:
    disk.store.persist(whole(BEGUN))
    disk.store.stage_snapshot(6, iter([b"state", b"of", b"mine"]))
    disk.reopen()
    disk.store.persist(Persist(snapshot=Snapshot(6, 3, BOTH, (b"state", b"of", b"a leader"))))
    stored = disk.store.load_consensus()
    assert stored is not None
    assert stored.snapshot.chunks == (b"state", b"of", b"a leader")


def test_consensus_goes_on_while_a_snapshot_is_staged(disk: Disk) -> None:
    """Each piece of it is a transaction of its own."""
    disk.store.persist(whole(BEGUN))

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate(CHUNKS):
            disk.store.persist(Persist(HardState(100 + number)))
            yield chunk

    disk.store.stage_snapshot(6, chunks())
    stored = disk.store.load_consensus()
    assert stored is not None
    assert stored.hard_state == HardState(163)


def test_a_new_disk_has_no_snapshot_of_the_old_one(disk: Disk) -> None:
    disk.store.persist(whole(BEGUN))
    disk.store.stage_snapshot(6, iter([b"more"]))
    disk.store.renounce(5)
    assert _chunk_rows(disk) == []


def _record(part: object) -> tuple[int, bytes]:
    (record,) = Codec("consensus", RECORDS).encode(0, "disk", 0, part)
    return crc32(bytes(record)), bytes(record)


def _put_entry(entry: Entry, position: int | None = None) -> Callable[[sqlite3.Connection], object]:
    row = (entry.index if position is None else position, *_record(entry))
    return lambda connection: connection.execute("INSERT OR REPLACE INTO consensus_log VALUES (?, ?, ?)", row)


def _put_part(name: str, part: object) -> Callable[[sqlite3.Connection], object]:
    row = (name, *_record(part))
    return lambda connection: connection.execute("INSERT OR REPLACE INTO consensus_state VALUES (?, ?, ?)", row)


def _run(statement: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(statement)


NONSENSE: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a gap": _put_entry(Entry(9, 3)),
    "an entry behind the snapshot": _put_entry(Entry(4, 1)),
    "an entry that is lost": _run("DELETE FROM consensus_log WHERE position = 6"),
    "an entry elsewhere": _put_entry(Entry(9, 3), 8),
    "terms that fall": _put_entry(Entry(8, 2)),
    "a term above the current one": _put_entry(Entry(8, 4)),
    "the lost hard state": _run("DELETE FROM consensus_state WHERE part = 'hard state'"),
    "the lost snapshot": _run("DELETE FROM consensus_state WHERE part = 'snapshot'"),
    "an unsound configuration": _put_entry(Entry(8, 3, b"", Configuration(("b", "a")))),
    "an unsound snapshot": _put_part("snapshot", Snapshot(4, 1, Configuration(("b", "a")), (b"state",)).header),
    "a negative index": _put_part("snapshot", Snapshot(-1, 1, BOTH, (b"state",)).header),
    "a chunk that is lost": _run("DELETE FROM consensus_chunk"),
    "a chunk too many": _run("INSERT INTO consensus_chunk VALUES (9, 4, 1, 0, x'')"),
    "a chunk's checksum": _run("UPDATE consensus_chunk SET crc = crc + 1"),
    "a chunk of a wrong type": _run("UPDATE consensus_chunk SET bytes = 'text'"),
    "a digest of other chunks": _put_part("snapshot", Snapshot(4, 1, BOTH, (b"stat", b"e")).header),
    "an unknown part": _put_part("third", HardState()),
    "a part in another's place": _put_part("snapshot", HardState()),
    "a wrong checksum": _run("UPDATE consensus_log SET crc = crc + 1 WHERE position = 5"),
    "no record": _run("UPDATE consensus_log SET record = 'text' WHERE position = 5"),
    "nothing decodable": lambda connection: connection.execute(
        "UPDATE consensus_log SET record = ?, crc = ? WHERE position = 5", (b"\xc1", crc32(b"\xc1"))
    ),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_rows_that_make_no_sense_are_refused(disk: Disk, what: str) -> None:
    disk.store.persist(whole(BEGUN))
    connection = sqlite3.connect(disk.folder.database_path)
    NONSENSE[what](connection)
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"make no sense.*move the folder away"):
        disk.store.load_consensus()


def test_rows_of_another_version_are_no_torn_ones(disk: Disk) -> None:
    """Whoever took them for damage would move away what an upgrade could read."""
    disk.store.persist(whole(BEGUN))
    connection = sqlite3.connect(disk.folder.database_path)
    ((record,),) = connection.execute("SELECT record FROM consensus_log WHERE position = 5").fetchall()
    later = record[:1] + b"\x09" + record[2:]
    connection.execute("UPDATE consensus_log SET record = ?, crc = ? WHERE position = 5", (later, crc32(later)))
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"written by another version of Shoal .*it is 9.*start that version again"):
        disk.store.load_consensus()

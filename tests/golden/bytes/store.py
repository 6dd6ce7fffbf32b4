"""A data folder: its tables, a row of everything in them, and the file next to them."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgpack

from consensus.effects import Persist
from consensus.stored import HardState, Snapshot
from daemon.store import DataFolder, NotHeld, StateRecord, Store, high_water
from daemon.store.consensus import RECORDS
from daemon.store.folder import DATABASE, FOLDER_MODE
from daemon.store.schema import FORMAT
from daemon.wire.version import NEWEST
from tests.golden.bytes.control import ENTRIES, SERVERS
from tests.golden.bytes.registry import PROMISE
from tests.golden.bytes.section import Section, same
from tests.golden.golden_file import Entries, Entry

CLUSTER, SHARD, DISK = "harbour", "alpha", 1_700_000_000_000_000_040
HARD = HardState(term=9, vote="beta/41")
SNAPSHOT = Snapshot(index=40, term=7, configuration=SERVERS, chunks=(b"snap", b"shot"))
LOAD, GRAPH, TABLE, HEADER = "load-1", "web", b"\x00\x01\x00\x01", msgpack.packb({"partitions": 2})
SLICE = (b"spec", [b"frame 1", b"", b"frame three"])
STATES = StateRecord(run=7, tick=30, floor=20, states={0: b"zero", 1: b"one"}, older=1, epoch=4)
PRAGMAS = ("application_id", "user_version", "page_size", "journal_mode", "encoding")
BLOB: Final = "hex:"


def fill(store: Store) -> None:
    """Stores one of everything that a store can keep for a graph and its runs."""
    store.put_graph(LOAD, GRAPH, TABLE, HEADER)
    store.put_slice(LOAD, 1, *SLICE)
    store.seal(LOAD, [1])
    store.put_states([STATES])


def make() -> Entries:
    """Writes to a new folder, and returns its contents row by row."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        path = Path(at) / "data"
        with DataFolder(path, CLUSTER, SHARD, lambda: DISK).open() as folder:
            store = Store(folder)
            store.keep_promise(PROMISE)
            store.persist(Persist(hard_state=HARD, snapshot=SNAPSHOT, entries=ENTRIES))
            fill(store)
            store.put_slice(LOAD, 0, b"not sealed", [b"yet"])
            store.raise_generation(DISK + 5)
            store.close()
        water = (path / high_water.FILE).read_bytes()
        return {**rows_of(path / DATABASE), f"file {high_water.FILE}": {"hex": water.hex()}}


def check(entries: Entries) -> None:
    """Opens a folder with the pinned rows and asserts that everything is there."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        path = Path(at) / "data"
        path.mkdir(mode=FOLDER_MODE)
        build(path / DATABASE, entries)
        (path / high_water.FILE).write_bytes(bytes.fromhex(entries[f"file {high_water.FILE}"]["hex"]))
        with DataFolder(path, CLUSTER, SHARD, lambda: 0).open() as folder, closing(Store(folder)) as store:
            assert folder.high_water is not None
            life = (folder.disk, folder.before, folder.generation, folder.forgot)
            same("meta", life, (DISK, DISK, DISK + 6, False))
            same("high water", folder.high_water.read(DISK), 1)
            same("promise", store.promise(), PROMISE)
            stored = store.load_consensus()
            assert stored is not None
            same("consensus", (stored.hard_state, stored.snapshot, stored.entries), (HARD, SNAPSHOT, ENTRIES))
            look_over(store)
            same("loads", store.loads(), {LOAD: (GRAPH, frozenset({1}))})
            try:
                store.slice(LOAD, 0)
            except NotHeld:
                pass
            else:
                raise AssertionError("a slice that was not sealed counts")


def look_over(store: Any) -> None:
    """Asserts that everything that `fill` stored is there; also works on an archive."""
    same("graph", store.graph(LOAD), (GRAPH, TABLE, HEADER))
    same("slice", store.slice(LOAD, 1), SLICE)
    held = {partition: store.state(STATES.run, STATES.tick, partition) for partition in STATES.states}
    same("states", held, dict(STATES.states))
    same("held", store.states_held(), {STATES.run: {STATES.tick: frozenset(STATES.states)}})


# -- a database as text ------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> dict[str, Entry]:
    """Returns the settings, tables and rows of a database, each by its table and its key."""
    entries: dict[str, Entry] = {}
    with closing(sqlite3.connect(path)) as connection:
        for name in PRAGMAS:
            ((value,),) = connection.execute(f"PRAGMA {name}").fetchall()
            entries[f"pragma {name}"] = {"value": value}
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        for table, sql in tables:
            entries[f"table {table}"] = {"sql": sql}
            for row in connection.execute(f"SELECT * FROM {table}").fetchall():
                entries[f"row of {table}: {row[0]}"] = _entry(row)
    return entries


def build(path: Path, entries: Entries) -> None:
    """Rebuilds the database from these entries."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {entries['pragma page_size']['value']}")
        connection.execute(f"PRAGMA journal_mode = {entries['pragma journal_mode']['value']}").fetchall()
        connection.execute("BEGIN")
        for name in ("application_id", "user_version"):
            connection.execute(f"PRAGMA {name} = {entries[f'pragma {name}']['value']}")
        for name, entry in entries.items():
            if name.startswith("table "):
                connection.execute(entry["sql"])
        for name, entry in entries.items():
            if name.startswith("row of "):
                table, _, _ = name.removeprefix("row of ").partition(":")
                marks = ", ".join("?" * len(entry["row"]))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", [_value(cell) for cell in entry["row"]])
        connection.execute("COMMIT")


def _entry(row: tuple[Any, ...]) -> Entry:
    """Returns a row, with its bytes as hex and, for a record of consensus, in readable form."""
    entry: dict[str, Any] = {"row": [f"{BLOB}{cell.hex()}" if isinstance(cell, bytes) else cell for cell in row]}
    if isinstance(row[-1], bytes) and row[-1].startswith(bytes([0x97, NEWEST])):
        entry["reads"] = repr(msgpack.unpackb(row[-1]))
    return entry


def _value(cell: Any) -> Any:
    is_blob = isinstance(cell, str) and cell.startswith(BLOB)
    return bytes.fromhex(cell.removeprefix(BLOB)) if is_blob else cell


def masked(entries: Mapping[str, Entry], cells: Mapping[str, str]) -> dict[str, Entry]:
    """Replaces values that differ each time: `cells` maps keys of `meta` to substitutes."""
    changed = {f"row of meta: {key}": {"row": [key, word]} for key, word in cells.items()}
    assert changed.keys() <= entries.keys(), json.dumps(sorted(entries))
    return {**entries, **changed}


SECTION = Section(
    "store",
    f"data folder {FORMAT}, cluster version {NEWEST}",
    make,
    check,
    tuple(RECORDS.values()),
    (HARD, SNAPSHOT.header, *ENTRIES),
    "have `make` in tests/golden/bytes/store.py keep one",
)

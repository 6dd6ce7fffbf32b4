"""The tables, and the checks that a database is ours.

    meta              the owner: cluster, shard, disk, last life, and the generation that the next life must exceed; the
                      promise to found a cluster; the number of persisted decisions; the cluster's version
    consensus_state   'hard state' and 'snapshot' (its header);   consensus_log: one row per entry
    consensus_chunk   the chunks of the snapshot at `position`: the current one, or one that is being written
    load              one load of a graph: its name, its header
    slice             one partition of a load, or (partition -1) the load's partition table; its bytes are rows of...
    chunk             ... these, in order
    state             one partition's state at one checkpoint tick of a run, and the epoch that made it

The large columns come last, in rowid tables, so SQLite reads the columns before them without touching their pages.
`slice.stage` rises while a slice is written: being written, whole, sealed; a crash leaves it unchanged.

The version is the database's `user_version`; it rises with every change of these tables or of their content.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from daemon.store.errors import MOVE_AWAY, OR_MOVE_AWAY, StoreError

FORMAT: Final = 4
OF_A_FOLDER: Final = f"start that version again, {OR_MOVE_AWAY}"
"""What to do with a folder of another format."""
APPLICATION_ID: Final = int.from_bytes(b"Shoa")
TABLE_PARTITION: Final = -1
BEING_WRITTEN, WHOLE, SEALED = 0, 1, 2

STATEMENTS: Final = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "consensus_state": (
        "CREATE TABLE consensus_state (part TEXT PRIMARY KEY, crc INTEGER NOT NULL, record BLOB NOT NULL)"
    ),
    "consensus_log": (
        "CREATE TABLE consensus_log (position INTEGER PRIMARY KEY, crc INTEGER NOT NULL, record BLOB NOT NULL)"
    ),
    "consensus_chunk": (
        "CREATE TABLE consensus_chunk (id INTEGER PRIMARY KEY, position INTEGER NOT NULL, number INTEGER NOT NULL,"
        " crc INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (position, number))"
    ),
    "load": (
        "CREATE TABLE load (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, graph TEXT NOT NULL,"
        " crc INTEGER NOT NULL, header BLOB NOT NULL)"
    ),
    "slice": (
        "CREATE TABLE slice (id INTEGER PRIMARY KEY, load INTEGER NOT NULL, partition INTEGER NOT NULL,"
        " stage INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, sizes BLOB NOT NULL,"
        " spec BLOB NOT NULL, UNIQUE (load, partition))"
    ),
    "chunk": (
        "CREATE TABLE chunk (id INTEGER PRIMARY KEY, slice INTEGER NOT NULL, place INTEGER NOT NULL,"
        " crc INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (slice, place))"
    ),
    "state": (
        "CREATE TABLE state (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, partition INTEGER NOT NULL,"
        " tick INTEGER NOT NULL, epoch INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL,"
        " bytes BLOB NOT NULL, UNIQUE (run, partition, tick))"
    ),
}


def is_new(connection: sqlite3.Connection, path: Path, remedy: str = OF_A_FOLDER) -> bool:
    """Returns whether the database has yet to be created. Raises `StoreError` for a foreign one, with the `remedy` for
    one of another format.
    """
    tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not tables and application == 0 and version == 0:
        return True
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is another application's database: give the shard a data folder of its own")
    if version != FORMAT and version > 0:
        age = "a newer" if version > FORMAT else "an older"
        raise StoreError(f"{path} was written by {age} Shoal (format {version}, this one knows {FORMAT}): {remedy}")
    if version != FORMAT or tables != STATEMENTS:
        raise StoreError(f"{path} is torn: its tables are not those of format {FORMAT}; {MOVE_AWAY}")
    return False


def create(connection: sqlite3.Connection, meta: dict[str, str]) -> None:
    """Creates the tables, in the caller's transaction."""
    for statement in STATEMENTS.values():
        connection.execute(statement)
    connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def check_cheaply(connection: sqlite3.Connection, path: Path) -> None:
    """Checks what does not require reading everything: the file's length, and the small tables page by page.

    Slices and states are checked when they are read, each against its checksum; reading gigabytes at every start would
    cost more than fetching the rare torn one from another shard.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size < pages * page_bytes:
        raise StoreError(f"{path} is torn: {path.stat().st_size} bytes of {pages * page_bytes} are left; {MOVE_AWAY}")
    for table in ("meta", "consensus_state", "consensus_log", "load"):
        found = connection.execute(f"PRAGMA quick_check({table})").fetchall()
        if found != [("ok",)]:
            raise StoreError(f"{path} is torn: {' '.join(str(found[0][0]).split()):.200}; {MOVE_AWAY}")

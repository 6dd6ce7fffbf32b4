"""What Raft-lite persists: term and vote, the snapshot, the log.

The specification is `consensus.effects.Persist.onto`, and a property test compares the two. The wire's checked codec
encodes the records, so a row that no shard of this version writes is detected when it is read.

Invariants of the loaded state, those of `consensus.stored` and of figure 3.1 of Ongaro's thesis: entries follow the
snapshot without a gap, terms never fall and never exceed the current one, configurations are sound. Rows that break one
were not written by this program; a server that votes with them could elect two leaders, so they are refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, TypeVar
from zlib import crc32

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot, SnapshotHeader, Stored
from daemon.store.database import BULK_BYTES, Database
from daemon.store.errors import MOVE_AWAY, OR_MOVE_AWAY, StoreError, StoreFailed
from daemon.wire import ANOTHER_VERSIONS, Codec, Rejected, WireLimits

RECORD_BYTES_MAX: Final = 16 << 20  # consensus' limits keep entries far below this
HARD_STATE, SNAPSHOT = "hard state", "snapshot"
DELETED_AT_ONCE: Final = 16
"""Chunks of an old snapshot per transaction: some megabytes."""
RECORDS: Final[dict[int, type]] = {1: HardState, 2: SnapshotHeader, 3: Entry}
"""The types of a row, by tag."""
DIGITS_MAX: Final = 10
HEADER: Final = "SELECT crc, record FROM consensus_state WHERE part = ?"
DELETE_CHUNKS: Final = (
    "DELETE FROM consensus_chunk WHERE id IN (SELECT id FROM consensus_chunk WHERE position <> ? LIMIT ?)"
)
INSERT_CHUNK: Final = "INSERT INTO consensus_chunk (position, number, crc, bytes) VALUES (?, ?, ?, ?)"
T = TypeVar("T")


class ConsensusRows:
    """The rows of one server's `Stored`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        limits = WireLimits(header_bytes_max=RECORD_BYTES_MAX)
        self._codec = Codec("consensus", RECORDS, limits, version_in(database))

    def load(self) -> Stored | None:
        """Returns what was persisted last, or None. Raises `StoreError` if it is not sound."""
        parts = dict(self._rows("SELECT part, crc, record FROM consensus_state"))
        log = self._rows("SELECT position, crc, record FROM consensus_log ORDER BY position")
        if not parts and not log:
            return None
        hard_state = self._record(HardState, *parts.pop(HARD_STATE)) if HARD_STATE in parts else HardState()
        snapshot = self._snapshot(*parts.pop(SNAPSHOT)) if SNAPSHOT in parts else Snapshot()
        if parts:
            raise self._nonsense(f"an unknown part {next(iter(parts))!r:.40}")
        stored = Stored(hard_state, snapshot, tuple(self._record(Entry, *row) for _, row in log))
        if [entry.index for entry in stored.entries] != [position for position, _ in log]:
            raise self._nonsense("an entry is not at its index")
        mistake = mistake_in(stored)
        if mistake:
            raise self._nonsense(mistake)
        return stored

    def persist(self, persist: Persist) -> int:
        """Persists in one durable transaction; returns its number, from 1."""
        header = persist.snapshot.header if persist.snapshot is not None else None
        state = [
            (name, *self._pack(part)) for name, part in ((HARD_STATE, persist.hard_state), (SNAPSHOT, header)) if part
        ]
        entries = [(entry.index, *self._pack(entry)) for entry in persist.entries]
        with self._database.writing("persist a decision") as connection:
            connection.executemany("INSERT OR REPLACE INTO consensus_state VALUES (?, ?, ?)", state)
            if persist.snapshot is not None:
                self._put_chunks(connection, persist.snapshot)
                connection.execute("DELETE FROM consensus_log WHERE position <= ?", (persist.snapshot.index,))
            if persist.truncate_from is not None:
                connection.execute("DELETE FROM consensus_log WHERE position >= ?", (persist.truncate_from,))
            connection.executemany("INSERT INTO consensus_log VALUES (?, ?, ?)", entries)
            connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'persisted'")
            ((number,),) = connection.execute("SELECT value FROM meta WHERE key = 'persisted'").fetchall()
        return int(number)

    def raise_version(self, version: int) -> None:
        """Raises the folder's cluster version, and writes in its formats from the next record on."""
        with self._database.writing("raise the cluster version") as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('cluster_version', ?)", (str(version),))
        self.follow_version(version)

    def follow_version(self, version: int) -> None:
        """Writes in the formats of this cluster version from the next record on; the folder already names it."""
        self._codec.version = version

    def stage(self, index: int, chunks: Iterable[bytes]) -> tuple[bytes, ...]:
        """Writes and returns the chunks of a snapshot that will become current soon, a few megabytes at a time.

        `persist` finds them, and so takes no longer than for any other decision. They are not durable before that. As a
        large write that can wait, this raises `NoRoom` instead of releasing the reserve.
        """
        self._database.despite_full_disk(self._drop_stale, may_release=False)
        staged: list[bytes] = []
        batch: list[tuple[int, int, int, bytes]] = []
        for chunk in chunks:
            batch.append((index, len(staged), crc32(chunk), chunk))
            staged.append(chunk)
            if sum(len(row[3]) for row in batch) >= BULK_BYTES:
                self._database.despite_full_disk(partial(self._insert, batch), may_release=False)
                batch = []
        self._database.despite_full_disk(partial(self._insert, batch), may_release=False)
        return tuple(staged)

    def _drop_stale(self) -> None:
        """Deletes chunks of obsolete snapshots in small transactions, so that consensus gets its turn in between."""
        while True:
            with self._database.writing("drop an old snapshot", durable=False) as connection:
                in_force = connection.execute(HEADER, (SNAPSHOT,)).fetchall()
                at = self._record(SnapshotHeader, *in_force[0]).index if in_force else 0
                if connection.execute(DELETE_CHUNKS, (at, DELETED_AT_ONCE)).rowcount < DELETED_AT_ONCE:
                    return

    def _insert(self, rows: list[tuple[int, int, int, bytes]]) -> None:
        with self._database.writing("write a snapshot", durable=False) as connection:
            connection.executemany(INSERT_CHUNK, rows)
        self._database.wrote(sum(len(row[3]) for row in rows))

    def _put_chunks(self, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
        """Inserts the chunks that are missing: all of a leader's snapshot, none of a staged one."""
        rows = [(snapshot.index, number, crc32(chunk), chunk) for number, chunk in enumerate(snapshot.chunks)]
        query = "SELECT number, crc, length(bytes) FROM consensus_chunk WHERE position = ? ORDER BY number"
        if connection.execute(query, (snapshot.index,)).fetchall() != [
            (n, crc, len(chunk)) for _, n, crc, chunk in rows
        ]:
            connection.execute("DELETE FROM consensus_chunk WHERE position = ?", (snapshot.index,))
            connection.executemany(INSERT_CHUNK, rows)

    def put_in_place(self, entry: Entry) -> None:
        """Replaces an entry of the log; only for `stopped_log`, and never while a server runs."""
        with self._database.writing("take an entry out of the log") as connection:
            statement = "UPDATE consensus_log SET crc = ?, record = ? WHERE position = ?"
            connection.execute(statement, (*self._pack(entry), entry.index))

    def renounce(self, disk: int) -> None:
        """Deletes all consensus state, and makes the folder a new disk. Keeps everything else."""
        with self._database.writing("begin as a new disk") as connection:
            connection.execute("DELETE FROM consensus_state")
            connection.execute("DELETE FROM consensus_log")
            connection.execute("DELETE FROM consensus_chunk")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'disk'", (str(disk),))
            connection.execute("UPDATE meta SET value = '0' WHERE key = 'persisted'")
            connection.execute("DELETE FROM meta WHERE key = 'promise'")

    def _pack(self, part: object) -> tuple[int, bytes]:
        try:
            (header,) = self._codec.encode(0, "disk", 0, part)
        except Rejected as rejected:
            raise StoreFailed(f"{self._database.path}: a decision is too large to be kept: {rejected}") from rejected
        record = bytes(header)
        return crc32(record), record

    def _rows(self, statement: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, Any]]]:
        try:
            rows = self._database.rows("read the decisions", statement, arguments)
        except StoreFailed as failed:
            raise StoreError(str(failed)) from failed
        return [(key, (crc, record)) for key, crc, record in rows]

    def _snapshot(self, crc: Any, record: Any) -> Snapshot:
        header = self._record(SnapshotHeader, crc, record)
        query = "SELECT number, crc, bytes FROM consensus_chunk WHERE position = ? ORDER BY number"
        chunks: list[bytes] = []
        for number, (crc, chunk) in self._rows(query, (header.index,)):
            if number != len(chunks) or type(chunk) is not bytes or crc32(chunk) != crc:
                raise self._nonsense(f"chunk {number} of the snapshot")
            chunks.append(chunk)
        snapshot = Snapshot(header.index, header.term, header.configuration, tuple(chunks))
        if snapshot.header != header:
            raise self._nonsense(f"{len(chunks)} of the snapshot's {header.count} chunks, or others")
        return snapshot

    def _record(self, kind: type[T], crc: Any, record: Any) -> T:
        if type(record) is not bytes or crc32(record) != crc:
            raise self._nonsense(f"a checksum of {kind.__name__}")
        try:
            part = self._codec.decode([record]).message
        except Rejected as rejected:
            if rejected.reason in ANOTHER_VERSIONS:
                raise StoreError(
                    f"{self._database.path} was written by another version of Shoal ({rejected}): start that version"
                    f" again, {OR_MOVE_AWAY}"
                ) from rejected
            raise self._nonsense(f"{kind.__name__}: {rejected}") from rejected
        if not isinstance(part, kind):
            raise self._nonsense(f"{type(part).__name__} in the place of {kind.__name__}")
        return part

    def _nonsense(self, what: str) -> StoreError:
        return StoreError(f"{self._database.path} is torn: its consensus rows make no sense: {what}; {MOVE_AWAY}")


def version_in(database: Database) -> int:
    """Returns the cluster version that a folder was last written at; 0 if unknown. Raises `StoreError`."""
    try:
        rows = database.rows("read the cluster version", "SELECT value FROM meta WHERE key = 'cluster_version'")
    except StoreFailed as failed:
        raise StoreError(str(failed)) from failed
    text = rows[0][0] if rows else "0"
    if not (type(text) is str and text.isascii() and text.isdigit() and len(text) < DIGITS_MAX):
        raise StoreError(f"{database.path} is torn: it names no cluster version; {MOVE_AWAY}")
    return int(text)


def mistake_in(stored: Stored) -> str:
    """Returns the invariant that is broken, or an empty string."""
    index, term = stored.snapshot.index, stored.snapshot.term
    if index < 0 or term < 0:
        return f"a snapshot at index {index} of term {term}"
    if not (stored.snapshot.configuration.is_empty or stored.snapshot.configuration.is_sound):
        return "the snapshot's configuration"
    for entry in stored.entries:
        if entry.index != index + 1:
            return f"entry {entry.index} behind {index}"
        if entry.term < term:
            return f"entry {entry.index} of term {entry.term} behind term {term}"
        if isinstance(entry.configuration, Configuration) and not entry.configuration.is_sound:
            return f"the configuration of entry {entry.index}"
        index, term = entry.index, entry.term
    return f"term {stored.hard_state.term} below {term} in the log" if stored.hard_state.term < term else ""

"""What Raft-lite persists: term and vote, the snapshot, the log.

The specification is `consensus.effects.Persist.onto`, and a property test holds the two together. Records are encoded
by the checked codec of the wire, so a row that is not what a shard of this version writes is found when it is read.

Invariants of what is loaded, those of `consensus.stored` and figure 3.1 of Ongaro's thesis: entries follow the snapshot
without a gap, terms never fall and never exceed the current one, configurations are sound. Rows that break one were not
written by this program; a server that votes with them could elect two leaders, so they are refused.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar
from zlib import crc32

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot, Stored
from daemon.store.database import Database
from daemon.store.errors import MOVE_AWAY, StoreError, StoreFailed
from daemon.wire import ANOTHER_VERSIONS, Codec, Rejected, WireLimits

RECORD_BYTES_MAX: Final = 512 << 20  # a snapshot is bounded far below, where it is made; SQLite takes 1000 million
HARD_STATE, SNAPSHOT = "hard state", "snapshot"
RECORDS: Final[dict[int, type]] = {1: HardState, 2: Snapshot, 3: Entry}
"""What a row may hold, and its tag."""
DIGITS_MAX: Final = 10
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
        snapshot = self._record(Snapshot, *parts.pop(SNAPSHOT)) if SNAPSHOT in parts else Snapshot()
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
        """One durable transaction; its number among all, from 1."""
        state = [(name, *self._pack(part)) for name, part in _parts(persist) if part is not None]
        entries = [(entry.index, *self._pack(entry)) for entry in persist.entries]
        with self._database.writing("persist a decision") as connection:
            connection.executemany("INSERT OR REPLACE INTO consensus_state VALUES (?, ?, ?)", state)
            if persist.snapshot is not None:
                connection.execute("DELETE FROM consensus_log WHERE position <= ?", (persist.snapshot.index,))
            if persist.truncate_from is not None:
                connection.execute("DELETE FROM consensus_log WHERE position >= ?", (persist.truncate_from,))
            connection.executemany("INSERT INTO consensus_log VALUES (?, ?, ?)", entries)
            connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'persisted'")
            ((number,),) = connection.execute("SELECT value FROM meta WHERE key = 'persisted'").fetchall()
        return int(number)

    def raise_version(self, version: int) -> None:
        """From the next record on, write what is new in this cluster version; the folder says so first."""
        with self._database.writing("raise the cluster version") as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('cluster_version', ?)", (str(version),))
        self._codec.version = version

    def put_in_place(self, entry: Entry) -> None:
        """Have another entry stand at the index of one; for `stopped_log` alone, and never while a server lives."""
        with self._database.writing("take an entry out of the log") as connection:
            statement = "UPDATE consensus_log SET crc = ?, record = ? WHERE position = ?"
            connection.execute(statement, (*self._pack(entry), entry.index))

    def renounce(self, disk: int) -> None:
        """Forget all of it, and be another disk from now on. What else is kept stays."""
        with self._database.writing("begin as a new disk") as connection:
            connection.execute("DELETE FROM consensus_state")
            connection.execute("DELETE FROM consensus_log")
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

    def _rows(self, statement: str) -> list[tuple[Any, tuple[Any, Any]]]:
        try:
            rows = self._database.rows("read the decisions", statement)
        except StoreFailed as failed:
            raise StoreError(str(failed)) from failed
        return [(key, (crc, record)) for key, crc, record in rows]

    def _record(self, kind: type[T], crc: Any, record: Any) -> T:
        if type(record) is not bytes or crc32(record) != crc:
            raise self._nonsense(f"a checksum of {kind.__name__}")
        try:
            part = self._codec.decode([record]).message
        except Rejected as rejected:
            if rejected.reason in ANOTHER_VERSIONS:
                raise StoreError(
                    f"{self._database.path} was written by another version of Shoal ({rejected}): start that version"
                    f" again, or {MOVE_AWAY}"
                ) from rejected
            raise self._nonsense(f"{kind.__name__}: {rejected}") from rejected
        if not isinstance(part, kind):
            raise self._nonsense(f"{type(part).__name__} in the place of {kind.__name__}")
        return part

    def _nonsense(self, what: str) -> StoreError:
        return StoreError(f"{self._database.path} is torn: its consensus rows make no sense: {what}; {MOVE_AWAY}")


def version_in(database: Database) -> int:
    """The cluster version that a folder was last written at; 0 if none was known. Raises `StoreError`."""
    try:
        rows = database.rows("read the cluster version", "SELECT value FROM meta WHERE key = 'cluster_version'")
    except StoreFailed as failed:
        raise StoreError(str(failed)) from failed
    text = rows[0][0] if rows else "0"
    if not (type(text) is str and text.isascii() and text.isdigit() and len(text) < DIGITS_MAX):
        raise StoreError(f"{database.path} is torn: it names no cluster version; {MOVE_AWAY}")
    return int(text)


def mistake_in(stored: Stored) -> str:
    """Which invariant does not hold; empty if all do."""
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


def _parts(persist: Persist) -> tuple[tuple[str, HardState | Snapshot | None], ...]:
    return (HARD_STATE, persist.hard_state), (SNAPSHOT, persist.snapshot)

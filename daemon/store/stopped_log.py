"""Shows the replicated log of a stopped daemon, and removes an entry from it.

This is for an entry that ends every daemon that applies it, at each start, so that nothing can be decided any more. A
removed entry keeps its index and its term but becomes empty. Consensus can't tell that from what was agreed, so an
operator has to remove the same entry on every shard that has it, before starting any of them again.

Invariant: nothing is written before a complete copy of the database is durable beside it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.stored import Entry, Stored
from daemon.state import Decided, NotApplied, ReplicatedState, command_codec
from daemon.state.commands import StartRun
from daemon.state.envelope import CommandCodec, CommandUnreadable, LogEntry
from daemon.state.machine import Command
from daemon.store import schema
from daemon.store.consensus import ConsensusRows
from daemon.store.database import FAILURES, Database, Turn
from daemon.store.errors import OR_MOVE_AWAY, StoreError, StoreFailed, sentence
from daemon.store.folder import DATABASE, FolderInUse, sync_names, take_lock
from daemon.wire import Rejected

APPLIED, DECLINED, BREAKS, UNREADABLE, NOTHING = "applied", "declined", "breaks", "unreadable", "nothing"
WORDS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry of the log, and the outcome of applying it after those before it."""

    index: int
    term: int
    what: str
    bytes: int
    outcome: str
    words: str


class StoppedLog:
    """The log in one data folder, while `opened` holds it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = ConsensusRows(database)

    def stored(self) -> Stored:
        """Returns what is on disk. Raises `StoreError`."""
        stored = self._rows.load()
        if stored is None:
            raise StoreError(f"{self._database.path} has no log: this shard has not been part of a cluster yet")
        return stored

    def show(self, without: int | None = None) -> list[Shown]:
        """Returns every entry after the snapshot, applied in order, optionally `without` one of them. Raises
        `StoreError`.
        """
        stored, state, codec = self.stored(), ReplicatedState(), command_codec()
        try:
            if stored.snapshot.chunks:
                state.restore(state.thaw(stored.snapshot.chunks))
        except Rejected as rejected:
            raise StoreError(
                f"{self._database.path}: the log's snapshot, up to entry {stored.snapshot.index}, can't be read: "
                f"{rejected}: install the version that wrote it, {OR_MOVE_AWAY}"
            ) from rejected
        shown = []
        for entry in stored.entries:
            read = _read(codec, entry) if entry.index != without else None
            outcome, words = _tried(state, entry.index, read)
            shown.append(Shown(entry.index, entry.term, _what(entry, read), len(entry.data), outcome, words))
        return shown

    def entry(self, index: int) -> Entry:
        """Returns a command that can be removed. Raises `StoreError`."""
        stored = self.stored()
        found = next((entry for entry in stored.entries if entry.index == index), None)
        if found is None:
            first, last = stored.snapshot.index + 1, stored.snapshot.index + len(stored.entries)
            there = f"it has {first} to {last}" if stored.entries else "it has none"
            raise StoreError(f"{self._database.path} has no entry {index} ({there}): what is before is in the snapshot")
        if not found.is_command:
            raise StoreError(f"entry {index} is not a command: it is a configuration, or empty")
        return found

    def begins_later_runs(self, index: int) -> bool:
        """Returns whether the entry begins a run and later entries begin others, whose numbers would change."""
        codec, begun = command_codec(), []
        for entry in self.stored().entries:
            match _read(codec, entry):
                case (_, StartRun()):
                    begun.append(entry.index)
        return index in begun and begun[-1] > index

    def skip(self, index: int) -> Path:
        """Removes a command, and returns the path to a copy of the database as it was. Raises `StoreError`."""
        entry = self.entry(index)
        copy = self._copied(index)
        try:
            self._rows.put_in_place(Entry(entry.index, entry.term))
            self._database.checkpoint("TRUNCATE")
        except StoreFailed as failed:
            raise StoreError(str(failed)) from failed
        return copy

    def _copied(self, index: int) -> Path:
        copy = self._database.path.with_name(f"{DATABASE}.before-skip-{index}")
        if copy.exists():
            raise StoreError(f"{copy} exists already: move it away first")
        try:
            target = sqlite3.connect(copy)
            try:
                self._database.connection.backup(target)
            finally:
                target.close()
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            sync_names(copy.parent)
        except (*FAILURES, OSError) as error:
            copy.unlink(missing_ok=True)
            raise StoreError(sentence(error, copy, "copy the database first")) from error
        return copy


@contextmanager
def opened(folder: Path) -> Iterator[StoppedLog]:
    """Opens the log in a data folder that no daemon uses. Raises `StoreError`."""
    path = folder / DATABASE
    if not path.is_file():
        raise StoreError(f"{folder} is not a shard's data folder: it has no {DATABASE}")
    try:
        lock = take_lock(folder)
    except FolderInUse:
        raise StoreError(f"{folder} is in use: stop its daemon first") from None
    try:
        try:
            database = Database(path, Turn())
        except FAILURES as error:
            raise StoreError(sentence(error, path, "open the data folder")) from error
        try:
            if schema.is_new(database.connection, path):
                raise StoreError(f"{folder} is not a shard's data folder: its database is empty")
            database.settle()
            database.checkpoint("TRUNCATE")  # what a killed daemon has left beside the database
            schema.check_cheaply(database.connection, path)
            yield StoppedLog(database)
        except StoreFailed as failed:
            raise StoreError(str(failed)) from failed
        finally:
            database.close()
    finally:
        os.close(lock)


Read = tuple[LogEntry, Command] | CommandUnreadable | None


def _read(codec: CommandCodec, entry: Entry) -> Read:
    """Returns an entry's command, the error if this version can't read it, or None if it has none."""
    try:
        return codec.read(entry.data) if entry.is_command else None
    except CommandUnreadable as unreadable:
        return unreadable


def _what(entry: Entry, read: Read) -> str:
    if isinstance(read, CommandUnreadable):
        return read.what or "-"
    if read is None:
        return "configuration" if entry.configuration is not None else "-"
    names = ("program", "name", "run", "graph", "shard")
    _, command = read
    about = [str(getattr(command, name)) for name in names if hasattr(command, name)]
    return " ".join([type(command).__name__, *about[:2]])


def _tried(state: ReplicatedState, index: int, read: Read) -> tuple[str, str]:
    if read is None:
        return NOTHING, ""
    if isinstance(read, CommandUnreadable):
        return UNREADABLE, f"{read}"[:WORDS_MAX]
    try:
        news = state.apply(index, *read)
    except Exception as error:  # finding these is the purpose
        return BREAKS, f"{type(error).__name__}: {error}"[:WORDS_MAX]
    broken = next((one for one in news if isinstance(one, NotApplied)), None)
    if broken is not None:
        return BREAKS, broken.error.strip().splitlines()[-1][:WORDS_MAX]
    decided = next((one for one in news if isinstance(one, Decided)), None)
    return (DECLINED, decided.error[:WORDS_MAX]) if decided is not None and decided.error else (APPLIED, "")

"""The states of runs at their checkpoint ticks: opaque bytes, one blob a partition.

A partition has few for a run: the one being prepared, the last committed one (the floor), and as many older ones as are
to be readable besides. Those before are deleted in the transaction that brings the new, before it, so that the new ones
take the pages of the old.

Each partition's state stands for itself: a run resumes from the highest tick that every partition is held for by
somebody. So a batch over `BULK_BYTES` may be cut between two partitions, and consensus gets its turn in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from daemon.store.database import BULK_BYTES, Database, view
from shoal.lockstep.frames import Buffer


@dataclass(frozen=True, slots=True)
class StateRecord:
    """The states of one tick. From now on nothing below `floor` is needed of these partitions of the run, but for the
    last `older` of each, which somebody may want to read. They were made in that `epoch`, 0 for those of a backup.
    """

    run: int
    tick: int
    floor: int
    states: Mapping[int, Buffer]
    older: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        assert self.floor <= self.tick, (self.floor, self.tick)
        assert self.older >= 0, self.older

    @property
    def size(self) -> int:
        """Bytes of all states."""
        return sum(view(state).nbytes for state in self.states.values())


class StateRows:
    """The rows of all runs' states."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, records: Sequence[StateRecord]) -> None:
        """Durable when it returns: one transaction and one sync for the whole batch, unless it is a very large one."""
        for rows in _batches(records):
            with self._database.writing("keep the state of a tick") as connection:
                for record, partition, state in rows:
                    _put(connection, record, partition, state)
            self._database.wrote(sum(state.nbytes for _, _, state in rows))

    def held(self) -> dict[int, dict[int, frozenset[int]]]:
        """For each run and tick the partitions whose state is here."""
        return self._held("SELECT run, tick, partition FROM state ORDER BY run, partition, tick")

    def held_as_made(self) -> dict[int, dict[tuple[int, int], frozenset[int]]]:
        """For each run, tick and epoch in which it was made the partitions whose state is here."""
        statement = "SELECT run, tick, epoch, partition FROM state ORDER BY run, partition, tick"
        found: dict[int, dict[tuple[int, int], set[int]]] = {}
        for row in self._database.rows("list the states", statement):
            if any(type(value) is not int for value in row):
                raise self._database.torn("the list of states")
            run, tick, epoch, partition = row
            found.setdefault(run, {}).setdefault((tick, epoch), set()).add(partition)
        return {
            run: {made: frozenset(partitions) for made, partitions in ticks.items()} for run, ticks in found.items()
        }

    def held_of(self, run: int) -> dict[int, frozenset[int]]:
        """The same of one run."""
        statement = "SELECT run, tick, partition FROM state WHERE run = ? ORDER BY partition, tick"
        return self._held(statement, run).get(run, {})

    def _held(self, statement: str, *args: int) -> dict[int, dict[int, frozenset[int]]]:
        found: dict[int, dict[int, set[int]]] = {}
        for row in self._database.rows("list the states", statement, args):
            if any(type(value) is not int for value in row):
                raise self._database.torn("the list of states")
            run, tick, partition = row
            found.setdefault(run, {}).setdefault(tick, set()).add(partition)
        return {
            run: {tick: frozenset(partitions) for tick, partitions in sorted(ticks.items())}
            for run, ticks in found.items()
        }

    def state(self, run: int, tick: int, partition: int) -> bytes | None:
        """One partition's state, or None if it is not here."""
        stamped = self.stamped(run, tick, partition)
        return stamped[1] if stamped is not None else None

    def stamped(self, run: int, tick: int, partition: int) -> tuple[int, bytes] | None:
        """The same with the epoch in which it was made."""
        what = f"the state of run {run}, tick {tick}, partition {partition}"
        statement = "SELECT epoch, crc, bytes FROM state WHERE run = ? AND tick = ? AND partition = ?"
        for epoch, crc, state in self._database.rows(f"read {what}", statement, (run, tick, partition)):
            if type(epoch) is not int or type(state) is not bytes or crc32(state) != crc:
                raise self._database.torn(what)
            return epoch, state
        return None

    def ticks(self, run: int, partition: int) -> list[int]:
        """The ticks of a run whose state of one partition is here, ascending."""
        statement = "SELECT tick FROM state WHERE run = ? AND partition = ? ORDER BY tick"
        rows = [row for (row,) in self._database.rows("list a partition's states", statement, (run, partition))]
        if any(type(tick) is not int for tick in rows):
            raise self._database.torn("the list of states")
        return rows

    def trim(self, run: int, tick: int) -> None:
        """Forget what is older than a tick of a run."""
        self._database.execute("trim a run", "DELETE FROM state WHERE run = ? AND tick < ?", [(run, tick)])

    def drop_void(self, run: int, is_void: Callable[[int, int], bool]) -> None:
        """Forget the states of a run of which `is_void` says so, given the epoch and the tick of each."""
        rows = self._database.rows("list the states", "SELECT id, epoch, tick FROM state WHERE run = ?", (run,))
        void = [(number,) for number, epoch, tick in rows if is_void(epoch, tick)]
        if void:
            self._database.execute("forget what is done again", "DELETE FROM state WHERE id = ?", void)

    def drop(self, run: int) -> None:
        """Forget a run."""
        rows = self._database.rows("list the states", "SELECT id, partition FROM state WHERE run = ?", (run,))
        self._database.execute("forget a run", "DELETE FROM state WHERE id = ?", [row[:1] for row in rows])

    def size(self) -> int:
        """Bytes of all states."""
        ((size,),) = self._database.rows("measure the states", "SELECT total(size) FROM state")
        return int(size)


def _put(connection: sqlite3.Connection, record: StateRecord, partition: int, state: memoryview) -> None:
    of, floor = (record.run, partition), record.floor
    if record.older:
        oldest = (
            "SELECT tick FROM state WHERE run = ? AND partition = ? AND tick < ? ORDER BY tick DESC LIMIT 1 OFFSET ?"
        )
        found = connection.execute(oldest, (*of, floor, record.older - 1)).fetchone()
        floor = found[0] if found is not None else 0
    connection.execute(
        "DELETE FROM state WHERE run = ? AND partition = ? AND (tick < ? OR tick = ?)", (*of, floor, record.tick)
    )
    connection.execute(
        "INSERT INTO state (run, partition, tick, epoch, size, crc, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (record.run, partition, record.tick, record.epoch, state.nbytes, crc32(state), state),
    )


def _batches(records: Sequence[StateRecord]) -> Iterator[list[tuple[StateRecord, int, memoryview]]]:
    """Consecutive states of `BULK_BYTES` at most together; a larger one goes alone."""
    batch: list[tuple[StateRecord, int, memoryview]] = []
    size = 0
    for record in records:
        for partition, buffer in sorted(record.states.items(), key=lambda item: item[0]):
            state = view(buffer)
            if batch and size + state.nbytes > BULK_BYTES:
                yield batch
                batch, size = [], 0
            batch.append((record, partition, state))
            size += state.nbytes
    if batch:
        yield batch

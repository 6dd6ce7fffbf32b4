"""The states of runs at their checkpoint ticks: opaque bytes, one blob per partition.

A partition has few states of a run: the one in preparation, the last committed one (the floor), and as many older ones
as are to remain readable. The transaction that writes a new state first deletes all others, so that the new one takes
their pages.

Each partition's state is independent: a run resumes from the highest tick that is held for every partition. So a batch
over `BULK_BYTES` may be split between two partitions, and consensus gets its turn in between.
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
    """The states of one tick, made in `epoch` (0 for those of a backup). From now on, the run's readers need only the
    last `older` states below `floor` of these partitions.
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
        """The size of all states."""
        return sum(view(state).nbytes for state in self.states.values())


class StateRows:
    """The rows of all runs' states."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, records: Sequence[StateRecord]) -> None:
        """Writes the whole batch in one transaction and sync, unless it is very large. Durable when this returns."""
        for rows in _batches(records):
            with self._database.writing("keep the state of a tick") as connection:
                for record, partition, state in rows:
                    _put(connection, record, partition, state)
            self._database.wrote(sum(state.nbytes for _, _, state in rows))

    def held(self) -> dict[int, dict[int, frozenset[int]]]:
        """Returns the partitions with a stored state, by run and tick."""
        return self._held("SELECT run, tick, partition FROM state ORDER BY run, partition, tick")

    def held_as_made(self) -> dict[int, dict[tuple[int, int], frozenset[int]]]:
        """Returns the partitions with a stored state, by run, tick and the epoch that made the state."""
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
        """Returns the partitions of one run with a stored state, by tick."""
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
        """Returns one partition's state, or None."""
        stamped = self.stamped(run, tick, partition)
        return stamped[1] if stamped is not None else None

    def stamped(self, run: int, tick: int, partition: int) -> tuple[int, bytes] | None:
        """Returns one partition's state and the epoch that made it, or None."""
        what = f"the state of run {run}, tick {tick}, partition {partition}"
        statement = "SELECT epoch, crc, bytes FROM state WHERE run = ? AND tick = ? AND partition = ?"
        for epoch, crc, state in self._database.rows(f"read {what}", statement, (run, tick, partition)):
            if type(epoch) is not int or type(state) is not bytes or crc32(state) != crc:
                raise self._database.torn(what)
            return epoch, state
        return None

    def ticks(self, run: int, partition: int) -> list[int]:
        """Returns the ticks of a run, ascending, with a stored state of one partition."""
        statement = "SELECT tick FROM state WHERE run = ? AND partition = ? ORDER BY tick"
        rows = [row for (row,) in self._database.rows("list a partition's states", statement, (run, partition))]
        if any(type(tick) is not int for tick in rows):
            raise self._database.torn("the list of states")
        return rows

    def trim(self, run: int, tick: int) -> None:
        """Deletes the states of a run before a tick."""
        self._database.execute("trim a run", "DELETE FROM state WHERE run = ? AND tick < ?", [(run, tick)])

    def drop_void(self, run: int, is_void: Callable[[int, int], bool]) -> None:
        """Deletes the states of a run for which `is_void` returns true, given the epoch and the tick of each."""
        rows = self._database.rows("list the states", "SELECT id, epoch, tick FROM state WHERE run = ?", (run,))
        void = [(number,) for number, epoch, tick in rows if is_void(epoch, tick)]
        if void:
            self._database.execute("forget what is done again", "DELETE FROM state WHERE id = ?", void)

    def drop(self, run: int) -> None:
        """Deletes the states of a run."""
        rows = self._database.rows("list the states", "SELECT id, partition FROM state WHERE run = ?", (run,))
        self._database.execute("forget a run", "DELETE FROM state WHERE id = ?", [row[:1] for row in rows])

    def size(self) -> int:
        """Returns the bytes of all states."""
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
    """Groups consecutive states into batches of at most `BULK_BYTES`; a larger state forms a batch of its own."""
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

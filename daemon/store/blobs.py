"""Large values of many buffers, split into rows and written in many small transactions.

A slice is `BEING_WRITTEN` until its last row is there, then `WHOLE`, and `SEALED` once it counts. Its bytes are the
concatenation of its frames, whatever their sizes, so a slice of forty small arrays is one row and one of a gigabyte is
a thousand rows. Only the seal is synced, and with it everything written before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from zlib import crc32

from daemon.store.database import BULK_BYTES, Database, view
from daemon.store.errors import NotHeld
from daemon.store.schema import BEING_WRITTEN, SEALED, TABLE_PARTITION, WHOLE
from shoal.lockstep.frames import Buffer

ROW_BYTES: Final = 1 << 20
_SIZE: Final = struct.calcsize("<Q")


class Blobs:
    """The rows of slices and their chunks; `load` is the number of a row in table load."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, load: int, partition: int, spec: bytes, frames: Sequence[Buffer]) -> None:
        """Writes a slice without syncing it. Replaces one that was left incomplete; never changes a sealed one."""
        if self._stage(load, partition) == SEALED:
            return
        self.drop(self.numbers(load, [partition]))
        views = [view(frame) for frame in frames]
        sizes = struct.pack(f"<{len(views)}Q", *(frame.nbytes for frame in views))
        size = sum(frame.nbytes for frame in views)
        number, place = None, 0
        for rows in _batches(cut(views)):
            last = place + len(rows) >= -(-size // ROW_BYTES)
            with self._database.writing("write a slice", durable=False) as connection:
                if number is None:
                    number = connection.execute(
                        "INSERT INTO slice (load, partition, stage, size, crc, sizes, spec)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (load, partition, BEING_WRITTEN, size, crc32(spec, crc32(sizes)), sizes, spec),
                    ).lastrowid
                connection.executemany(
                    "INSERT INTO chunk (slice, place, crc, bytes) VALUES (?, ?, ?, ?)",
                    [(number, place + step, crc32(row), row) for step, row in enumerate(rows)],
                )
                if last:
                    connection.execute("UPDATE slice SET stage = ? WHERE id = ?", (WHOLE, number))
            self._database.wrote(sum(map(len, rows)))
            place += len(rows)

    def seal(self, load: int, partitions: Iterable[int]) -> None:
        """Seals slices, which count from then on. They and everything written before are durable when this returns."""
        with self._database.writing("seal slices") as connection:
            for partition in partitions:
                found = connection.execute(
                    "UPDATE slice SET stage = ? WHERE load = ? AND partition = ? AND stage >= ?",
                    (SEALED, load, partition, WHOLE),
                )
                if found.rowcount != 1:
                    raise NotHeld(f"{self._database.path}: partition {partition} cannot be sealed: it is not complete")

    def get(self, load: int, partition: int) -> tuple[bytes, list[bytes]]:
        """Returns the spec and the frames of a sealed slice. Frames are copies, because views of one buffer would not
        be aligned.
        """
        what = "a partition table" if partition == TABLE_PARTITION else f"the slice of partition {partition}"
        statement = "SELECT id, size, crc, sizes, spec FROM slice WHERE load = ? AND partition = ? AND stage = ?"
        rows = self._database.rows(f"read {what}", statement, (load, partition, SEALED))
        if not rows:
            raise NotHeld(f"{self._database.path}: {what} is not held")
        number, size, crc, packed, spec = rows[0]
        if type(packed) is not bytes or type(spec) is not bytes or crc32(spec, crc32(packed)) != crc:
            raise self._database.torn(what)
        sizes = struct.unpack(f"<{len(packed) // _SIZE}Q", packed)
        whole = memoryview(b"".join(self._chunks(number, what)))
        if sum(sizes) != len(whole) or size != len(whole):
            raise self._database.torn(what)
        frames, start = [], 0
        for length in sizes:
            frames.append(bytes(whole[start : start + length]))
            start += length
        return spec, frames

    def numbers(self, load: int, partitions: Iterable[int] | None = None) -> list[int]:
        """Returns the row numbers of these slices of a load, or of all of its slices, at any stage."""
        rows = self._database.rows("list the slices", "SELECT partition, id FROM slice WHERE load = ?", (load,))
        wanted = None if partitions is None else set(partitions)
        return [number for partition, number in rows if wanted is None or partition in wanted]

    def unsealed(self) -> list[int]:
        """Returns the slices that a previous life left incomplete."""
        return [row[0] for row in self._database.rows("list the slices", "SELECT id FROM slice WHERE stage != 2")]

    def drop(self, numbers: Sequence[int]) -> None:
        """Invalidates slices at once and durably, then deletes their rows in several transactions."""
        if not numbers:
            return
        drop = partial(self._database.execute, "drop slices")
        drop("UPDATE slice SET stage = 0 WHERE id = ?", [(number,) for number in numbers])
        for number in numbers:
            # Listed once, not "until none is left": in a torn database that may never end.
            rows = self._database.rows("list rows of a slice", "SELECT id, place FROM chunk WHERE slice = ?", (number,))
            step = BULK_BYTES // ROW_BYTES
            for start in range(0, len(rows), step):
                gone = [row[:1] for row in rows[start : start + step]]
                drop("DELETE FROM chunk WHERE id = ?", gone, durable=False)
        drop("DELETE FROM slice WHERE id = ?", [(number,) for number in numbers], durable=False)

    def _stage(self, load: int, partition: int) -> Any:
        statement = "SELECT stage FROM slice WHERE load = ? AND partition = ?"
        rows = self._database.rows("look for a slice", statement, (load, partition))
        return rows[0][0] if rows else None

    def _chunks(self, number: Any, what: str) -> Iterator[bytes]:
        statement = "SELECT place, crc, bytes FROM chunk WHERE slice = ? ORDER BY place"
        for expected, (place, crc, row) in enumerate(self._database.rows(f"read {what}", statement, (number,))):
            if place != expected or type(row) is not bytes or crc32(row) != crc:
                raise self._database.torn(what)
            yield row


def cut(frames: Iterable[memoryview]) -> Iterator[bytearray]:
    """Yields the concatenated frames in rows of `ROW_BYTES`, the last one shorter; a single empty row if there is
    nothing.

    >>> [bytes(row) for row in cut([memoryview(b"ab"), memoryview(b"c")])]
    [b'abc']
    """
    row = bytearray()
    some = False
    for frame in frames:
        start = 0
        while start < frame.nbytes:
            taken = frame[start : start + ROW_BYTES - len(row)]
            row += taken
            start += taken.nbytes
            if len(row) == ROW_BYTES:
                yield row
                row, some = bytearray(), True
    if row or not some:
        yield row


def _batches(rows: Iterable[bytearray]) -> Iterator[list[bytearray]]:
    batch: list[bytearray] = []
    for row in rows:
        batch.append(row)
        if len(batch) * ROW_BYTES >= BULK_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch

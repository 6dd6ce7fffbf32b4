"""A high-water mark beside the database: a few bytes that reveal whether it has lost its last writes.

SQLite can't tell: a write-ahead log that is missing, or torn in its middle, reads like one that ends there. So each
decision that consensus persists is numbered within its transaction, and once that is durable the number is written
here, too. A number here that the database does not have belongs to a write that was acknowledged and then lost::

    commit, synced: 41 -> high water 41 -> commit, synced: 42 -> (killed)      database 42, here 41: fine
                                                              -> (log lost)    database 17, here 41: it forgot

It is written in place without a sync, which costs a microsecond. It survives a kill; after a power cut it may be lower
than before, which is harmless. A snapshot of the whole folder includes it, so only the other shards can detect that
the folder went back (`control/lives`).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final
from zlib import crc32

FILE: Final = "high-water"
_RECORD: Final = struct.Struct("<8sQQ")
_SUM: Final = struct.Struct("<I")
_MAGIC: Final = b"shoal-hw"


class HighWater:
    """The high-water mark of one folder. Methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, disk: int) -> int:
        """Returns the number of the last durable decision on this disk, or 0 if unknown."""
        record = os.pread(self._file, _RECORD.size + _SUM.size, 0)
        if len(record) != _RECORD.size + _SUM.size:
            return 0
        body, (said,) = record[: _RECORD.size], _SUM.unpack(record[_RECORD.size :])
        magic, of, number = _RECORD.unpack(body)
        return number if said == crc32(body) and magic == _MAGIC and of == disk else 0

    def write(self, disk: int, number: int) -> None:
        """Records that a decision is durable."""
        body = _RECORD.pack(_MAGIC, disk, number)
        os.pwrite(self._file, body + _SUM.pack(crc32(body)), 0)

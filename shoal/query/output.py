"""Writes results to files, one stretch at a time: CSV, Parquet, or Arrow's own format, by the name's suffix.

A file is written under a temporary name next to its own, and renamed when complete. If anything fails, there is no
partial file, and an existing file stays until then.
"""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol
from weakref import finalize

from shoal.api.errors import ShoalError
from shoal.graph.arrow import pa, pq

KINDS: Final = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


def _remove(partial: Path, process: int) -> None:
    if process == os.getpid():  # a child forked meanwhile leaves it to its parent
        partial.unlink(missing_ok=True)


class _Writer(Protocol):
    def write(self, batch: Any) -> None: ...
    def close(self) -> None: ...


class Output:
    """A file that is being written; it appears when its `with` block ends without an error.

    In a CSV file a single column is called `value`, several have their names; with `by_id` the id precedes them, as in
    all but tables. Raises `ShoalError` if it can't be written.
    """

    def __init__(self, path: Path, columns: Sequence[str], kind: str | None = None, *, by_id: bool = True) -> None:
        self.path, self.rows = path, 0
        self._kind = kind or kind_of(path)
        self._header = ["id", *(columns if len(columns) != 1 else ["value"])] if by_id else list(columns)
        self._writer: _Writer | None = None
        self._partial: Path | None = None
        self._remove: Callable[[], object] = lambda: None
        self._file: Any = None

    def __enter__(self) -> Output:
        self._partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.partial")
        # Ctrl-C may arrive before the `with` block begins, or just as it ends.
        self._remove = finalize(self, _remove, self._partial, os.getpid())
        try:
            if self._kind == "csv":
                self._file = self._partial.open("x", newline="", encoding="utf-8")
            else:
                self._file = self._partial.open("xb")
        except OSError as error:
            raise ShoalError(f"{self.path}: cannot be written: {error.strerror}") from error
        return self

    def write(self, batch: Any) -> None:
        """Adds the rows of a `pyarrow.RecordBatch`; all batches have the same columns."""
        try:
            if self._writer is None:
                self._writer = self._opened(batch.schema)
            self._writer.write(batch)
        except OSError as error:
            raise ShoalError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.rows += batch.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._partial is not None
        try:
            if self._writer is not None:
                self._writer.close()
            self._file.close()
            if kind is None:
                self._partial.replace(self.path)
        except OSError as failed:
            raise ShoalError(f"{self.path}: cannot be written: {failed.strerror or failed}") from failed
        finally:
            self._file.close()
            self._remove()

    def _opened(self, schema: Any) -> _Writer:
        match self._kind:
            case "csv":
                return _Csv(self._file, self._header)
            case "parquet":
                return _Parquet(self._file, schema)
            case _:
                writer: _Writer = pa.ipc.new_file(self._file, schema)
                return writer


class _Csv:
    """Writes CSV: floats as the shortest text that reads back as the same bits, and missing values as empty fields."""

    def __init__(self, file: Any, header: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(header)

    def write(self, batch: Any) -> None:
        self._writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def close(self) -> None:
        """Does nothing: the opener closes the file."""


class _Parquet:
    def __init__(self, file: Any, schema: Any) -> None:
        self._writer = pq.ParquetWriter(file, schema)

    def write(self, batch: Any) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


def kind_of(path: Path) -> str:
    """Returns the format of a file with this name. Raises `ShoalError`."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ShoalError(f"{path}: the format is not known: the name should end in {', '.join(KINDS)}")
    return kind

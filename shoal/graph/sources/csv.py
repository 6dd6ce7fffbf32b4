"""A table from a CSV or TSV file, plain or gzipped.

A header names the columns, and may type them: `id:int`, `weight:float`, `name:str`, `flag:bool`. Arrow parses the whole
file on all cores, without Python code per row. It reports no line numbers, so if it refuses a file, a second, slow pass
reads the file row by row to find the first wrong row. Arrow alone decides what is accepted.

An int is decimal (or 0x...) and fits 64 bits, a float has the usual syntax, a bool is true, false, 1 or 0. A string may
be empty, and so may a float, which then is NaN. Blank lines are skipped. `quoting` defines what quotes mean, and checks
the bytes while Arrow reads them.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from shoal.api.errors import did_you_mean
from shoal.graph.arrow import pa, pc, pcsv
from shoal.graph.columns import column_of
from shoal.graph.sources.quoting import AUTO, NONE, Watched, doubtful, line_of
from shoal.graph.table import BadRow, Table

TYPES = {"int": "int64", "float": "float64", "bool": "bool", "str": "string"}
"""The types that columns may declare, and their names in Arrow."""
TRUE, FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")
DAMAGE = (OSError, EOFError, zlib.error)
"""What reading raises if a gzip file is truncated or altered."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file whose header has been read: the columns' names, and the type that the header gives each, if any."""

    path: Path
    delimiter: str
    quote: str
    raw: tuple[str, ...]
    types: Mapping[str, str | None]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in order."""
        return tuple(self.types)

    def read(self, types: Mapping[str, str]) -> Table:
        """Returns all rows; `types` has an entry for each column: int, float, bool or str."""
        wanted = {raw: pa.type_for_alias(TYPES[types[name]]) for raw, name in zip(self.raw, self.names, strict=True)}
        convert = pcsv.ConvertOptions(
            column_types=wanted, null_values=[""], strings_can_be_null=False, true_values=TRUE, false_values=FALSE
        )
        try:
            table = self._parsed(convert)
            if tuple(table.column_names) != self.raw:
                raise BadRow(str(self.path), 1, "the header cannot be told from the rows; write it on the first line")
            columns = {name: table.column(i) for i, name in enumerate(self.names)}
            self._refuse_marks(table)
            for name, column in columns.items():
                if column.null_count and types[name] != "float":
                    raise pa.ArrowInvalid(f"column {name!r} has an empty field")
        except (pa.ArrowException, UnicodeError, OSError) as problem:
            if not self._has_rows():  # Arrow needs a line break after a header without rows
                return Table(
                    str(self.path),
                    {name: column_of(pa.array([], pa.type_for_alias(TYPES[types[name]])), name) for name in self.names},
                )
            raise self._explained([types[name] for name in self.names], problem) from None
        return Table(
            str(self.path),
            {name: column_of(column, f"{self.path}: column {name!r}") for name, column in columns.items()},
            "line",
            self._line,
        )

    def _parsed(self, convert: Any) -> Any:
        """Returns Arrow's table of the file. Raises `BadRow` if its quotes or bytes are invalid."""
        quoted = self.quote != NONE
        parse = pcsv.ParseOptions(
            delimiter=self.delimiter,
            quote_char='"' if quoted else False,
            double_quote=quoted,
            newlines_in_values=quoted,
        )
        with _opened(self.path) as stream:
            watched = Watched(stream, self.delimiter, self.quote)
            try:
                table = pcsv.read_csv(pa.PythonFile(watched, mode="r"), parse_options=parse, convert_options=convert)
            finally:
                watched.finish()
                if watched.fault is not None:
                    at, reason = watched.fault
                    raise BadRow(str(self.path), line_of(_bytes(self.path), at), reason) from None
        if watched.spans_lines and self.quote == AUTO:
            self._refuse_doubtful_rows()
        return table

    def _refuse_marks(self, table: Any) -> None:
        """Refuses a byte order mark of a second, appended file, which would be invisible in an id."""
        first = table.column(0)
        if not pa.types.is_string(first.type):
            return
        row = pc.index(pc.starts_with(first, "\ufeff"), True).as_py()
        if row >= 0:
            reason = "the line begins with a byte order mark; are these two files in one?"
            raise BadRow(str(self.path), self._line(row), reason)

    def _refuse_doubtful_rows(self) -> None:
        data = _bytes(self.path)
        found = doubtful(data, self.delimiter, len(self.names))
        if found is not None:
            begins, ends, rows = found
            first, last = line_of(data, begins), line_of(data, ends)
            raise BadRow(
                str(self.path),
                first,
                f"lines {first} to {last} are one row if quotes have their CSV meaning, and {rows} rows if"
                " they are ordinary characters; choose one (quote='double' or 'none', --quote double or none)",
            )

    def _line(self, row: int) -> int | None:
        try:
            found = next(islice(_rows(self.path, self.delimiter, self.quote), 1 + row, None), None)
        except BadRow:  # Arrow could read what this pass cannot; the row is still wrong
            return None
        return found[0] if found else None

    def _has_rows(self) -> bool:
        try:
            return next(islice(_rows(self.path, self.delimiter, self.quote), 1, None), None) is not None
        except DAMAGE:
            return True

    def _explained(self, types: Sequence[str], problem: Exception) -> BadRow:
        """Returns the first wrong row, if possible for the same reason as Arrow's."""
        line = 0
        rows = _rows(self.path, self.delimiter, self.quote)
        try:
            next(rows)
            for line, last, cells in rows:
                reason = self._wrong(types, cells)
                if reason is not None:
                    if last > line and len(cells) != len(self.names):
                        reason += f"; a quote is open from here to line {last}, is one missing?"
                    return BadRow(str(self.path), line, reason)
        except DAMAGE as damage:
            return _damaged(self.path, damage, line)
        return BadRow(str(self.path), None, f"the file cannot be read: {problem}")

    def _wrong(self, types: Sequence[str], cells: Sequence[str]) -> str | None:
        if len(cells) != len(self.names):
            number = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
            told = f"{number}, and the header has {len(self.names)}"
            if len(cells) < len(self.names):
                return told
            return told if self.quote == NONE else f"{told}; quote a value that has a {self.delimiter!r} in it"
        for name, kind, cell in zip(self.names, types, cells, strict=True):
            if any("\udc80" <= letter <= "\udcff" for letter in cell):
                return f"column {name!r}: the text is not UTF-8; save the file in that encoding"
            if cell == "" and kind in ("int", "bool"):
                return f"column {name!r} is empty and should be {_a(kind)}; fill it in, or type it float or str"
            if not CHECKS[kind](cell):
                return f"column {name!r}: {_short(cell)} is not {_a(kind)}{REMEDIES[kind]}"
        return None


def open_csv(path: Path, quote: str = AUTO) -> CsvFile:
    """Reads a file's header."""
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    try:
        found = next(_rows(path, delimiter, quote), None)
    except FileNotFoundError:
        raise BadRow(str(path), None, "there is no such file") from None
    except (IsADirectoryError, PermissionError) as problem:
        raise BadRow(str(path), None, f"the file cannot be opened: {problem.strerror}") from None
    except DAMAGE as damage:
        raise _damaged(path, damage, 0) from None
    if found is None:
        raise BadRow(str(path), None, "the file is empty; its first line names the columns")
    line, _, cells = found
    types: dict[str, str | None] = {}
    for cell in cells:
        name, colon, kind = cell.rpartition(":")
        name = name if colon else cell
        if any("\udc80" <= letter <= "\udcff" for letter in cell):
            raise BadRow(str(path), line, "the header is not UTF-8; save the file in that encoding")
        if colon and kind not in TYPES:
            hint = did_you_mean(kind, TYPES)
            raise BadRow(
                str(path), line, f"column {cell!r}: {kind!r} is not a type; write int, float, str or bool{hint}"
            )
        if not name:
            raise BadRow(str(path), line, "a column has no name; the first line names the columns")
        if name in types:
            raise BadRow(str(path), line, f"two columns are called {name!r}; rename one")
        types[name] = kind if colon else None
    return CsvFile(path, delimiter, quote, tuple(cells), types)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as raw:
        yield pa.input_stream(raw, compression="gzip") if path.suffix == ".gz" else raw


def _bytes(path: Path) -> bytes:
    """Returns all bytes of a file that has an error."""
    with _opened(path) as stream:
        return bytes(stream.read())


def _rows(path: Path, delimiter: str, quote: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yields the first and last line (from one) of each record, and its fields; skips blank lines, as Arrow does."""
    with path.open("rb") as raw:
        data = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        text = io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE if quote == NONE else csv.QUOTE_MINIMAL)
        last = 0
        try:
            for cells in reader:
                first, last = last + 1, reader.line_num
                if cells:
                    yield first, last, cells
        except csv.Error as problem:
            raise BadRow(str(path), last + 1, f"{problem}; is a quote missing?") from None


def _damaged(path: Path, damage: Exception, line: int) -> BadRow:
    if path.suffix != ".gz":
        return BadRow(str(path), line or None, f"the file cannot be read: {damage}")
    where = "the file is not gzip, or damaged" if line == 0 else "the gzip data is damaged or cut short after this line"
    return BadRow(str(path), line or None, f"{where} ({damage}); fetch or compress it again")


def _is_int(cell: str) -> bool:
    if not re.fullmatch(r"\s*(-?[0-9]+|0[xX][0-9a-fA-F]{1,16})\s*", cell, re.ASCII):
        return False
    text = cell.strip()
    return len(text) <= 40 and -(1 << 63) <= int(text, 16 if "x" in text.lower() else 10) < 1 << 63


def _is_float(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return "_" not in cell


CHECKS: dict[str, Callable[[str], bool]] = {
    "int": _is_int,
    "float": _is_float,
    "bool": lambda cell: cell in TRUE or cell in FALSE,
    "str": lambda cell: True,
}
REMEDIES = {"int": " of 64 bits", "float": "", "bool": "; write true or false", "str": ""}


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "int" else f"a {kind}"


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else cell[:57] + "...")

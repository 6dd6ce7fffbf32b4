"""Checks that the quotes of a CSV file mean what its reader assumes, while the file is being read.

A CSV reader treats a quote at the beginning of a field as the start of a quoted field, which extends over any number of
lines to the next quote. Where quotes are just characters (`"Heroes` is the title of a record), rows are swallowed
without an error. RFC 4180 does not allow this: a quoted field ends before a delimiter or a line's end, quotes within it
are doubled, and an unquoted field has none. Files that follow it are accepted; in any other, the first quote that
violates it is an error.

The RFC leaves one case ambiguous, which is checked last: a row over several lines, each of which could be a row.

No Python code runs per byte or row: numpy counts quotes a block at a time, and a block without any costs one search.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from shoal.graph.table import BadGraph

AUTO, DOUBLE, NONE = "auto", "double", "none"
QUOTING: Final = {
    AUTO: "RFC 4180, and what may be meant in two ways is refused",
    DOUBLE: "RFC 4180, whatever a quoted field holds",
    NONE: "quotes are characters like others; no field holds a delimiter or a line break",
}
"""The meanings of quotes in a file."""

BLOCK: Final = 1 << 20
QUOTE, CR, LF = b'"'[0], b"\r"[0], b"\n"[0]
MARK: Final = b"\xef\xbb\xbf"
PLAIN_QUOTES: Final = "if quotes are ordinary characters in this file, use quote='none' (--quote none)"


def check_quoting(quote: str) -> str:
    """Returns the quoting mode if it is one. Raises `BadGraph`."""
    if quote not in QUOTING:
        raise BadGraph(f"quote is one of {', '.join(QUOTING)}, not {quote!r}")
    return quote


class Watched:
    """A binary stream that is checked while it is read; `fault` is the first error: its byte, and the reason."""

    def __init__(self, stream: Any, delimiter: str, quote: str) -> None:
        self._stream, self._quotes = stream, quote != NONE
        self._ends = np.frombuffer(delimiter.encode() + b'\r\n"', np.uint8)
        """What may surround a quoted field; a quote there belongs to a doubled one."""
        self.fault: tuple[int, str] | None = None
        self.spans_lines = False
        """Whether a quoted field has contained a line break."""
        self.closed = False
        self._at = 0
        """The number of bytes read."""
        self._unjudged = b"\n"
        """The byte before the next one to be judged, and that one too if its successor has not arrived; a file begins
        as a line does.
        """
        self._is_open, self._opened = False, 0

    def read(self, size: int = -1) -> Any:
        """Returns the next bytes."""
        block = self._stream.read(size)
        if block and self.fault is None:
            self._look(bytes(block))
        return block

    def readable(self) -> bool:
        """Returns True: stream consumers ask."""
        return True

    def close(self) -> None:
        """Ends reading; the opener closes the stream."""
        self.closed = True

    def finish(self) -> None:
        """Reads the rest, and completes the checks."""
        while self.fault is None and self.read(BLOCK):
            pass
        if self.fault is None and self._quotes:
            self._look_at_quotes(self._at, b"\n")
        if self.fault is None and self._is_open:
            self.fault = self._opened, f"a quote is opened here and never closed; {PLAIN_QUOTES}"

    def _look(self, block: bytes) -> None:
        if self._at == 0 and block.startswith(MARK):
            self._at, block = len(MARK), block[len(MARK) :]
        null = block.find(b"\0")
        if null >= 0:
            self.fault = self._at + null, "there is a NUL byte; save the file as text, in UTF-8"
        if self._quotes and self.fault is None:
            if self._is_open or QUOTE in block or len(self._unjudged) > 1:
                self._look_at_quotes(self._at, block)
            else:
                self._unjudged = block[-1:] or self._unjudged
        self._at += len(block)

    def _look_at_quotes(self, at: int, block: bytes) -> None:
        """Judges every quote whose neighbours are both known; the block's last byte may have to wait."""
        held = np.frombuffer(self._unjudged + block, np.uint8)
        begins = at - len(self._unjudged)
        judged = held[:-1]
        quotes = np.flatnonzero(judged[1:] == QUOTE) + 1
        opening, closing = quotes[int(self._is_open) :: 2], quotes[1 - int(self._is_open) :: 2]
        fields = opening[held[opening - 1] != QUOTE]
        wrong_opening = opening[~np.isin(held[opening - 1], self._ends)]
        wrong_closing = closing[~np.isin(held[closing + 1], self._ends)]
        if len(wrong_opening) or len(wrong_closing):
            first = min([*wrong_opening[:1].tolist(), *wrong_closing[:1].tolist()])
            if first in wrong_opening[:1]:
                reason = "there is a quote inside a field that does not begin with one; quote the whole field and"
                self.fault = begins + first, f"{reason} double the quotes in it, or, {PLAIN_QUOTES}"
                return
            before = fields[fields < first]
            where = begins + int(before[-1]) if len(before) else self._opened
            reason = "the quoted field that begins here goes on behind its closing quote; double the quotes in it, or,"
            self.fault = where, f"{reason} {PLAIN_QUOTES}"
            return
        if not self.spans_lines:
            breaks = np.flatnonzero((judged == LF) | (judged == CR))
            self.spans_lines = bool(((np.searchsorted(quotes, breaks) + self._is_open) & 1).any())
        if len(fields):
            self._opened = begins + int(fields[-1])
        self._is_open ^= bool(len(quotes) & 1)
        self._unjudged = held[-2:].tobytes() if held[-1] == QUOTE else held[-1:].tobytes()


def doubtful(data: bytes, delimiter: str, fields: int) -> tuple[int, int, int] | None:
    """Returns the first row over several lines of which each, ignoring quotes, would be a row of `fields` fields.

    Returns its first and last byte, and how many rows it would be; None if there is no such row.
    """
    held = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((held == LF) | (held == CR))
    if not len(ends) or ends[-1] != len(held) - 1:
        ends = np.append(ends, len(held))
    begins = np.concatenate([[0], ends[:-1] + 1])
    delimiters, quotes = np.flatnonzero(held == delimiter.encode()[0]), np.flatnonzero(held == QUOTE)
    count = np.diff(np.searchsorted(delimiters, np.append(begins, len(held))))
    is_blank, is_inside = begins == ends, (np.searchsorted(quotes, ends) & 1) > 0
    row = np.concatenate([[0], np.cumsum(~is_inside)[:-1]])  # per line: the number of rows that ended before it
    would_do = is_blank | (count == fields - 1)
    rows = int(row[-1]) + 1
    lines = np.bincount(row, ~is_blank, rows)
    fitting = np.bincount(row, would_do & ~is_blank, rows)
    found = np.flatnonzero((lines > 1) & (lines == fitting))
    if not len(found):
        return None
    mine = np.flatnonzero(row == found[0])
    return int(begins[mine[0]]), int(ends[mine[-1]]), int(lines[found[0]])


def line_of(data: bytes, at: int) -> int:
    """Returns the line, from one, of a byte."""
    before = data[:at]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")

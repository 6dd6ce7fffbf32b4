"""The building blocks of all pages: tables, pairs and cells, bounded in width and plain off a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shoal.api.text import LINES, printable

Result = Mapping[str, Any]
WIDTH_MIN: Final = 40
STATE_STYLES: Final = {
    "alive": "green",
    "joined": "green",
    "running": "cyan",
    "completed": "green",
    "ready": "green",
    "suspect": "yellow",
    "starting": "yellow",
    "stopped": "yellow",
    "dead": "red",
    "paused": "yellow",
    "waiting": "yellow",
    "draining": "yellow",
    "drained": "yellow",
    "failed": "red",
    "down": "red",
    "halted": "red",
}


@dataclass(frozen=True, slots=True)
class Page:
    """The output: its width, and whether it has colours."""

    width: int = 100
    colour: bool = False


def drawn(page: Page, *parts: Table | str) -> str:
    """Renders the parts below each other at the page's width."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(page.width, WIDTH_MIN),
        force_terminal=page.colour,
        no_color=not page.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    for part in parts:
        console.print(printable(part, LINES) if isinstance(part, str) else part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def cell(value: Any) -> Text:
    """Renders one value: missing ones as a dash, states in their colours."""
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return Text(printable(", ".join(str(item) for item in value)) or "-")
    if isinstance(value, Mapping):
        return Text(printable(" ".join(f"{key}={inner}" for key, inner in value.items())) or "-")
    # Control characters in a name would move the reader's cursor.
    text = printable(str(value))
    return Text(text, style=STATE_STYLES.get(text, ""))


def grid(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    """Builds a table with column titles; the columns in `right` hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0))
    for column in columns:
        table.add_column(printable(column).upper(), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    return table


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Builds a table of names and values, one pair per line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(printable(name), cell(value))
    return table


def listing(key: str, columns: Sequence[str], right: Sequence[str] = ()) -> Callable[[Result, Page], str]:
    """Returns a renderer of `result[key]`, a list of objects, with the given fields as columns."""

    def draw(result: Result, page: Page) -> str:
        rows = rows_of(result, key)
        if not rows:
            return f"no {key}"
        titles = [column.replace("_", " ") for column in columns]
        ranged = [column.replace("_", " ") for column in right]
        return drawn(page, grid(titles, ([row.get(column) for column in columns] for row in rows), ranged))

    return draw


def rows_of(result: Result, key: str) -> list[Mapping[str, Any]]:
    """Returns the objects of a list that may be missing."""
    found = result.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, (list, tuple)) else []


def map_of(result: Result, key: str) -> Mapping[str, Any]:
    """Returns an object that may be missing."""
    found = result.get(key)
    return found if isinstance(found, Mapping) else {}


def duration(seconds: Any) -> str:
    """Formats seconds for people.

    >>> duration(0.0123), duration(75), duration(90061)
    ('12.3 ms', '1m 15s', '1d 1h')
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    shown = [f"{count}{unit}" for count, unit in parts if count]
    return " ".join(shown[:2])


def count(value: Any) -> str:
    """Formats a number with thousands separators."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "-"


def exact(value: Any) -> Any:
    """Formats a float with all its digits: people also compare two shards' answers by eye."""
    return repr(value) if isinstance(value, float) else value

"""Pages about programs: the list, and one in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.table import Table

from daemon.admin.pages.page import (
    Page,
    Result,
    drawn,
    facts,
    grid,
    rows_of,
)

DIGITS_SHOWN: Final = 12


def listed(result: Result, page: Page) -> str:
    """All programs that can be run."""
    rows = [
        (
            program.get("name"),
            program.get("origin"),
            str(program.get("digest") or "")[:DIGITS_SHOWN],
            program.get("summary"),
            [_given(param) for param in rows_of(program, "params")],
            [c.get("name", "-") if isinstance(c, Mapping) else c for c in program.get("columns") or ()],
        )
        for program in rows_of(result, "programs")
    ]
    columns = ["program", "origin", "digest", "what it does", "parameters", "columns"]
    return drawn(page, grid(columns, rows)) if rows else "no programs"


def _given(param: Result) -> str:
    """A parameter with its default as it would be given, or only its name."""
    name, default = param.get("name", "-"), param.get("default")
    return str(name) if default is None else f"{name}={default}"


def program(result: Result, page: Page) -> str:
    """One program in full."""
    shown = ("program", "name", "state", "summary", "origin", "digest", "replaced", "phases", "columns")
    parts: list[Table | str] = [facts((key, result[key]) for key in shown if result.get(key) is not None)]
    if params := rows_of(result, "params"):
        rows = [(p.get("name"), p.get("type"), p.get("default"), p.get("doc")) for p in params]
        parts += ["", grid(["parameter", "type", "default", "what it is"], rows)]
    if versions := rows_of(result, "versions"):
        rows = [(v.get("digest"), v.get("is_current"), v.get("bytes"), v.get("runs")) for v in versions]
        parts += ["", grid(["version", "current", "bytes", "runs"], rows, ["bytes"])]
    return drawn(page, *parts)

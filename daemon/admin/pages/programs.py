"""Programs: all there are, and one in full."""

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
    """All that can be run."""
    rows = [
        (
            program.get("name"),
            program.get("origin"),
            str(program.get("digest") or "")[:DIGITS_SHOWN],
            program.get("summary"),
            ", ".join(f"{p.get('name')}={p.get('default')}" for p in program.get("params") or ()),
            [c.get("name", "-") if isinstance(c, Mapping) else c for c in program.get("columns") or ()],
        )
        for program in rows_of(result, "programs")
    ]
    columns = ["program", "origin", "digest", "what it does", "parameters", "columns"]
    return drawn(page, grid(columns, rows)) if rows else "no programs"


def program(result: Result, page: Page) -> str:
    """One in full."""
    shown = ("program", "name", "state", "summary", "origin", "digest", "replaced", "phases", "columns")
    parts: list[Table | str] = [facts((key, result[key]) for key in shown if result.get(key) is not None)]
    if params := rows_of(result, "params"):
        rows = [(p.get("name"), p.get("type"), p.get("default"), p.get("doc")) for p in params]
        parts += ["", grid(["parameter", "type", "default", "what it is"], rows)]
    if versions := rows_of(result, "versions"):
        rows = [(v.get("digest"), v.get("is_current"), v.get("bytes"), v.get("runs")) for v in versions]
        parts += ["", grid(["version", "current", "bytes", "runs"], rows, ["bytes"])]
    return drawn(page, *parts)

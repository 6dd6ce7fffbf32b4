"""Results of commands as text for people: pure functions from a result to a page.

The daemon answers plain words with these, and shoalctl prints the same, so a table looks alike everywhere. A result may
lack any field (another version sent it): a missing one is shown as "-", never as a traceback.

>>> print(render("log-level", {"level": "debug"}))
level  debug
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rich.table import Table

from daemon.admin.pages import cluster, graphs, programs, runs
from daemon.admin.pages.page import Page, Result, drawn, facts, grid, listing, rows_of


def render(command: str, result: Result, page: Page | None = None) -> str:
    """Renders the result of `command` for people, without a final newline."""
    chosen = RENDERERS.get(command, _anything)
    return chosen(result, page if page is not None else Page()).rstrip()


def _help(result: Result, page: Page) -> str:
    commands = rows_of(result, "commands")
    if len(commands) != 1:
        return drawn(page, grid(["command", "what it does"], [(c.get("usage"), c.get("summary")) for c in commands]))
    (only,) = commands
    rows = [(p.get("name"), p.get("type"), p.get("default"), p.get("summary")) for p in only.get("params") or ()]
    parts: list[Table | str] = [str(only.get("usage")), str(only.get("summary"))]
    if rows:
        parts += ["", grid(["argument", "type", "default", "what it is"], rows)]
    return drawn(page, *parts)


def _text(result: Result, page: Page) -> str:
    return str(result.get("text", ""))


def _anything(result: Result, page: Page) -> str:
    """Renders a result without a page of its own: single values, then each list of objects as a table."""
    single = {key: value for key, value in result.items() if not rows_of({key: value}, key)}
    parts: list[Table | str] = (
        [facts((key.replace("_", " "), value) for key, value in single.items())] if single else []
    )
    for key in (key for key in result if key not in single):
        rows = rows_of(result, key)
        columns = list(rows[0])
        numbers = [column for column in columns if type(rows[0][column]) in (int, float)]
        parts += ["", grid(columns, ([row.get(column) for column in columns] for row in rows), numbers)]
    return drawn(page, *parts).lstrip("\n") if parts else "done"


RENDERERS: Final[Mapping[str, Callable[[Result, Page], str]]] = {
    "status": cluster.status,
    "members": cluster.members,
    "view": cluster.view,
    "ring": cluster.ring,
    "barrier": cluster.barrier,
    "backup": cluster.backup,
    "drain": cluster.handed_over,
    "leave": cluster.handed_over,
    "ghosts": graphs.ghosts,
    "graph load": graphs.loaded,
    "graph list": listing(
        "graphs", ("graph", "state", "nodes", "edges", "directed", "partitions"), ("nodes", "edges", "partitions")
    ),
    "graph show": graphs.graph,
    "run list": runs.runs,
    "run start": runs.run,
    "run show": runs.run,
    "run wait": runs.run,
    "run stop": runs.run,
    "run step": runs.step,
    "run ticks": runs.ticks,
    "run result": runs.result,
    "run rows": runs.rows,
    "run table": runs.table,
    "run search": runs.hits,
    "program list": programs.listed,
    "program show": programs.program,
    "program deploy": programs.program,
    "metrics": _text,
    "log show": listing("entries", ("index", "term", "what", "bytes", "outcome", "words"), ("index", "term", "bytes")),
    "log skip": lambda result, page: drawn(page, facts(result.items())),
    "dev status": listing("shards", ("shard", "pid", "state", "epoch", "leader", "socket"), ("pid", "epoch")),
    "help": _help,
}

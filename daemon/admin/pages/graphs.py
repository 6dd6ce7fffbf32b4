"""Pages about graphs, and each shard's part of them."""

from __future__ import annotations

from daemon.admin.pages.page import (
    Page,
    Result,
    count,
    drawn,
    duration,
    facts,
    grid,
    map_of,
    rows_of,
)


def loaded(result: Result, page: Page) -> str:
    """A graph that was just loaded."""
    numbers = [
        (key.replace("_", " "), count(result.get(key))) for key in ("nodes", "edges", "partitions", "cross_edges")
    ]
    pairs = [("graph", result.get("graph")), *numbers, ("directed", result.get("directed"))]
    return drawn(page, facts([*pairs, ("took", duration(result.get("seconds")))]))


def graph(result: Result, page: Page) -> str:
    """A graph, and each shard's part of it."""
    head = facts(
        [
            ("graph", result.get("graph")),
            ("load", result.get("load")),
            ("state", result.get("state")),
            ("nodes", count(result.get("nodes"))),
            ("edges", count(result.get("edges"))),
            ("directed", result.get("directed")),
            ("partitions", result.get("partitions")),
            ("node columns", result.get("node_columns")),
            ("edge columns", result.get("edge_columns")),
        ]
    )
    rows = [
        (name, *(count(part.get(key)) for key in ("nodes", "edges", "ghosts", "bytes")))
        for name, part in map_of(result, "shards").items()
    ]
    return drawn(
        page,
        head,
        "",
        grid(["shard", "nodes", "edges", "ghosts", "bytes"], rows, ["nodes", "edges", "ghosts", "bytes"]),
    )


def ghosts(result: Result, page: Page) -> str:
    """Copies of remote nodes, by graph."""
    rows = [
        (
            g.get("graph"),
            count(g.get("own")),
            count(g.get("ghosts")),
            g.get("tick"),
            duration(g.get("age_seconds")),
            g.get("by_owner"),
        )
        for g in rows_of(result, "graphs")
    ]
    columns = ["graph", "own", "ghosts", "tick", "age", "by owner"]
    return drawn(page, grid(columns, rows, ["own", "ghosts", "tick"])) if rows else "no graphs"

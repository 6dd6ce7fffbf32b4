"""Pages about runs and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from daemon.admin.pages.page import (
    Page,
    Result,
    count,
    drawn,
    duration,
    exact,
    facts,
    grid,
    map_of,
    rows_of,
)
from shoal.api.text import printable


def runs(result: Result, page: Page) -> str:
    """All runs; queued ones with their place in the queue."""
    columns = ["run", "program", "graph", "state", "tick", "ticks"]
    rows = [
        [_state(row) if column == "state" else row.get(column) for column in columns] for row in rows_of(result, "runs")
    ]
    return drawn(page, grid(columns, rows, ["tick", "ticks"])) if rows else "no runs"


def _state(run: Result) -> Any:
    place = run.get("place")
    return run.get("state") if place is None else f"{run.get('state')}, place {count(place)}"


def run(result: Result, page: Page) -> str:
    """One run, and each shard's position in it."""
    pairs: list[tuple[str, Any]] = [
        ("run", result.get("run")),
        ("state", _state(result)),
        ("outcome", result.get("outcome") if result.get("outcome") != result.get("state") else None),
        ("program", result.get("program")),
        ("digest", result.get("digest")),
        ("graph", result.get("graph")),
        ("params", result.get("params")),
        ("tick", f"{result.get('tick', '-')} of {result.get('ticks') or '-'}"),
        ("phase", result.get("phase")),
        ("time", duration(result.get("seconds"))),
    ]
    if last := map_of(result, "last_tick"):
        pairs.append(("last tick", _tick(last)))
    pairs += [(k.replace("_", " "), count(v) if type(v) is int else v) for k, v in map_of(result, "figures").items()]
    pairs += [(k.replace("_", " "), count(v)) for k, v in map_of(result, "totals").items()]
    parts: list[Table | str] = [facts([pair for pair in pairs if pair[0] != "outcome" or pair[1] is not None])]
    if shards := map_of(result, "shards"):
        rows = [
            (name, s.get("tick"), s.get("phase"), s.get("doing"), duration(s.get("seconds")))
            for name, s in shards.items()
        ]
        parts += ["", grid(["shard", "tick", "phase", "doing", "for"], rows, ["tick"])]
    if error := result.get("error"):
        # A program's traceback keeps its lines; nothing else does.
        parts += ["", "error", *(f"  {printable(line)}" for line in str(error).splitlines())]
    return drawn(page, *parts)


def _tick(tick: Result) -> str:
    """The cost of one tick: for each phase, the time of the slowest shard."""
    slowest = [
        f"{phase} {duration(max((took for took in seconds.values() if isinstance(took, (int, float))), default=None))}"
        for phase, seconds in map_of(tick, "phases").items()
        if isinstance(seconds, Mapping)
    ]
    phases = f"{', '.join(slowest)} where it took longest; " if slowest else ""
    return f"{tick.get('tick', '-')}: {phases}{count(tick.get('cross_bytes'))} bytes between shards"


def step(result: Result, page: Page) -> str:
    """One tick of a paced run, with each shard's times."""
    phases = {phase: each for phase, each in map_of(result, "phases").items() if isinstance(each, Mapping)}
    crossed = ("bytes between shards", count(result.get("cross_bytes")))
    head = facts([("run", result.get("run")), ("tick", result.get("tick")), crossed])
    shards = list(dict.fromkeys(shard for each in phases.values() for shard in each))
    rows = [(shard, *(duration(each.get(shard)) for each in phases.values())) for shard in shards]
    return drawn(page, head, "", grid(["shard", *phases], rows)) if rows else drawn(page, head)


def result(result: Result, page: Page) -> str:
    """Values of one column."""
    rows = [(row.get("id"), exact(row.get("value"))) for row in rows_of(result, "rows")]
    of = f"{len(rows)} of {count(result.get('count'))} values"
    shown = f"{of} after tick {result.get('tick', '-')}, digest {result.get('digest', '-')}"
    return drawn(page, grid(["id", str(result.get("column", "value"))], rows), "", shown)


def ticks(result: Result, page: Page) -> str:
    """The ticks at which a run can be read."""
    ticks = ", ".join(str(tick) for tick in result.get("ticks") or ()) or "none"
    name, state, tick = (result.get(key, "-") for key in ("run", "state", "tick"))
    return drawn(page, facts([("run", name), ("state", state), ("tick", tick), ("can be read at", ticks)]))


def rows(result: Result, page: Page) -> str:
    """A summary: the values themselves follow as buffers, which are for programs."""
    rows = f"{count(result.get('count'))} of {count(result.get('total'))}"
    pairs = [("run", result.get("run")), ("tick", result.get("tick")), ("rows", rows)]
    return drawn(page, facts([*pairs, ("columns", ", ".join(map_of(result, "columns")))]))


def table(result: Result, page: Page) -> str:
    """Rows that shoalctl has collected; the daemon's own reply has them as buffers, for programs."""
    rows = rows_of(result, "rows")
    name, digest = result.get("table", "-"), result.get("digest", "-")
    if not rows:
        pairs = [
            (key, result.get(key)) for key in ("run", "table", "tick", "partition", "partitions", "count", "total")
        ]
        return drawn(page, facts([pair for pair in pairs if pair[1] is not None]))
    table = grid(list(rows[0]), [[exact(value) for value in row.values()] for row in rows])
    return drawn(page, table, "", f"{len(rows)} of {count(result.get('count'))} rows of {name}, digest {digest}")


def hits(result: Result, page: Page) -> str:
    """The best hits of a search, and how often its terms occur."""
    rows = [(row.get("id"), exact(row.get("score"))) for row in rows_of(result, "hits")]
    terms = ", ".join(f"{term} in {count(times)}" for term, times in map_of(result, "terms").items())
    return drawn(page, grid(["id", "score"], rows), "", f"{count(result.get('documents'))} documents; {terms}")

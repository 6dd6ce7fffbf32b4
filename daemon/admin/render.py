"""Results of commands as text for people: pure functions from a result to a page.

The daemon answers plain words with these, and shoalctl prints the same, so a table looks alike wherever it is read. A
result may lack any field (another version sent it): what is not there is shown as "-", never as a traceback.

>>> print(render("log-level", {"level": "debug"}))
level  debug
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    """What is written on: how wide, and whether in colour."""

    width: int = 100
    colour: bool = False


def render(command: str, result: Result, page: Page | None = None) -> str:
    """The result of `command` for a person, without a final newline."""
    chosen = RENDERERS.get(command, _anything)
    return chosen(result, page if page is not None else Page()).rstrip()


def _drawn(page: Page, *parts: Table | str) -> str:
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
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _cell(value: Any) -> Text:
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return Text(", ".join(str(item) for item in value) or "-")
    if isinstance(value, Mapping):
        return Text(" ".join(f"{key}={inner}" for key, inner in value.items()) or "-")
    # Control characters in a name would move the cursor of whoever reads it.
    text = _harmless(str(value))
    return Text(text, style=STATE_STYLES.get(text, ""))


def _harmless(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0))
    for column in columns:
        table.add_column(column.upper(), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, _cell(value))
    return table


def _rows(result: Result, key: str) -> list[Mapping[str, Any]]:
    return [row for row in result.get(key) or () if isinstance(row, Mapping)]


def _map(result: Result, key: str) -> Mapping[str, Any]:
    found = result.get(key)
    return found if isinstance(found, Mapping) else {}


def listing(key: str, columns: Sequence[str], right: Sequence[str] = ()) -> Callable[[Result, Page], str]:
    """A renderer of `result[key]`, a list of objects, with the given fields as columns."""

    def draw(result: Result, page: Page) -> str:
        rows = _rows(result, key)
        if not rows:
            return f"no {key}"
        titles = [column.replace("_", " ") for column in columns]
        ranged = [column.replace("_", " ") for column in right]
        return _drawn(page, _table(titles, ([row.get(column) for column in columns] for row in rows), ranged))

    return draw


def duration(seconds: Any) -> str:
    """Seconds as a person says them.

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
    """A number with its thousands apart."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "-"


def _status(result: Result, page: Page) -> str:
    members = _map(result, "members")
    runs = _map(result, "runs")
    return _drawn(
        page,
        _pairs(
            [
                ("shard", f"{result.get('shard', '-')} (generation {result.get('generation', '-')})"),
                ("state", result.get("state")),
                ("cluster", result.get("cluster")),
                ("epoch", result.get("epoch")),
                ("leader", f"{result.get('leader') or 'none'} (term {result.get('term', '-')})"),
                *_majority(result),
                ("members", ", ".join(f"{n} {state}" for state, n in members.items() if n) or "none"),
                ("graphs", result.get("graphs")),
                *_halted(result),
                *_repair(result),
                ("runs", ", ".join(f"{n} {state}" for state, n in runs.items() if n) or "none"),
                ("up", duration(result.get("uptime_seconds"))),
                ("version", f"{result.get('version', '-')} (pid {result.get('pid', '-')})"),
            ]
        ),
    )


def _majority(result: Result) -> list[tuple[str, Any]]:
    found = result.get("majority")
    if not isinstance(found, bool):
        return []
    return [("majority", "yes" if found else "no: nothing is decided and no tick is committed on this side")]


def _halted(result: Result) -> list[tuple[str, Any]]:
    """Graphs that lack partitions, one a line: whose disks have to come back."""
    return [
        (
            "halted",
            f"{row.get('graph', '-')}: no live copy of {_partitions(row.get('partitions'))}; "
            f"held by {', '.join(map(str, row.get('shards') or ())) or 'nobody known'}",
        )
        for row in _rows(result, "halted")
    ]


def _repair(result: Result) -> list[tuple[str, Any]]:
    repair = _map(result, "repair")
    if not repair:
        return []
    done, total = count(repair.get("done")), count(repair.get("total"))
    return [("repair", f"{done} of {total} copies made, {count(repair.get('bytes'))} bytes")]


def _partitions(numbers: Any) -> str:
    """Partitions by number, neighbours as a range.

    >>> _partitions([3, 4, 5, 9]), _partitions([7]), _partitions(None)
    ('partitions 3-5, 9', 'partition 7', 'its partitions')
    """
    found = sorted({n for n in numbers if isinstance(n, int)}) if isinstance(numbers, (list, tuple)) else []
    if not found:
        return "its partitions"
    ranges: list[list[int]] = []
    for number in found:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return f"partition{'s' * (len(found) > 1)} " + ", ".join("-".join(map(str, each)) for each in ranges)


def _view(result: Result, page: Page) -> str:
    placement = _map(result, "placement")
    head = _pairs(
        [("epoch", result.get("epoch")), ("leader", result.get("leader")), ("partitions", result.get("partitions"))]
    )
    return _drawn(
        page,
        head,
        "",
        _table(["member", "partitions"], [(m, placement.get(str(m))) for m in result.get("members") or ()]),
    )


def _ring(result: Result, page: Page) -> str:
    head = _pairs([("virtual nodes", result.get("virtual_nodes"))])
    rows = [(row.get("partition"), row.get("primary"), row.get("replicas")) for row in _rows(result, "partitions")]
    return _drawn(page, head, "", _table(["partition", "primary", "replicas"], rows, ["partition"]))


def _barrier(result: Result, page: Page) -> str:
    parts: list[Table | str] = []
    for run in _rows(result, "runs"):
        missing, doing = run.get("missing") or [], _map(run, "doing")
        head = f"{run.get('run', '-')}  tick {run.get('tick', '-')}  phase {run.get('phase', '-')}"
        wait = f"  waiting {duration(run.get('waiting_seconds'))} for {', '.join(missing)}" if missing else ""
        rows = [
            (shard, phases, "missing" if shard in missing else "there", doing.get(shard))
            for shard, phases in _map(run, "entries").items()
        ]
        parts += [head + wait, _table(["shard", "phases", "barrier", "doing"], rows, ["phases"]), ""]
    return _drawn(page, *parts) if parts else "no run is under way: nobody waits at a barrier"


def _ghosts(result: Result, page: Page) -> str:
    rows = [
        (
            g.get("graph"),
            count(g.get("own")),
            count(g.get("ghosts")),
            g.get("tick"),
            duration(g.get("age_seconds")),
            g.get("by_owner"),
        )
        for g in _rows(result, "graphs")
    ]
    columns = ["graph", "own", "ghosts", "tick", "age", "by owner"]
    return _drawn(page, _table(columns, rows, ["own", "ghosts", "tick"])) if rows else "no graphs"


def _loaded(result: Result, page: Page) -> str:
    numbers = [
        (key.replace("_", " "), count(result.get(key))) for key in ("nodes", "edges", "partitions", "cross_edges")
    ]
    pairs = [("graph", result.get("graph")), *numbers, ("directed", result.get("directed"))]
    return _drawn(page, _pairs([*pairs, ("took", duration(result.get("seconds")))]))


def _graph(result: Result, page: Page) -> str:
    head = _pairs(
        [
            ("graph", result.get("graph")),
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
        for name, part in _map(result, "shards").items()
    ]
    return _drawn(
        page,
        head,
        "",
        _table(["shard", "nodes", "edges", "ghosts", "bytes"], rows, ["nodes", "edges", "ghosts", "bytes"]),
    )


def _run(result: Result, page: Page) -> str:
    pairs: list[tuple[str, Any]] = [
        ("run", result.get("run")),
        ("state", result.get("state")),
        ("program", result.get("program")),
        ("digest", result.get("digest")),
        ("graph", result.get("graph")),
        ("params", result.get("params")),
        ("tick", f"{result.get('tick', '-')} of {result.get('ticks') or '-'}"),
        ("phase", result.get("phase")),
        ("seconds", result.get("seconds")),
    ]
    pairs += [(f"last tick {k}".replace("_", " "), v) for k, v in _map(result, "last_tick").items()]
    pairs += [(k.replace("_", " "), v) for k, v in _map(result, "figures").items()]
    pairs += [(k.replace("_", " "), count(v)) for k, v in _map(result, "totals").items()]
    parts: list[Table | str] = [_pairs(pairs)]
    if shards := _map(result, "shards"):
        rows = [
            (name, s.get("tick"), s.get("phase"), s.get("doing"), duration(s.get("seconds")))
            for name, s in shards.items()
        ]
        parts += ["", _table(["shard", "tick", "phase", "doing", "for"], rows, ["tick"])]
    if error := result.get("error"):
        # A program's traceback keeps its lines; nothing else does.
        parts += ["", "error", *(f"  {_harmless(line)}" for line in str(error).splitlines())]
    return _drawn(page, *parts)


def _run_result(result: Result, page: Page) -> str:
    rows = [(row.get("id"), _exact(row.get("value"))) for row in _rows(result, "rows")]
    of = f"{len(rows)} of {count(result.get('count'))} values"
    shown = f"{of} after tick {result.get('tick', '-')}, digest {result.get('digest', '-')}"
    return _drawn(page, _table(["id", str(result.get("column", "value"))], rows), "", shown)


def _run_ticks(result: Result, page: Page) -> str:
    ticks = ", ".join(str(tick) for tick in result.get("ticks") or ()) or "none"
    name, state, tick = (result.get(key, "-") for key in ("run", "state", "tick"))
    return _drawn(page, _pairs([("run", name), ("state", state), ("tick", tick), ("can be read at", ticks)]))


def _run_rows(result: Result, page: Page) -> str:
    """The values themselves follow as buffers, which are for programs."""
    rows = f"{count(result.get('count'))} of {count(result.get('total'))}"
    pairs = [("run", result.get("run")), ("tick", result.get("tick")), ("rows", rows)]
    return _drawn(page, _pairs([*pairs, ("columns", ", ".join(_map(result, "columns")))]))


def _run_table(result: Result, page: Page) -> str:
    """Rows as shoalctl has put them together; the daemon's own answer has them as buffers, for programs."""
    rows = _rows(result, "rows")
    name, digest = result.get("table", "-"), result.get("digest", "-")
    if not rows:
        pairs = [
            (key, result.get(key)) for key in ("run", "table", "tick", "partition", "partitions", "count", "total")
        ]
        return _drawn(page, _pairs([pair for pair in pairs if pair[1] is not None]))
    table = _table(list(rows[0]), [[_exact(value) for value in row.values()] for row in rows])
    return _drawn(page, table, "", f"{len(rows)} of {count(result.get('count'))} rows of {name}, digest {digest}")


def _run_search(result: Result, page: Page) -> str:
    rows = [(row.get("id"), _exact(row.get("score"))) for row in _rows(result, "hits")]
    terms = ", ".join(f"{term} in {count(times)}" for term, times in _map(result, "terms").items())
    return _drawn(page, _table(["id", "score"], rows), "", f"{count(result.get('documents'))} documents; {terms}")


def _exact(value: Any) -> Any:
    """A float with all its digits: two shards' answers are compared by eye as well."""
    return repr(value) if isinstance(value, float) else value


DIGITS_SHOWN: Final = 12


def _programs(result: Result, page: Page) -> str:
    rows = [
        (
            program.get("name"),
            program.get("origin"),
            str(program.get("digest") or "")[:DIGITS_SHOWN],
            program.get("summary"),
            ", ".join(f"{p.get('name')}={p.get('default')}" for p in program.get("params") or ()),
            [c.get("name", "-") if isinstance(c, Mapping) else c for c in program.get("columns") or ()],
        )
        for program in _rows(result, "programs")
    ]
    columns = ["program", "origin", "digest", "what it does", "parameters", "columns"]
    return _drawn(page, _table(columns, rows)) if rows else "no programs"


def _program(result: Result, page: Page) -> str:
    shown = ("program", "name", "state", "summary", "origin", "digest", "replaced", "phases", "columns")
    parts: list[Table | str] = [_pairs((key, result[key]) for key in shown if result.get(key) is not None)]
    if params := _rows(result, "params"):
        rows = [(p.get("name"), p.get("type"), p.get("default"), p.get("doc")) for p in params]
        parts += ["", _table(["parameter", "type", "default", "what it is"], rows)]
    if versions := _rows(result, "versions"):
        rows = [(v.get("digest"), v.get("is_current"), v.get("bytes"), v.get("runs")) for v in versions]
        parts += ["", _table(["version", "current", "bytes", "runs"], rows, ["bytes"])]
    return _drawn(page, *parts)


def _help(result: Result, page: Page) -> str:
    commands = _rows(result, "commands")
    if len(commands) != 1:
        return _drawn(page, _table(["command", "what it does"], [(c.get("usage"), c.get("summary")) for c in commands]))
    (only,) = commands
    rows = [(p.get("name"), p.get("type"), p.get("default"), p.get("summary")) for p in only.get("params") or ()]
    parts: list[Table | str] = [str(only.get("usage")), str(only.get("summary"))]
    if rows:
        parts += ["", _table(["argument", "type", "default", "what it is"], rows)]
    return _drawn(page, *parts)


def _text(result: Result, page: Page) -> str:
    return str(result.get("text", ""))


def _anything(result: Result, page: Page) -> str:
    if any(isinstance(value, (Mapping, list)) for value in result.values()):
        return json.dumps(result, indent=2, default=str)
    return _drawn(page, _pairs(result.items())) if result else "done"


RENDERERS: Final[Mapping[str, Callable[[Result, Page], str]]] = {
    "status": _status,
    "members": listing(
        "members",
        ("name", "generation", "state", "incarnation", "in_view", "control", "ticks", "tags"),
        ("generation", "incarnation"),
    ),
    "view": _view,
    "ring": _ring,
    "barrier": _barrier,
    "ghosts": _ghosts,
    "graph load": _loaded,
    "graph list": listing(
        "graphs", ("graph", "state", "nodes", "edges", "directed", "partitions"), ("nodes", "edges", "partitions")
    ),
    "graph show": _graph,
    "run list": listing("runs", ("run", "program", "graph", "state", "tick", "ticks"), ("tick", "ticks")),
    "run start": _run,
    "run show": _run,
    "run wait": _run,
    "run stop": _run,
    "run ticks": _run_ticks,
    "run result": _run_result,
    "run rows": _run_rows,
    "run table": _run_table,
    "run search": _run_search,
    "program list": _programs,
    "program show": _program,
    "program deploy": _program,
    "metrics": _text,
    "dev status": listing("shards", ("shard", "pid", "state", "epoch", "leader", "socket"), ("pid", "epoch")),
    "help": _help,
}

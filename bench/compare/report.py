"""The comparison as Markdown tables, one per graph, for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.compare.aims import cost, verdicts
from bench.compare.ours import Ours
from bench.graphs import WEIGHTED
from bench.rivals import RIVALS, Measured, Missing
from bench.rivals.register import ALGORITHMS

NOT_TRIED, TOO_LONG = "–", "not in time"


def report(ours: Sequence[Ours], theirs: Sequence[Measured | Missing]) -> str:
    """Returns all tables."""
    measured = [each for each in theirs if isinstance(each, Measured)]
    lines: list[str] = []
    for graph in dict.fromkeys(o.graph for o in ours):
        lines += _graph(graph, [o for o in ours if o.graph == graph], [r for r in theirs if r.graph == graph])
    lines += _table("aim", "figure", "at most", "")
    for v in verdicts(ours, measured):
        figure = "" if v.figure is None else f"{v.figure:.3g} {v.unit}"
        lines.append(_row(v.words, figure, f"{v.limit:.3g}", v.told))
    lines += ["", *_table("COST", "shards")]
    lines += [_row(f"{graph}, {algorithm}", words) for graph, algorithm, words in cost(ours, measured)]
    return "\n".join(lines) + "\n"


def _graph(graph: str, ours: Sequence[Ours], theirs: Sequence[Measured | Missing]) -> Iterator[str]:
    columns = [name for name in ALGORITHMS if any(o.algorithm == name for o in ours)]
    yield f"**{WEIGHTED[graph][0]}**, {ours[0].edge_count:,} edges; load in ns an edge, the rest in ms:"
    yield ""
    yield from _table("who", "load", *columns, "peak MiB")
    for shards in sorted({o.shards for o in ours}):
        mine = {o.algorithm: o for o in ours if o.shards == shards}
        words = f"**Shoal, {_counted(shards, 'shard')}**"
        yield _line(words, columns, mine, {})
    for rival, threads in dict.fromkeys((r.rival, r.threads) for r in theirs):
        them = [r for r in theirs if (r.rival, r.threads) == (rival, threads)]
        measured = {r.algorithm: r for r in them if isinstance(r, Measured)}
        missing = {r.algorithm: r for r in them if isinstance(r, Missing)}
        if measured:
            yield _line(f"{RIVALS[rival].words}, {_counted(threads, 'thread')}", columns, measured, missing)
    yield ""


def _line(
    who: str, columns: Sequence[str], found: dict[str, Ours] | dict[str, Measured], missing: dict[str, Missing]
) -> str:
    load = min(each.load_ns_per_edge for each in found.values())
    peak = max(each.peak_mib for each in found.values())
    cells = (_cell(found.get(name), missing.get(name)) for name in columns)
    return _row(who, f"{load:,.0f}", *cells, f"{peak:,.0f}")


def _cell(found: Ours | Measured | None, missing: Missing | None) -> str:
    if found is None:
        return TOO_LONG if missing is not None and missing.is_late else NOT_TRIED
    ms = found.seconds * 1000
    star = "*" if isinstance(found, Measured) and not found.exact else ""
    return f"{ms:,.0f}{star}" if ms >= 10 else f"{ms:.1f}{star}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _table(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"

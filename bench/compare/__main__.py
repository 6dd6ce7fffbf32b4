"""`python -m bench.compare`: one table with our figures beside the rivals', and which aims are met."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.__main__ import machine
from bench.compare.aims import cost, verdicts
from bench.compare.ours import Ours, measure
from bench.compare.report import report
from bench.graphs import weighted
from bench.rivals import RIVALS, Measured, Missing, agree
from bench.rivals.options import end_by_interrupt, measurements, read_options

SHARDS = (1, 2, 4)
COLOURS = {"met": "green", "missed": "yellow", "not measured": "dim"}


def main() -> int:
    """Measures and prints."""
    options = read_options("bench.compare", __doc__, SHARDS)
    end_by_interrupt()
    progress = Console(stderr=True)
    ours: list[Ours] = []
    theirs: list[Measured | Missing] = []
    load = os.getloadavg()[0]
    try:
        with progress.status("graphs are made") as status:
            for name in options.graph:
                graph = weighted(name)
                for shards in options.shards:
                    status.update(f"{graph.words}, {shards} daemons")
                    ours += measure(graph, options.algorithm, shards)
                for each in measurements([graph], options):
                    theirs.append(each)
                    status.update(f"{graph.words}, {each.algorithm}, {each.rival}")
    except KeyboardInterrupt:
        progress.print("interrupted: what was started is stopped again, and what was measured follows")
    measured = [each for each in theirs if isinstance(each, Measured)]
    if options.json:
        print(_as_json(ours, theirs, measured, load))
        return 0
    if options.markdown:
        print(report(ours, theirs), end="")
        return 0
    out = Console(width=None if sys.stdout.isatty() else 170)
    _print_figures(out, ours, theirs)
    _print_aims(out, ours, measured)
    return 0


def _as_json(
    ours: Sequence[Ours], theirs: Sequence[Measured | Missing], measured: Sequence[Measured], load: float
) -> str:
    facts = {**machine(), "load_average": {"before": load, "after": os.getloadavg()[0]}}
    told = [{"aim": v.words, "figure": v.figure, "limit": v.limit, "unit": v.unit, "verdict": v.told}
            for v in verdicts(ours, measured)]  # fmt: skip
    return json.dumps(
        {
            "machine": facts,
            "shoal": [each.as_json() for each in ours],
            "rivals": [each.as_json() for each in theirs],
            "aims": told,
            "cost": [list(row) for row in cost(ours, measured)],
        },
        indent=1,
    )


def _print_figures(out: Console, ours: Sequence[Ours], theirs: Sequence[Measured | Missing]) -> None:
    table = Table(title="Shoal beside its rivals", caption="Load and run in ns an edge (and iteration).")
    for name in ("graph", "algorithm", "who", "load", "run", "seconds", "peak MiB", "note"):
        table.add_column(name, justify="right" if name in ("load", "run", "seconds", "peak MiB") else "left")
    for graph, algorithm in dict.fromkeys((o.graph, o.algorithm) for o in ours):
        table.add_section()
        mine = [o for o in ours if (o.graph, o.algorithm) == (graph, algorithm)]
        for o in mine:
            note = f"{o.ticks} ticks" + (f" of {o.tick_ms:.2f} ms" if o.tick_ms else "")
            note += f" ({o.plain_tick_ms:.2f} in plain text)" if o.plain_tick_ms else ""
            who = f"[bold]Shoal, {o.shards} shard{'s' if o.shards > 1 else ''}[/]"
            table.add_row(graph, algorithm, who, *_figures(o), note)
        for r in theirs:
            if (r.graph, r.algorithm) == (graph, algorithm):
                _add_rival(table, r, mine[0])
    out.print(table)


def _add_rival(table: Table, rival: Measured | Missing, ours: Ours) -> None:
    who = f"{RIVALS[rival.rival].words}, {rival.threads} thread{'s' if rival.threads > 1 else ''}"
    if isinstance(rival, Missing):
        table.add_row(rival.graph, rival.algorithm, who, "", "", "", "", f"[dim]{rival.reason}[/]")
        return
    differs = rival.exact and not agree(rival.answer, ours.answer, 1e-6)
    note = f"[red]another answer: {rival.answer}, ours {ours.answer}[/]" if differs else rival.note
    table.add_row(rival.graph, rival.algorithm, who, *_figures(rival), note)


def _figures(each: Ours | Measured) -> tuple[str, ...]:
    return (
        f"{each.load_ns_per_edge:,.0f}", f"{each.ns_per_edge:,.1f}", f"{each.seconds:.3f}", f"{each.peak_mib:,.0f}",
    )  # fmt: skip


def _print_aims(out: Console, ours: Sequence[Ours], measured: Sequence[Measured]) -> None:
    table = Table(title="Aims")
    for name in ("what", "figure", "at most", "unit", ""):
        table.add_column(name, justify="right" if name in ("figure", "at most") else "left")
    for verdict in verdicts(ours, measured):
        figure = "" if verdict.figure is None else f"{verdict.figure:.3g}"
        colour = COLOURS[verdict.told]
        table.add_row(verdict.words, figure, f"{verdict.limit:.3g}", verdict.unit, f"[{colour}]{verdict.told}[/]")
    out.print(table)
    for graph, algorithm, words in cost(ours, measured):
        out.print(f"COST, {graph}, {algorithm}: {words}")


if __name__ == "__main__":
    sys.exit(main())

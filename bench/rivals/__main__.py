"""`python -m bench.rivals`: the rivals' own table, without Shoal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.graphs import weighted
from bench.rivals import Measured, Missing, agree
from bench.rivals.options import end_by_interrupt, measurements, read_options

Found = Sequence[Measured | Missing]


def main() -> int:
    """Measures and prints."""
    options = read_options("bench.rivals", __doc__)
    end_by_interrupt()
    progress = Console(stderr=True)
    found: list[Measured | Missing] = []
    load = os.getloadavg()[0]
    interrupted = False
    try:
        with progress.status("graphs are made") as status:
            for each in measurements([weighted(name) for name in options.graph], options):
                found.append(each)
                status.update(f"{len(found)} done, the last: {each.graph}, {each.algorithm}, {each.rival}")
    except KeyboardInterrupt:
        progress.print("interrupted: what was started is stopped again; here is what was measured until then")
        interrupted = True
    if options.json:
        facts = {"load_average": {"before": load, "after": os.getloadavg()[0]}}
        print(json.dumps({"machine": facts, "rivals": [each.as_json() for each in found]}, indent=2))
    else:
        _print(found)
    return 130 if interrupted else 0


def _print(found: Found) -> None:
    table = Table(
        title="Rivals", caption="Loading and, where there are iterations, running in ns an edge (and iteration)."
    )
    for name in ("graph", "algorithm", "rival"):
        table.add_column(name)
    for name in ("threads", "load", "run", "seconds", "CPU", "peak MiB"):
        table.add_column(name, justify="right")
    for name in ("answer", "note"):
        table.add_column(name)
    before: tuple[str, str] | None = None
    for each in found:
        if (each.graph, each.algorithm) != before:
            before = (each.graph, each.algorithm)
            table.add_section()
        names = (each.graph, each.algorithm, each.rival, str(each.threads))
        if isinstance(each, Missing):
            table.add_row(*names, *[""] * 6, f"[yellow]{each.reason}[/]")
        else:
            figures = (each.load_ns_per_edge, each.ns_per_edge, each.seconds, each.cpu_seconds, each.peak_mib)
            table.add_row(*names, *map(_short, figures), _answer(each, found), each.note)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _answer(one: Measured, found: Found) -> str:
    """Returns the answer, in red if it differs from the first one whose definition is exactly the same."""
    words = ", ".join(f"{name} {value:.9g}" for name, value in one.answer.items())
    exact = [
        each.answer
        for each in found
        if isinstance(each, Measured) and each.exact and (each.graph, each.algorithm) == (one.graph, one.algorithm)
    ]
    return f"[red]{words}[/]" if one.exact and not agree(one.answer, exact[0]) else words


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())

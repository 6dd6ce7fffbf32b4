"""`python -m bench.rivals`: the rivals' own table, without Shoal."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.graphs import WEIGHTED, weighted
from bench.rivals import RIVALS, Measured, Missing, agree, default_python, runs
from bench.rivals.register import ALGORITHMS
from bench.rivals.runner import LIMIT_SECONDS

Found = Sequence[Measured | Missing]


def main() -> int:
    """Measure and print."""
    options = _options()
    for end in (signal.SIGINT, signal.SIGTERM):  # whoever ends us lets us end what we have started
        signal.signal(end, signal.default_int_handler)
    progress = Console(stderr=True)
    found: list[Measured | Missing] = []
    load = os.getloadavg()[0]
    interrupted = False
    try:
        with progress.status("graphs are made") as status:
            graphs = [weighted(name) for name in options.graph or [*WEIGHTED]]
            for each in runs(
                graphs,
                rivals=options.only or [*RIVALS],
                algorithms=options.algorithm or ALGORITHMS,
                limit=options.limit,
                python=options.rivals_python,
            ):
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rivals", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*RIVALS], help="one rival; may be given again")
    parser.add_argument("--graph", action="append", choices=[*WEIGHTED], help="one graph; may be given again")
    parser.add_argument("--algorithm", action="append", choices=ALGORITHMS, help="one of them; may be given again")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for each; %(default)g")
    parser.add_argument("--rivals-python", default=default_python(), help="who has them installed; %(default)s")
    parser.add_argument("--json", action="store_true", help="for a machine; the table is for people")
    return parser.parse_args()


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
    """The answer, red where it isn't that of the first who has done exactly the same."""
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

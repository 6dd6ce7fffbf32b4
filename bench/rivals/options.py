"""The command line options of both tables: that of the rivals, and the one that includes Shoal."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from bench.graphs import WEIGHTED, WeightedGraph
from bench.rivals.register import ALGORITHMS, RIVALS
from bench.rivals.runner import LIMIT_SECONDS, Measured, Missing, default_python, runs


def read_options(program: str, purpose: str | None, shards: Sequence[int] = ()) -> argparse.Namespace:
    """Returns the options, by default everything. With `shards`, their number can also be chosen."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=purpose)
    choices = {"graph": [*WEIGHTED], "algorithm": [*ALGORITHMS], "rival": [*RIVALS]}
    for name, known in choices.items():
        parser.add_argument(f"--{name}", action="append", choices=known, help=f"one {name}; may be given again")
    if shards:
        usual = ", ".join(map(str, shards))
        parser.add_argument("--shards", action="append", type=int, help=f"how many daemons; {usual} without")
        parser.add_argument("--markdown", action="store_true", help="the tables as they stand in docs/performance.md")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for each rival; %(default)g")
    parser.add_argument("--rivals-python", default=default_python(), help="who has them installed; %(default)s")
    parser.add_argument("--json", action="store_true", help="for a machine; the table is for people")
    options = parser.parse_args()
    usual_of: dict[str, list[Any]] = {**choices, "shards": [*shards]}
    for name, all_there_is in usual_of.items():
        setattr(options, name, getattr(options, name, None) or all_there_is)
    return options


def measurements(graphs: Sequence[WeightedGraph], options: argparse.Namespace) -> Iterator[Measured | Missing]:
    """Measures the chosen rivals on these graphs."""
    return runs(
        graphs,
        rivals=options.rival,
        algorithms=options.algorithm,
        limit=options.limit,
        python=options.rivals_python,
    )


def end_by_interrupt() -> None:
    """Turns signals into an interrupt, so that child processes are ended and the results so far are printed."""
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)

"""`python -m bench`: one table with each figure beside its floor, both measured in turns in the same run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zmq
from rich.console import Console
from rich.table import Table

from bench import callbacks, durability, links, loads, memory, pagerank, proposals, ticks
from bench.figures import Row

Part = Callable[[bool, Callable[[str], None]], Iterator[Row]]
PARTS: dict[str, Part] = {
    "ticks": ticks.rows,
    "pagerank": pagerank.rows,
    "load": loads.rows,
    "memory": memory.rows,
    "durability": durability.rows,
    "log": proposals.rows,
    "callbacks": callbacks.rows,
    "links": links.rows,
}
COLOURS = {"met": "green", "missed": "yellow", "broken": "red", "": ""}


def main() -> int:
    """Measures and prints."""
    options = _options()
    for end in (signal.SIGINT, signal.SIGTERM):  # signals raise, so that everything is cleaned up
        signal.signal(end, signal.default_int_handler)
    progress = Console(stderr=True)
    began = time.monotonic()
    before = os.getloadavg()[0]
    found: list[Row] = []
    try:
        with progress.status("begin") as status:
            for part in options.only or PARTS:
                found += PARTS[part](options.quick, status.update)
    except KeyboardInterrupt:
        progress.print("interrupted: what was started is stopped again")
        return 130
    facts = {
        **machine(),
        "load_average": {"before": before, "after": os.getloadavg()[0]},
        "seconds": time.monotonic() - began,
    }
    if options.json:
        print(json.dumps({"machine": facts, "rows": [row.as_json() for row in found]}, indent=2))
    else:
        _print(found, facts)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns, at most four shards")
    parser.add_argument("--json", action="store_true", help="for a machine; the table is for people")
    parser.add_argument("--only", action="append", choices=[*PARTS], help="one part of it; may be given again")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Returns a description of the machine."""
    libraries = ("numpy", "scipy", "pyzmq", "msgpack", "pyarrow")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
        **{name: version(name) for name in libraries},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _print(found: list[Row], facts: dict[str, Any]) -> None:
    load = facts["load_average"]
    words = [f"{name} {value}" for name, value in facts.items() if name not in ("load_average", "seconds")]
    table = Table(
        title="Shoal beside its floors",
        caption=f"{', '.join(words)}; load average {load['before']:.1f} before, {load['after']:.1f} after; "
        f"{facts['seconds']:.0f} s. A ratio is the median of those within the pairs (least to most).",
    )
    for name in ("what", "ours", "floor", "unit", "ratio", "aim", "", "CPU ours", "CPU floor"):
        table.add_column(name, justify="left" if name in ("what", "unit", "aim", "") else "right")
    group = ""
    for row in found:
        if row.group != group:
            table.add_section()
            group = row.group
        cpu = row.cpu
        verdict = row.verdict
        table.add_row(
            row.what,
            _short(row.ours),
            _short(row.floor),
            row.unit,
            f"{row.ratio:.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})",
            row.aim.words,
            f"[{COLOURS[verdict]}]{verdict}[/]" if verdict else "",
            _short(cpu[0]) if cpu else "",
            _short(cpu[1]) if cpu else "",
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())

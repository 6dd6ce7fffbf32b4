"""The process that measures one rival: `python -m bench.rivals.child JOB RESULT`, both names of JSON files.

It does not import Shoal, and runs in any interpreter with numpy, pyarrow and the rival.
"""

from __future__ import annotations

import importlib
import json
import math
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.rivals.answers import SHORT
from bench.rivals.engine import Engine, Job
from bench.rivals.processes import Stopwatch, peak_mib
from bench.rivals.register import RIVALS

GRACE_SECONDS = 5
ENOUGH_SECONDS = 15.0
"""A rival that has run for this long is not run again."""
SHORT_SECONDS = 1.0
"""A rival that has run for less is run up to three times as often: on a shared machine a short run is imprecise."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result for the parent."""

    load_seconds: float
    load_cpu_seconds: float
    times: list[float]
    cpu_times: list[float]
    peak_mib: float
    answer: dict[str, float]


def measure(engine: Engine) -> Found:
    """Loads, runs several times, and inspects the answer."""
    engine.start()
    try:
        watch = Stopwatch()
        engine.load()
        load_seconds, load_cpu_seconds = watch.stop()
        algorithm = getattr(engine, engine.job.algorithm)
        times: list[float] = []
        cpu_times: list[float] = []
        result: Any = None
        while _again(times, engine.job.turns):
            result = None  # its memory must not count in this run
            watch = Stopwatch()
            result = algorithm()
            seconds, cpu_seconds = watch.stop()
            times.append(seconds)
            cpu_times.append(cpu_seconds)
        peak = peak_mib()  # before the answer is computed, which is not part of the measurement
        answer = SHORT[engine.job.algorithm](engine.values(result))
    finally:
        engine.close()
    return Found(load_seconds, load_cpu_seconds, times, cpu_times, peak, answer)


def _again(times: list[float], turns: int) -> bool:
    spent = sum(times)
    return spent < ENOUGH_SECONDS and len(times) < (3 * turns if spent < SHORT_SECONDS else turns)


def engine_for(job: Job) -> Engine:
    """Returns the job's rival. Raises ModuleNotFoundError if it is not installed."""
    kind: type[Engine] = importlib.import_module(RIVALS[job.rival].module).Engine
    return kind(job)


def main() -> int:
    """Measures the requested job."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    signal.alarm(math.ceil(job.limit) + GRACE_SECONDS)  # the parent that should end this process may be gone
    Path(sys.argv[2]).write_text(json.dumps(asdict(measure(engine_for(job)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs each rival in its own process, with the row's number of threads, within a time limit."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.rivals.answers import Answer, agree
from bench.rivals.engine import Job
from bench.rivals.processes import end
from bench.rivals.register import ALGORITHMS, RIVALS, Rival

if TYPE_CHECKING:
    from bench.graphs import WeightedGraph

__all__ = ["ITERATIONS", "Measured", "Missing", "agree", "default_python", "run", "runs"]

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = {"pagerank": 20, "cdlp": 10}
"""The default numbers of iterations; other algorithms run until they finish, and count as one."""
LIMIT_SECONDS = 120.0
NOT_FINISHED = "not finished"
TURNS = 3
ERROR_LINES = 3
ERROR_CHARACTERS = 300
ERROR_NAME = re.compile(r"(Caused by: )?[\w.$]*(Error|Exception)\b")
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ARROW_IO_THREADS",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One rival, one algorithm, one graph; times in seconds. If `exact` is false, the answer can't be compared."""

    rival: str
    algorithm: str
    graph: str
    threads: int
    iterations: int
    edge_count: int
    load_seconds: float
    load_cpu_seconds: float
    times: tuple[float, ...]
    cpu_times: tuple[float, ...]
    peak_mib: float
    answer: Answer
    exact: bool
    note: str

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(self.times)

    @property
    def cpu_seconds(self) -> float:
        """The median processor time of a run, over all its processes and threads."""
        return statistics.median(self.cpu_times)

    @property
    def ns_per_edge(self) -> float:
        """Nanoseconds per edge and iteration."""
        return self.seconds * 1e9 / self.edge_count / self.iterations

    @property
    def load_ns_per_edge(self) -> float:
        """Nanoseconds per edge, from Parquet to ready."""
        return self.load_seconds * 1e9 / self.edge_count

    def as_json(self) -> dict[str, Any]:
        """Returns everything."""
        names = ("seconds", "cpu_seconds", "ns_per_edge", "load_ns_per_edge")
        return {**asdict(self), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing was measured; says why."""

    rival: str
    algorithm: str
    graph: str
    threads: int
    reason: str

    @property
    def is_late(self) -> bool:
        """Whether it exceeded its time limit."""
        return self.reason.startswith(NOT_FINISHED)

    def as_json(self) -> dict[str, Any]:
        """Returns everything."""
        return asdict(self)


def run(
    rival: str,
    algorithm: str,
    graph: WeightedGraph,
    *,
    threads: int = 1,
    iterations: int | None = None,
    turns: int = TURNS,
    limit: float = LIMIT_SECONDS,
    python: str | None = None,
) -> Measured | Missing:
    """Measures one rival. `limit` is in seconds, for the whole process; `python` is the interpreter with the rivals."""
    who = RIVALS[rival]
    python = python or default_python()
    reason = who.why_not(algorithm, graph.name) or _not_installed(who, python)
    if reason:
        return Missing(rival, algorithm, graph.name, threads, reason)
    iterations = ITERATIONS.get(algorithm, 1) if iterations is None else iterations
    keep = str(ROOT / "build" / "bench")
    job = Job(rival, algorithm, str(graph.edges), graph.source, threads, iterations, turns, limit, keep)
    told = _told(job, limit, python)
    if isinstance(told, str):
        return Missing(rival, algorithm, graph.name, threads, told)
    return Measured(
        rival,
        algorithm,
        graph.name,
        threads,
        iterations,
        graph.edge_count,
        told["load_seconds"],
        told["load_cpu_seconds"],
        tuple(told["times"]),
        tuple(told["cpu_times"]),
        told["peak_mib"],
        told["answer"],
        algorithm not in who.differs,
        who.differs.get(algorithm) or who.remarks.get(algorithm, ""),
    )


def runs(
    graphs: Iterable[WeightedGraph],
    *,
    rivals: Iterable[str] = RIVALS,
    algorithms: Iterable[str] = ALGORITHMS,
    limit: float = LIMIT_SECONDS,
    python: str | None = None,
) -> Iterator[Measured | Missing]:
    """Measures all of them, each with each of its numbers of threads."""
    rivals, algorithms = tuple(rivals), tuple(algorithms)
    for graph in graphs:
        for algorithm in algorithms:
            for rival in rivals:
                for threads in RIVALS[rival].threads:
                    yield run(rival, algorithm, graph, threads=threads, limit=limit, python=python)


def default_python() -> str:
    """Returns the interpreter of `make rivals` if it exists, else this one."""
    own = ROOT / ".venv-rivals" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def _not_installed(rival: Rival, python: str) -> str | None:
    lacking = [name for name in rival.packages if name not in _installed(python)]
    if lacking:
        return f"{' and '.join(lacking)} not installed: make rivals"
    lacking = [name for name in rival.programs if shutil.which(name) is None]
    return (
        f"{' and '.join(lacking)} not found: it comes with the system, e.g. default-jre-headless" if lacking else None
    )


@functools.cache
def _installed(python: str) -> frozenset[str]:
    """Returns which of the rivals' packages that interpreter has."""
    names = sorted({name for rival in RIVALS.values() for name in rival.packages})
    ask = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec(n)))"
    return frozenset(
        subprocess.run([python, "-c", ask, *names], check=True, capture_output=True, text=True).stdout.split()
    )


def _told(job: Job, limit: float, python: str) -> dict[str, Any] | str:
    """Returns what the process found, or why it failed."""
    with tempfile.TemporaryDirectory(prefix="shoal-rivals-") as name:
        folder = Path(name)
        asked, result, said = folder / "job.json", folder / "result.json", folder / "said"
        asked.write_text(json.dumps(asdict(job)))
        with said.open("wb") as out:
            process = subprocess.Popen(
                [python, "-m", "bench.rivals.child", str(asked), str(result)],
                cwd=ROOT,
                env=_environment(job.threads, folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for this process, which ends the child
            )
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                return f"{NOT_FINISHED} in {limit:g} s"
            finally:
                if process.poll() is None:
                    end(process.pid)
                    process.wait()
        if process.returncode == 0 and result.exists():
            told: dict[str, Any] = json.loads(result.read_text())
            return told
        return f"failed with status {process.returncode}: {_cause(said)}"


def _environment(threads: int, folder: Path) -> dict[str, str]:
    """Returns our environment with the sizes of thread pools set; rivals write their files to `folder`."""
    pinned = dict.fromkeys(POOLS, str(threads))
    return {**os.environ, **pinned, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}


def _cause(path: Path) -> str:
    """Returns the last error by name, of Python or Java, or else the last lines."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    named = [line for line in lines if ERROR_NAME.match(line)]
    return named[-1][:ERROR_CHARACTERS] if named else " / ".join(lines[-ERROR_LINES:]) or "it said nothing"

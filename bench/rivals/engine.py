"""The interface of rivals to the process that measures them, and the reading of edges that most of them share."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

DAMPING = 0.85
DENSE_FACTOR = 8
"""With at most this many possible numbers per edge end, a table of all numbers beats sorting those that occur."""


@dataclass(frozen=True, slots=True)
class Job:
    """One rival, one algorithm, one graph.

    `source` is an id as in the file; `folder` caches files that take long to create; `limit` is in seconds.
    """

    rival: str
    algorithm: str
    edges: str
    source: int
    threads: int
    iterations: int
    turns: int
    limit: float
    folder: str


class Engine(abc.ABC):
    """A rival at work on one job.

    An engine has a method for each algorithm that it offers, without arguments, named as the algorithm; it returns the
    result in the rival's own form. `load` does all work that the runs can share (matrices, degrees).
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def start(self) -> None:
        """Starts what is needed besides this process; not measured."""
        return

    @abc.abstractmethod
    def load(self) -> None:
        """Loads the Parquet file into the form on which the algorithm runs."""

    def values(self, result: Any) -> NDArray[Any]:
        """Returns one number per node, in any order; not measured. Unreached nodes have a negative number, NaN or
        infinity.
        """
        return np.asarray(result)

    def close(self) -> None:
        """Ends what `start` started."""
        return


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges between nodes numbered from 0 without gaps, in the order of their ids."""

    node_count: int
    source: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None
    start: int

    @property
    def edge_count(self) -> int:
        """The number of edges."""
        return len(self.source)


def read_edges(job: Job, kind: Any = np.int64) -> Edges:
    """Reads the job's edges, with weights if it is about distances. `kind` is the type of node numbers."""
    columns = ["source", "target", "weight"] if job.algorithm == "sssp" else ["source", "target"]
    table = pq.read_table(Path(job.edges), columns=columns)
    source, target = table["source"].to_numpy(), table["target"].to_numpy()
    weight = table["weight"].to_numpy() if "weight" in columns else None
    least, most = min(source.min(), target.min()), max(source.max(), target.max())
    if least >= 0 and most <= DENSE_FACTOR * len(source):
        there = np.zeros(most + 1, dtype=bool)
        there[source] = True
        there[target] = True
        number = np.cumsum(there, dtype=kind) - kind(1)
        return Edges(int(there.sum()), number[source], number[target], weight, int(number[job.source]))
    ids, ends = np.unique(np.concatenate([source, target]), return_inverse=True)
    ends = ends.astype(kind, copy=False)
    start = int(np.searchsorted(ids, job.source))
    return Edges(len(ids), ends[: len(source)], ends[len(source) :], weight, start)

"""PageRank in one daemon beside scipy's matrix-vector product of the same graph."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from bench.daemons import daemons
from bench.figures import Aim, Row, Sample
from bench.graphs import graphs
from shoal.graph.graph_data import GraphData

AIM = Aim(ratio=1.5)


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Returns nanoseconds per edge and tick."""
    turns, ticks = (3, 20) if quick else (7, 30)
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        tell("R-MAT 18 is made")
        files = graphs(Path(folder))
        with daemons(1) as ours:
            for each in files:
                tell(f"PageRank on {each.words}")
                data = each.read()
                graph = ours.session.load(each.name, data=data)
                matrix = _matrix(data)
                pairs = []
                for _ in range(turns):
                    mine = ours.tick_ms(graph, "bench-pagerank", ticks, warm_up=3)
                    pairs.append((Sample(mine.value * 1e6 / data.edge_count), _product(matrix, ticks)))
                yield Row("pagerank", f"PageRank, 1 shard, {each.words}", "ns/edge", tuple(pairs), AIM)


def _matrix(data: GraphData) -> Any:
    """Returns in-edges as rows; parallel edges stay separate, as in ours."""
    order = np.argsort(data.target, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(data.target, minlength=data.node_count))])
    body = (np.ones(data.edge_count), data.source[order].astype(np.int32), indptr.astype(np.int32))
    return csr_array(body, shape=(data.node_count, data.node_count))


def _product(matrix: Any, ticks: int) -> Sample:
    values = np.full(matrix.shape[0], 1 / matrix.shape[0])
    times = []
    for _ in range(ticks):
        began = time.perf_counter_ns()
        matrix @ values
        times.append(time.perf_counter_ns() - began)
    return Sample(statistics.median(times) / matrix.nnz)

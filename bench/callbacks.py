"""A Python callback per node: PageRank by messages in one process, beside the same callback over plain lists.

Both figures are processor time, because both use one thread, for the same arithmetic. The floor is what one would write
without Shoal: lists of neighbours' numbers, and a list of values read through them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import shoal
from bench.figures import Aim, Row, Sample
from bench.graphs import DEBIAN, GraphFiles
from bench.rmat import rmat, write_parquet
from shoal.graph.graph_data import GraphData

AIM = Aim(ratio=1.3)
DAMPING = 0.85


class ByMessages(shoal.NodeProgram):
    """Computes ranks in the simplest way."""

    name = "bench-messages"
    rank = shoal.Attribute(0.0)

    def begin_tick(self) -> None:
        self.base = (1.0 - DAMPING) / self.node_count

    def on_start(self, node: shoal.Node) -> None:
        node.rank = 1.0 / self.node_count
        if node.out_degree:
            node.send(node.rank / node.out_degree)

    def on_messages(self, node: shoal.Node, msgs: list[float]) -> None:
        rank = node.rank = self.base + DAMPING * sum(msgs)
        degree = node.out_degree
        if degree:
            node.send(rank / degree)


class OverLists:
    """The same over plain lists."""

    def __init__(self, data: GraphData) -> None:
        self.size = data.node_count
        self.neighbours: list[list[int]] = [[] for _ in range(self.size)]
        self.degree = [0] * self.size
        for source, target in zip(data.source.tolist(), data.target.tolist(), strict=True):
            self.neighbours[target].append(source)
            self.degree[source] += 1
        self.rank = [1.0 / self.size] * self.size
        self.share = [1.0 / self.size / degree if degree else 0.0 for degree in self.degree]
        self.base = (1.0 - DAMPING) / self.size

    def callback(self, node: int, msgs: list[float]) -> None:
        """Processes a node."""
        rank = self.rank[node] = self.base + DAMPING * sum(msgs)
        degree = self.degree[node]
        if degree:
            self.next[node] = rank / degree

    def tick(self) -> None:
        """Processes every node once."""
        share, callback = self.share, self.callback
        self.next = [0.0] * self.size
        for node, neighbours in enumerate(self.neighbours):
            callback(node, [share[other] for other in neighbours])
        self.share = self.next


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Returns nanoseconds per node and tick."""
    turns, ticks = (3, 3) if quick else (7, 4)
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder, shoal.local() as session:
        parquet = Path(folder) / "rmat16.parquet"
        write_parquet(parquet, *rmat(16))
        for files in (
            GraphFiles("debian", "Debian", DEBIAN / "edges.csv.gz", DEBIAN / "nodes.csv.gz"),
            GraphFiles("rmat16", "R-MAT 16", parquet),
        ):
            tell(f"a callback a node on {files.words}")
            data = files.read()
            run = session.load(files.name, data=data).start(ByMessages, paced=True)
            lists = OverLists(data)
            pairs = []
            for _ in range(turns):
                ours = _each(run.step, ticks, data.node_count)
                pairs.append((ours, _each(lists.tick, ticks, data.node_count)))
            run.stop()
            lists.tick()  # because a stop costs Shoal another tick
            _check(run.result("rank").values.tolist(), lists)
            notes = {"edges a node": round(data.edge_count / data.node_count, 1)}
            yield Row("callbacks", f"a callback a node, {files.words}", "ns/node", tuple(pairs), AIM, notes)


def _each(tick: Callable[[], Any], ticks: int, nodes: int) -> Sample:
    times = []
    for _ in range(ticks):
        began = time.process_time_ns()
        tick()
        times.append(time.process_time_ns() - began)
    return Sample(statistics.median(times) / nodes)


def _check(ranks: list[float], lists: OverLists) -> None:
    """Checks that both computed the same; otherwise the comparison would be meaningless."""
    assert max(abs(a - b) for a, b in zip(ranks, lists.rank, strict=True)) < 1e-12

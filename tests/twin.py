"""Dumb twins: the same programs with loops and lists over the whole graph, one shard, no ghosts, no messages.

Only sums of floats need care to be equal to the bit: along edges they run from left to right in canonical order; an
aggregate is merged a partition at a time, as numpy adds a run of numbers, and then in partition order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal import GraphData, Merge
from tests.trials import EVERY, aggregate_name


class Twin:
    """A graph as lists: `into[v]` are the sources of v's in-edges in canonical order, `out[v]` its targets."""

    def __init__(self, data: GraphData) -> None:
        self.size = data.node_count
        self.edges = list(zip(data.source.tolist(), data.target.tolist(), strict=True))
        self.into: list[list[int]] = [[] for _ in range(self.size)]
        self.out: list[list[int]] = [[] for _ in range(self.size)]
        for source, target in self.edges:
            self.into[target].append(source)
            self.out[source].append(target)
        self._partition, self._partitions = data.partition.tolist(), data.partition_count

    def merged(self, merge: Merge, kind: type, values: dict[int, Any]) -> Any:
        """An aggregate of values by node."""
        table = []
        for partition in range(self._partitions):
            here = [values[node] for node in sorted(values) if self._partition[node] == partition]
            if here:
                table.append(merge.ufunc.reduceat(np.array(here, dtype=kind), [0])[0])
            else:
                table.append(merge.identity(np.dtype(kind)))
        return merge.ufunc.reduce(np.array(table, dtype=kind))


def total(values: Sequence[float]) -> float:
    """From left to right."""
    result = 0.0
    for value in values:
        result += value
    return result


def pagerank(twin: Twin, ticks: int, damping: float = 0.85) -> list[float]:
    n = max(twin.size, 1)
    degree = [len(targets) for targets in twin.out]
    per_edge = [1.0 / d if d else 0.0 for d in degree]
    rank = [1.0 / n] * twin.size
    for _ in range(ticks):
        lost = twin.merged(Merge.SUM, np.float64, {v: rank[v] for v in range(twin.size) if not degree[v]})
        base = (1.0 - damping) / n + damping * float(lost) / n
        share = [rank[v] * per_edge[v] for v in range(twin.size)]
        rank = [total([share[u] for u in twin.into[v]]) * damping + base for v in range(twin.size)]
    return rank


def components(twin: Twin) -> list[int]:
    label = list(range(twin.size))
    changed = True
    while changed:
        changed = False
        for source, target in twin.edges:
            least = min(label[source], label[target])
            changed |= label[source] != least or label[target] != least
            label[source] = label[target] = least
    return label


def everything(twin: Twin, ticks: int, weight: float = 0.5) -> tuple[int, dict[str, list[Any]]]:
    """The tick of the end and the columns of `tests.trials.Everything`."""
    nodes = range(twin.size)
    into, out = twin.into, twin.out
    a = [1.0 / (v + 1) for v in nodes]
    b = [math.sqrt(v) for v in nodes]
    c = [v * 7 % 5 - 2 for v in nodes]
    heard, marks = [0.0] * twin.size, [0] * twin.size
    totals = {aggregate_name(m, k): m.identity(np.dtype(k)) for m, k in EVERY}
    for tick in range(1, ticks + 1):
        floats, ints = [], []
        for v in nodes:
            least = min((a[u] for u in into[v]), default=math.inf)
            most = max((b[u] for u in out[v]), default=-math.inf)
            floats.append(
                total([a[u] for u in into[v]]) + total([b[u] for u in out[v]]) + (least if least < most else 0.0)
            )
            around = sum(c[u] for u in into[v]) + sum(c[u] for u in out[v])
            ints.append(around + max([c[u] for u in into[v]] + [-9]) + min([c[u] for u in out[v]] + [9]))
        word = [total([a[u] / 3.0 for u in into[v]]) * 0.9 for v in nodes]
        # Marks travel against the edges, one for each; the senders, an edge's target, stand in order.
        mark = [sum(c[u] * (i + 1) for i, u in enumerate(sorted(out[v]))) for v in nodes]
        top = float(totals["max_f"]) if math.isfinite(totals["max_f"]) else 0.0
        a = [weight * floats[v] + word[v] + top for v in nodes]
        a = [x / (1.0 + abs(x)) for x in a]
        c = [(ints[v] + mark[v] + int(totals["sum_i"])) % 11 - 5 for v in nodes]
        if tick % 2:
            b = [a[v] * 0.25 + b[v] for v in nodes]
        heard, marks = word, mark
        for merge, kind in EVERY:
            values = a if kind is np.float64 else c
            totals[aggregate_name(merge, kind)] = twin.merged(merge, kind, dict(enumerate(values)))
        totals["sum_i"] = twin.merged(Merge.SUM, np.int64, {v: c[v] for v in nodes if c[v] % 2})
        if int(totals["max_i"]) == 5 and int(totals["min_i"]) == 5:
            break
    return tick, {"a": a, "b": b, "c": c, "heard": heard, "marks": marks}

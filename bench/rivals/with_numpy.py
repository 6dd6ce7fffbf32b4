"""numpy alone: what somebody writes who knows it well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """Bounds and neighbours of each node, in the direction that the algorithm wants."""

    def load(self) -> None:
        edges = engine.read_edges(self.job)
        self._nodes = edges.node_count
        self._start = edges.start
        if self.job.algorithm == "pagerank":
            self._out_degree = np.bincount(edges.source, minlength=edges.node_count)
            self._bounds, self._neighbours = neighbours(edges.target, edges.source, edges.node_count)
        elif self.job.algorithm == "bfs":
            self._bounds, self._neighbours = neighbours(edges.source, edges.target, edges.node_count)
        else:
            both = np.concatenate([edges.source, edges.target]), np.concatenate([edges.target, edges.source])
            self._owner = np.sort(both[0])
            self._bounds, self._neighbours = neighbours(*both, edges.node_count)

    def pagerank(self) -> NDArray[np.float64]:
        """Gather what comes in, and add it up a node."""
        own = np.flatnonzero(np.diff(self._bounds))  # reduceat knows no empty rows
        begins = self._bounds[own]
        dangling = self._out_degree == 0
        share = np.divide(engine.DAMPING, self._out_degree, out=np.zeros(self._nodes), where=~dangling)
        rank = np.full(self._nodes, 1.0 / self._nodes)
        arrived = np.empty(len(self._neighbours))
        for _ in range(self.job.iterations):
            base = (1.0 - engine.DAMPING + engine.DAMPING * rank[dangling].sum()) / self._nodes
            np.take(
                rank * share, self._neighbours, out=arrived, mode="clip"
            )  # clip: checked indices cost twice as much
            rank = np.full(self._nodes, base)
            rank[own] += np.add.reduceat(arrived, begins)
        return rank

    def wcc(self) -> NDArray[np.int64]:
        """The least neighbour's root becomes one's root's root, then everybody looks two steps up (Zhang, Azad and Hu,
        "FastSV", SIAM PP 2020)."""
        root = np.arange(self._nodes)
        while True:
            above = root[root]
            least = np.minimum.reduceat(above[self._neighbours], self._bounds[:-1])  # everybody has a neighbour
            after = root.copy()
            np.minimum.at(after, root, least)
            np.minimum(after, least, out=after)
            np.minimum(after, above, out=after)
            if np.array_equal(after, root):
                return root
            root = after

    def bfs(self) -> NDArray[np.int64]:
        """Level by level: all neighbours of the last level, less those who are known."""
        depth = np.full(self._nodes, -1)
        depth[self._start] = 0
        place = np.empty(self._nodes, dtype=np.int64)
        level = np.array([self._start])
        deep = 0
        while len(level):
            deep += 1
            begins = self._bounds[level]
            counts = self._bounds[level + 1] - begins
            ends = np.cumsum(counts)
            places = np.arange(ends[-1]) + np.repeat(begins - ends + counts, counts)
            found = self._neighbours[places]
            found = found[depth[found] < 0]
            depth[found] = deep
            turn = np.arange(len(found))
            place[found] = turn  # who is found more than once keeps the last of its places, without sorting
            level = found[place[found] == turn]
        return depth

    def cdlp(self) -> NDArray[np.int64]:
        """Sort (node, neighbour's label), count runs, take the longest with the least label."""
        label = np.arange(self._nodes)
        for _ in range(self.job.iterations):
            label = most_frequent(self._owner, label[self._neighbours], label)
        return label


def neighbours(
    rows: NDArray[np.int64], columns: NDArray[np.int64], node_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bounds of each row among the columns, sorted by row; a pair that is there twice stays so."""
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=node_count))])
    return bounds, columns[np.argsort(rows, kind="stable")]


def most_frequent(owner: NDArray[np.int64], label: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each node the least of the labels that most often stand beside it; its own where none does."""
    span = int(label.max()) + 1
    key = np.sort(owner * span + label)
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    count = np.diff(first, append=len(key))
    node, seen = np.divmod(key[first], span)
    begins = np.flatnonzero(np.concatenate([[True], node[1:] != node[:-1]]))
    best = np.maximum.reduceat(count * span + (span - 1 - seen), begins)  # of equal counts the least label scores most
    chosen = own.copy()
    chosen[node[begins]] = span - 1 - best % span
    return chosen

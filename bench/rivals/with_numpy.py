"""numpy alone, as an expert would use it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """Holds the bounds and neighbours of each node, in the direction that the algorithm needs."""

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
        """Gathers incoming values, and sums them per node."""
        own = np.flatnonzero(np.diff(self._bounds))  # reduceat does not accept empty rows
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
        """Gives each node and its root the least grandparent among its neighbours, then shortcuts each to its own
        grandparent (Zhang, Azad and Hu, "FastSV", SIAM PP 2020).
        """
        root = np.arange(self._nodes)
        while True:
            above = root[root]
            least = np.minimum.reduceat(above[self._neighbours], self._bounds[:-1])  # every node has a neighbour
            after = root.copy()
            np.minimum.at(after, root, least)
            np.minimum(after, least, out=after)
            np.minimum(after, above, out=after)
            if np.array_equal(after, root):
                return root
            root = after

    def bfs(self) -> NDArray[np.int64]:
        """Searches by levels: all neighbours of the last level that are not known yet."""
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
            place[found] = turn  # a node found several times keeps its last position, without sorting
            level = found[place[found] == turn]
        return depth

    def cdlp(self) -> NDArray[np.int64]:
        """Sorts (node, neighbour's label), counts runs, and takes the longest, the least label on a tie."""
        label = np.arange(self._nodes)
        for _ in range(self.job.iterations):
            label = most_frequent(self._owner, label[self._neighbours], label)
        return label


def neighbours(
    rows: NDArray[np.int64], columns: NDArray[np.int64], node_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the bounds of each row among the columns, sorted by row; keeps duplicate pairs."""
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=node_count))])
    return bounds, columns[np.argsort(rows, kind="stable")]


def most_frequent(owner: NDArray[np.int64], label: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns each node's most frequent label, the least on a tie; its own if it has none."""
    span = int(label.max()) + 1
    key = np.sort(owner * span + label)
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    count = np.diff(first, append=len(key))
    node, seen = np.divmod(key[first], span)
    begins = np.flatnonzero(np.concatenate([[True], node[1:] != node[:-1]]))
    best = np.maximum.reduceat(count * span + (span - 1 - seen), begins)  # on a tie the least label scores most
    chosen = own.copy()
    chosen[node[begins]] = span - 1 - best % span
    return chosen

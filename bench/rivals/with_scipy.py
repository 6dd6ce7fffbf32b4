"""scipy: compressed sparse rows, and the functions of scipy.sparse.csgraph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, dijkstra

from bench.rivals import engine

BLOCK_PAIRS = 20_000_000
"""How many pairs of neighbours are multiplied out at a time: some 250 MB."""


class Engine(engine.Engine):
    """Holds one matrix, for the requested algorithm."""

    def load(self) -> None:
        edges = engine.read_edges(self.job, np.int32)
        self._nodes = edges.node_count
        self._start = edges.start
        match self.job.algorithm:
            case "pagerank":
                self._matrix = in_shares(edges)
                self._dangling = np.bincount(edges.source, minlength=edges.node_count) == 0
            case "lcc":
                self._matrix = _rows(edges, np.ones(edges.edge_count, dtype=np.int32))
            case _:
                weight = np.ones(edges.edge_count) if edges.weight is None else edges.weight
                self._matrix = _rows(edges, weight)

    def pagerank(self) -> NDArray[np.float64]:
        """Runs the loop to which others are compared: one product per iteration."""
        rank = np.full(self._nodes, 1.0 / self._nodes)
        for _ in range(self.job.iterations):
            base = (1.0 - engine.DAMPING + engine.DAMPING * rank[self._dangling].sum()) / self._nodes
            rank = self._matrix @ rank
            rank += base
        return rank

    def wcc(self) -> NDArray[np.int32]:
        """Finds components of the undirected view."""
        labels: NDArray[np.int32] = connected_components(self._matrix, directed=True, connection="weak")[1]
        return labels

    def bfs(self) -> NDArray[np.int32]:
        """Computes depths, which scipy omits: its order lists each level's nodes together, after the last level's."""
        order, before = breadth_first_order(self._matrix, self._start)
        place = np.empty(self._nodes, dtype=np.int64)  # any other type would be converted on each access
        place[order] = np.arange(len(order))
        found_from = place[before[order[1:]]]
        depth = np.full(self._nodes, -1, dtype=np.int32)
        begin, end, level = 0, 1, 0
        while begin < end:
            depth[order[begin:end]] = level
            begin, end, level = end, 1 + int(np.searchsorted(found_from, end)), level + 1
        return depth

    def sssp(self) -> NDArray[np.float64]:
        """Runs Dijkstra."""
        distances: NDArray[np.float64] = dijkstra(self._matrix, indices=self._start)
        return distances

    def lcc(self) -> NDArray[np.float64]:
        """Counts edges between neighbours: joined ends of two-step paths, the first step in the undirected view."""
        view = (self._matrix + self._matrix.T).astype(bool).astype(np.int32).tocsr()
        degree = np.diff(view.indptr).astype(np.float64)
        work = np.concatenate([[0], np.cumsum(view @ np.diff(self._matrix.indptr).astype(np.int64))])
        joined = np.zeros(self._nodes)
        begin = 0
        while begin < self._nodes:
            end = max(begin + 1, int(np.searchsorted(work, work[begin] + BLOCK_PAIRS, side="right")) - 1)
            block = view[begin:end]
            joined[begin:end] = (block @ self._matrix).multiply(block).sum(axis=1)
            begin = end
        pairs = degree * (degree - 1.0)
        coefficients: NDArray[np.float64] = joined / np.maximum(pairs, 1.0)
        return coefficients


def in_shares(edges: engine.Edges) -> Any:
    """Returns PageRank's matrix: what a node gets of the rank of each node with an edge to it."""
    degree = np.bincount(edges.source, minlength=edges.node_count)
    share = engine.DAMPING / degree[edges.source]
    shape = (edges.node_count, edges.node_count)
    return coo_array((share, (edges.target, edges.source)), shape=shape).tocsr()


def _rows(edges: engine.Edges, data: NDArray[Any]) -> csr_array:
    shape = (edges.node_count, edges.node_count)
    return coo_array((data, (edges.source, edges.target)), shape=shape).tocsr()

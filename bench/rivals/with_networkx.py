"""networkx: dictionaries of dictionaries."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """A DiGraph, with weights where they are wanted."""

    def load(self) -> None:
        table = pq.read_table(self.job.edges)
        source, target = table["source"].to_pylist(), table["target"].to_pylist()
        self._graph: Any = nx.DiGraph()
        if self.job.algorithm == "sssp":
            self._graph.add_weighted_edges_from(zip(source, target, table["weight"].to_pylist(), strict=True))
        else:
            self._graph.add_edges_from(zip(source, target, strict=True))
        if self.job.algorithm == "lcc":
            self._graph = self._graph.to_undirected()

    def pagerank(self) -> dict[int, float]:
        """Its own, which calls it an error not to have converged: it is told that it has when its time has come."""
        enough = Enough(self.job.iterations)
        ranks: dict[int, float] = nx.pagerank(
            self._graph, alpha=engine.DAMPING, max_iter=self.job.iterations, tol=enough, weight=None
        )
        return ranks

    def wcc(self) -> list[set[int]]:
        """A set a component."""
        return list(nx.weakly_connected_components(self._graph))

    def bfs(self) -> dict[int, int]:
        """Depths of those who are reached."""
        depths: dict[int, int] = nx.single_source_shortest_path_length(self._graph, self.job.source)
        return depths

    def sssp(self) -> dict[int, float]:
        """Dijkstra."""
        distances: dict[int, float] = nx.single_source_dijkstra_path_length(self._graph, self.job.source)
        return distances

    def lcc(self) -> dict[int, float]:
        """Of the undirected view."""
        coefficients: dict[int, float] = nx.clustering(self._graph)
        return coefficients

    def values(self, result: Any) -> NDArray[Any]:
        if isinstance(result, dict):
            return np.array(list(result.values()))
        return np.repeat(np.arange(len(result)), [len(component) for component in result])


class Enough:
    """A tolerance that is met at the n-th look, whatever the error is: networkx asks `error < n * tolerance`."""

    __array_ufunc__ = None  # numpy's numbers leave comparing to us

    def __init__(self, looks: int) -> None:
        self._left = looks

    def __rmul__(self, other: object) -> Enough:
        return self

    def __gt__(self, error: object) -> bool:
        self._left -= 1
        return self._left <= 0

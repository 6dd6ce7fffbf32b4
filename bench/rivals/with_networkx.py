"""networkx: dictionaries of dictionaries."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """Holds a DiGraph, with weights if needed."""

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
        """Runs its PageRank, which raises without convergence, so `Enough` reports it at the last iteration."""
        enough = Enough(self.job.iterations)
        ranks: dict[int, float] = nx.pagerank(
            self._graph, alpha=engine.DAMPING, max_iter=self.job.iterations, tol=enough, weight=None
        )
        return ranks

    def wcc(self) -> list[set[int]]:
        """Returns one set per component."""
        return list(nx.weakly_connected_components(self._graph))

    def bfs(self) -> dict[int, int]:
        """Returns the depths of reached nodes."""
        depths: dict[int, int] = nx.single_source_shortest_path_length(self._graph, self.job.source)
        return depths

    def sssp(self) -> dict[int, float]:
        """Runs Dijkstra."""
        distances: dict[int, float] = nx.single_source_dijkstra_path_length(self._graph, self.job.source)
        return distances

    def lcc(self) -> dict[int, float]:
        """Uses the undirected view."""
        coefficients: dict[int, float] = nx.clustering(self._graph)
        return coefficients

    def values(self, result: Any) -> NDArray[Any]:
        if isinstance(result, dict):
            return np.array(list(result.values()))
        return np.repeat(np.arange(len(result)), [len(component) for component in result])


class Enough:
    """A tolerance that the n-th comparison meets, whatever the error: networkx evaluates `error < n * tolerance`."""

    __array_ufunc__ = None  # makes numpy's numbers leave the comparison to this class

    def __init__(self, looks: int) -> None:
        self._left = looks

    def __rmul__(self, other: object) -> Enough:
        return self

    def __gt__(self, error: object) -> bool:
        self._left -= 1
        return self._left <= 0

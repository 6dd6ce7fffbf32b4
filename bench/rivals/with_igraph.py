"""igraph, a C library, through its Python package; one thread."""

from __future__ import annotations

from typing import Any

import igraph as ig
import numpy as np

from bench.rivals import engine


class Engine(engine.Engine):
    """Holds a directed graph, or an undirected one for clustering."""

    def load(self) -> None:
        edges = engine.read_edges(self.job)
        self._start = edges.start
        pairs = np.column_stack([edges.source, edges.target])
        self._graph: Any = ig.Graph(n=edges.node_count, edges=pairs, directed=True)
        if edges.weight is not None:
            self._graph.es["weight"] = edges.weight
        if self.job.algorithm == "lcc":
            self._graph = self._graph.as_undirected(mode="collapse")

    def pagerank(self) -> list[float]:
        """Runs PRPACK, which solves to convergence."""
        ranks: list[float] = self._graph.pagerank(damping=engine.DAMPING, implementation="prpack")
        return ranks

    def wcc(self) -> list[int]:
        """Returns one number per node."""
        members: list[int] = self._graph.connected_components(mode="weak").membership
        return members

    def bfs(self) -> list[float]:
        """Computes distances without weights, a breadth-first search."""
        depths: list[float] = self._graph.distances(self._start, mode="out")[0]
        return depths

    def sssp(self) -> list[float]:
        """Runs Dijkstra."""
        distances: list[float] = self._graph.distances(self._start, weights="weight", mode="out", algorithm="dijkstra")[
            0
        ]
        return distances

    def lcc(self) -> list[float]:
        """Uses the undirected view."""
        coefficients: list[float] = self._graph.transitivity_local_undirected(mode="zero")
        return coefficients

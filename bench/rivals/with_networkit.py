"""networkit, from C++ with OpenMP."""

from __future__ import annotations

from typing import Any

import networkit as nk
import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """A directed graph with edges to both sides, undirected where the algorithm wants it so."""

    def start(self) -> None:
        nk.setNumberOfThreads(self.job.threads)

    def load(self) -> None:
        edges = engine.read_edges(self.job, np.uint64)
        self._start = edges.start
        ends = (edges.source, edges.target)
        data = ends if edges.weight is None else (edges.weight, ends)
        self._graph: Any = nk.GraphFromCoo(data, n=edges.node_count, weighted=edges.weight is not None, directed=True)
        if self.job.algorithm in ("lcc", "wcc"):
            self._graph = nk.graphtools.toUndirected(self._graph)
            self._graph.removeMultiEdges()
        if self.job.algorithm == "lcc":
            self._graph.sortEdges()

    def pagerank(self) -> Any:
        """Fixed iterations: the tolerance is out of reach."""
        sinks = nk.centrality.SinkHandling.DistributeSinks
        algorithm = nk.centrality.PageRank(self._graph, engine.DAMPING, 1e-300, False, sinks)
        algorithm.maxIterations = self.job.iterations
        return algorithm.run()

    def wcc(self) -> Any:
        """In parallel, on the undirected view."""
        return nk.components.ParallelConnectedComponents(self._graph, False).run()

    def bfs(self) -> Any:
        """Without paths."""
        return nk.distance.BFS(self._graph, self._start, False).run()

    def sssp(self) -> Any:
        """Dijkstra, without paths."""
        return nk.distance.Dijkstra(self._graph, self._start, False).run()

    def lcc(self) -> Any:
        """Of the undirected view; `turbo` orders edges by degree."""
        return nk.centrality.LocalClusteringCoefficient(self._graph, True).run()

    def values(self, result: Any) -> NDArray[Any]:
        match self.job.algorithm:
            case "wcc":
                return np.asarray(result.getPartition().getVector())
            case "bfs" | "sssp":
                return np.asarray(result.getDistances())
            case _:
                return np.asarray(result.scores())

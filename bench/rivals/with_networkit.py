"""networkit, a C++ library with OpenMP."""

from __future__ import annotations

from typing import Any

import networkit as nk
import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """Holds a directed graph with edges to both sides, or an undirected one if the algorithm needs it."""

    def start(self) -> None:
        nk.setNumberOfThreads(self.job.threads)

    def load(self) -> None:
        edges = engine.read_edges(self.job, np.uint64)
        self._start = edges.start
        source, target, weight = edges.source, edges.target, edges.weight
        if self.job.algorithm == "lcc":
            # With its own toUndirected and removeMultiEdges, clustering crashes (networkit 11.2).
            pairs = np.sort(np.minimum(source, target) * edges.node_count + np.maximum(source, target))
            first = np.concatenate(
                [[True], pairs[1:] != pairs[:-1]]
            )  # numpy's unique hashes, which takes ten times as long
            source, target = np.divmod(pairs[first], np.uint64(edges.node_count))
        data = (source, target) if weight is None else (weight, (source, target))
        directed = self.job.algorithm not in ("wcc", "lcc")  # components do not depend on edges' directions
        self._graph: Any = nk.GraphFromCoo(data, n=edges.node_count, weighted=weight is not None, directed=directed)

    def pagerank(self) -> Any:
        """Runs a fixed number of iterations: the tolerance is unreachable."""
        sinks = nk.centrality.SinkHandling.DistributeSinks
        algorithm = nk.centrality.PageRank(self._graph, engine.DAMPING, 1e-300, False, sinks)
        algorithm.maxIterations = self.job.iterations
        return algorithm.run()

    def wcc(self) -> Any:
        """Uses the undirected view: one thread searches; several push labels, and coarsen, or long paths take long."""
        if self.job.threads == 1:
            return nk.components.ConnectedComponents(self._graph).run()
        return nk.components.ParallelConnectedComponents(self._graph, True).run()

    def bfs(self) -> Any:
        """Omits paths."""
        return nk.distance.BFS(self._graph, self._start, False).run()

    def sssp(self) -> Any:
        """Runs Dijkstra without paths."""
        return nk.distance.Dijkstra(self._graph, self._start, False).run()

    def lcc(self) -> Any:
        """Uses the undirected view; `turbo` orders edges by degree."""
        return nk.centrality.LocalClusteringCoefficient(self._graph, True).run()

    def values(self, result: Any) -> NDArray[Any]:
        match self.job.algorithm:
            case "wcc":
                return np.asarray(result.getPartition().getVector())
            case "bfs" | "sssp":
                return np.asarray(result.getDistances())
            case _:
                return np.asarray(result.scores())

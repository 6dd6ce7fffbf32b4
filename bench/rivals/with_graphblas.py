"""python-graphblas on SuiteSparse:GraphBLAS, from C with OpenMP."""

from __future__ import annotations

from typing import Any

import graphblas as gb
import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine

gb.init("suitesparse", blocking=True)
# Only exist after that:
from graphblas import Matrix, Vector, binary, monoid, semiring, unary  # noqa: E402


class Engine(engine.Engine):
    """Holds matrices by row, of the edges or of their undirected view."""

    def start(self) -> None:
        gb.ss.config["nthreads"] = self.job.threads

    def load(self) -> None:
        edges = engine.read_edges(self.job, np.uint64)
        self._nodes, self._start = edges.node_count, edges.start
        shape = {"nrows": self._nodes, "ncols": self._nodes}
        data: Any = True if edges.weight is None else edges.weight
        self._matrix = Matrix.from_coo(edges.source, edges.target, data, **shape)
        if self.job.algorithm in ("pagerank", "lcc"):
            self._backwards = Matrix.from_coo(edges.target, edges.source, 1.0, dtype=float, **shape)
        if self.job.algorithm in ("wcc", "lcc"):
            self._view = _view(self._matrix)
        if self.job.algorithm == "pagerank":
            self._degree = np.bincount(edges.source.astype(np.int64), minlength=self._nodes)

    def pagerank(self) -> Vector:
        """Computes one product per iteration with the reversed matrix, whose values are ignored (plus, second)."""
        dangling = Vector.from_dense((self._degree == 0).astype(float))
        share = np.divide(engine.DAMPING, self._degree, out=np.zeros(self._nodes), where=self._degree > 0)
        shares = Vector.from_dense(share)
        rank = Vector.from_scalar(1.0 / self._nodes, self._nodes, dtype=float)
        for _ in range(self.job.iterations):
            lost = semiring.plus_times(rank @ dangling).new().value
            handed = binary.times(rank & shares).new()
            rank[:] = (1.0 - engine.DAMPING + engine.DAMPING * lost) / self._nodes
            rank(binary.plus) << semiring.plus_second(self._backwards @ handed)
        return rank

    def wcc(self) -> NDArray[np.int64]:
        """Runs FastSV (Zhang, Azad and Hu, SIAM PP 2020); numpy does the scattered minimum, which GraphBLAS lacks."""
        root = np.arange(self._nodes)
        above = root
        while True:
            least = semiring.min_second(self._view @ Vector.from_dense(above)).new().to_dense(fill_value=self._nodes)
            after = root.copy()
            np.minimum.at(after, root, least)
            np.minimum(after, least, out=after)
            np.minimum(after, above, out=after)
            above = after[after]
            if np.array_equal(after, root):
                return root
            root = after

    def bfs(self) -> Vector:
        """Searches by levels, with known nodes masked out."""
        depth = Vector(int, self._nodes)
        level = Vector(bool, self._nodes)
        level[self._start] = True
        deep = 0
        while level.nvals:
            depth(level.S) << deep
            level(~depth.S, replace=True) << semiring.any_pair(level @ self._matrix)
            deep += 1
        return depth

    def sssp(self) -> Vector:
        """Runs Bellman-Ford over nodes whose distance has changed."""
        distance = Vector(float, self._nodes)
        distance[self._start] = 0.0
        changed = distance.dup()
        while changed.nvals:
            offered = semiring.min_plus(changed @ self._matrix).new()
            known = binary.lt(offered & distance).new()
            worse = Vector(bool, self._nodes)
            worse(known.V, replace=True) << known
            changed = Vector(float, self._nodes)
            changed(~distance.S) << offered
            changed(worse.V) << offered
            distance(changed.S) << changed
        return distance

    def lcc(self) -> NDArray[np.float64]:
        """Counts edges between neighbours: joined ends of two-step paths, the first step in the undirected view."""
        paths = Matrix(float, self._nodes, self._nodes)
        paths(self._view.S) << semiring.plus_pair(self._view @ self._backwards.T)
        joined = paths.reduce_rowwise(monoid.plus).new().to_dense(fill_value=0.0)
        degree = self._view.reduce_rowwise(gb.agg.count).new().to_dense(fill_value=0).astype(float)
        pairs = degree * (degree - 1.0)
        coefficients: NDArray[np.float64] = joined / np.maximum(pairs, 1.0)
        return coefficients

    def values(self, result: Any) -> NDArray[Any]:
        if isinstance(result, np.ndarray):
            return result
        found: NDArray[Any] = result.to_coo()[1]
        return found


def _view(matrix: Any) -> Any:
    """Returns the undirected view: pairs joined in either direction."""
    return unary.one(monoid.any(matrix | matrix.T).new()).new()

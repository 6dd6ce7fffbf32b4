"""Shortest paths from one node over weighted edges (LDBC Graphalytics specification 1.0, section 2.3.6)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.paths import LeastPaths, aggregates, nearer
from shoal.api.errors import BadParameter, UnknownColumn
from shoal.engine.gathers import edge_values
from shoal.engine.workspace import Workspace
from shoal.graph.columns import take
from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.kernels.traversals import shortest_paths
from shoal.program.declarations import Column
from shoal.program.params import Param

EDGES = 16
"""How many edges of the mean weight to go in one tick. On a thinned grid on four shards this takes a twelfth of the
work and a fortieth of the bytes of a run without a stride, and 2 % more ticks.
"""


class ShortestPaths(LeastPaths):
    """Adds weights along the shortest path from a node to each other: column `distance`, none without a path.

    Follows edges from source to target, in an undirected graph both ways; of parallel edges the lightest counts.
    Weights must not be negative. Ends by itself.
    """

    name = "sssp"
    value = Column("distance", np.float64, null=math.inf)
    columns = (value,)
    aggregates = aggregates(np.float64)
    channels = nearer(np.float64)

    weight = Param("weight", "the edge column that has the weights")

    def prepare(self, ws: Workspace) -> None:
        try:
            self._weights = edge_values(ws, self.weight, Direction.OUT, np.dtype(np.float64))
        except UnknownColumn as unknown:
            raise BadParameter(f"parameter 'weight': {unknown}") from unknown
        if not (self._weights >= 0.0).all():
            raise BadParameter(_complaint(ws.part, self.weight, self._weights))

    def stride(self, ws: Workspace) -> float:
        return EDGES * float(self._weights.mean()) if len(self._weights) else 0.0

    def relax(
        self, ws: Workspace, values: NDArray[Any], given: NDArray[Any], horizon: float, waiting: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        return shortest_paths(ws.part.out_kernel, self._weights, values, given, horizon, waiting)


def _complaint(part: ShardGraph, column: str, weights: NDArray[np.float64]) -> str:
    """Returns the error for the first invalid weight. Only own nodes' ids are known."""
    edge = int(np.flatnonzero(~(weights >= 0.0))[0])
    source = int(np.searchsorted(part.out_edges.indptr, edge, side="right")) - 1
    target = int(part.out_edges.neighbours[edge])
    ends = [_name(part, node) if node < part.size else "another shard's node" for node in (source, target)]
    value = "not a number" if math.isnan(weights[edge]) else f"{weights[edge]:g}"
    return (
        f"edge column '{column}': the weight of the edge from {ends[0]} to {ends[1]} is {value}; it must be 0 or more"
    )


def _name(part: ShardGraph, node: int) -> str:
    return f"'{take(part.ids, np.array([node])).tolist()[0]}'"

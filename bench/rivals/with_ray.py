"""Ray: four actors on two cores, each with a slice of the rows; the driver sends all values to every actor.

As one would use several processes without a graph framework: each iteration the driver puts the values into the object
store once, every actor computes those of its own nodes, and the driver joins them.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from scipy.sparse import coo_array

from bench.rivals import engine
from bench.rivals.with_numpy import most_frequent

ACTORS = 4


class Engine(engine.Engine):
    """The driver."""

    def start(self) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of missing accelerators
        ray.init(
            num_cpus=ACTORS,
            include_dashboard=False,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
            object_store_memory=1 << 30,
        )
        actor = ray.remote(num_cpus=1)(Slice)
        self._actors: list[Any] = [actor.remote() for _ in range(ACTORS)]
        ray.get([actor.ready.remote() for actor in self._actors])

    def load(self) -> None:
        edges = engine.read_edges(self.job)
        self._nodes, self._start = edges.node_count, edges.start
        rows, columns, data = edges.target, edges.source, edges.weight
        if self.job.algorithm == "pagerank":
            degree = np.bincount(edges.source, minlength=edges.node_count)
            self._dangling = degree == 0
            data = (engine.DAMPING / degree)[edges.source]
        elif self.job.algorithm in ("wcc", "cdlp"):
            rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        self._cut = _cut(rows, edges.node_count)
        owner = np.searchsorted(self._cut[1:], rows, side="right")
        told = []
        for number, actor in enumerate(self._actors):
            own = owner == number
            begin, end = int(self._cut[number]), int(self._cut[number + 1])
            part = None if data is None else data[own]
            told.append(actor.load.remote(begin, end, self._nodes, rows[own] - begin, columns[own], part))
        ray.get(told)

    def pagerank(self) -> NDArray[Any]:
        """Computes one product per iteration."""
        rank = np.full(self._nodes, 1.0 / self._nodes)
        for _ in range(self.job.iterations):
            base = (1.0 - engine.DAMPING + engine.DAMPING * rank[self._dangling].sum()) / self._nodes
            rank = self._all("product", rank) + base
        return rank

    def wcc(self) -> NDArray[Any]:
        """Takes the least label, until none changes."""
        return self._until_still("least", np.arange(self._nodes))

    def bfs(self) -> NDArray[Any]:
        """Each step costs one."""
        return self._until_still("shortest", self._distances())

    def sssp(self) -> NDArray[Any]:
        """Each step costs its weight."""
        return self._until_still("shortest", self._distances())

    def cdlp(self) -> NDArray[Any]:
        """Each actor sorts its labels."""
        label = np.arange(self._nodes)
        for _ in range(self.job.iterations):
            label = self._all("most_frequent", label)
        return label

    def close(self) -> None:
        ray.shutdown()

    def _distances(self) -> NDArray[np.float64]:
        distance = np.full(self._nodes, np.inf)
        distance[self._start] = 0.0
        return distance

    def _until_still(self, step: str, values: NDArray[Any]) -> NDArray[Any]:
        while True:
            after = self._all(step, values)
            if np.array_equal(after, values):
                return after
            values = after

    def _all(self, step: str, values: NDArray[Any]) -> NDArray[Any]:
        shared = ray.put(values)
        return np.concatenate(ray.get([actor.step.remote(step, shared) for actor in self._actors]))


class Slice:
    """An actor: holds the rows of its own nodes."""

    def ready(self) -> None:
        """Returns once the actor's process is up."""

    def load(
        self,
        begin: int,
        end: int,
        node_count: int,
        rows: NDArray[Any],
        columns: NDArray[Any],
        data: NDArray[Any] | None,
    ) -> None:
        """Stores the edges into nodes `begin` to `end`. Without data a step costs one."""
        self._begin, self._end = begin, end
        order = np.argsort(rows, kind="stable")
        self._owner, self._columns = rows[order], columns[order]
        self._data = None if data is None else data[order]
        self._own, self._begins = np.unique(self._owner, return_index=True)
        body = np.ones(len(rows)) if data is None else data
        self._matrix = coo_array((body, (rows, columns)), shape=(end - begin, node_count)).tocsr()

    def step(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Returns the own nodes' values after an iteration."""
        match name:
            case "product":
                after: NDArray[Any] = self._matrix @ values
                return after
            case "most_frequent":
                return most_frequent(self._owner, values[self._columns], values[self._begin : self._end])
            case "least":
                return self._least(values, values[self._columns])
            case _:
                return self._least(values, values[self._columns] + (1.0 if self._data is None else self._data))

    def _least(self, values: NDArray[Any], offers: NDArray[Any]) -> NDArray[Any]:
        after = values[self._begin : self._end].copy()
        if len(self._own):
            after[self._own] = np.minimum(after[self._own], np.minimum.reduceat(offers, self._begins))
        return after


def _cut(rows: NDArray[Any], node_count: int) -> NDArray[np.int64]:
    """Returns where to cut the nodes so that each slice has about as many edges."""
    before = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=node_count))])
    inner = np.searchsorted(before, np.linspace(0, len(rows), ACTORS + 1)[1:-1])
    return np.concatenate([[0], inner, [node_count]]).astype(np.int64)

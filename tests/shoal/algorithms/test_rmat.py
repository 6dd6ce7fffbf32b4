"""All six of Graphalytics on an R-MAT graph of scale 14, directed and not, for 1, 3 and 5 shards: one digest each.

The other side is numpy and scipy, written for this: nothing of it is Shoal's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

import shoal
from bench.rmat import rmat
from shoal import GraphData

SCALE, TICKS, DAMPING = 14, 10, 0.85
SHARDS = (1, 3, 5)
BOUND = 1 << 32
"""Above any label."""
Array = Any


class Other:
    """The graph as arrays over ordinals, and each algorithm on it."""

    def __init__(self, undirected: bool) -> None:
        source, target = rmat(SCALE)
        if undirected:  # one edge for a pair, as the specification has it
            source, target = np.unique(np.sort(np.stack([source, target]), axis=0), axis=1)
        weight = np.random.default_rng(5).random(len(source))
        self.data: GraphData = shoal.from_arrays(source, target, edge_columns={"weight": weight}, undirected=undirected)
        ids = np.unique(np.concatenate([source, target]))
        ends = np.searchsorted(ids, source), np.searchsorted(ids, target)
        back = (ends[1], ends[0]) if undirected else (ends[0][:0], ends[1][:0])
        self.source, self.target = (np.concatenate(each) for each in zip(ends, back, strict=True))
        self.weight = np.concatenate([weight, weight[: len(back[0])]])
        self.undirected, self.ids, self.size = undirected, ids, len(ids)
        self.root = int(np.bincount(self.source).argmax())

    def matrix(self, values: Array) -> Any:
        return csr_array((values, (self.source, self.target)), shape=(self.size, self.size))

    def bfs(self) -> Array:
        depth, level = np.full(self.size, np.iinfo(np.int64).max), 0
        front = np.zeros(self.size, bool)
        front[self.root] = True
        while front.any():
            depth[front] = level
            reached = np.zeros(self.size, bool)
            reached[self.target[front[self.source]]] = True
            front, level = reached & (depth == np.iinfo(np.int64).max), level + 1
        return depth

    def sssp(self) -> Array:
        return dijkstra(self.matrix(self.weight), indices=self.root)

    def wcc(self) -> Array:
        count, label = connected_components(self.matrix(np.ones(len(self.source))), directed=False)
        first = np.full(count, self.size)
        np.minimum.at(first, label, np.arange(self.size))
        return first[label]

    def cdlp(self) -> Array:
        label = self.ids.astype(np.int64)
        rows = self.target if self.undirected else np.concatenate([self.target, self.source])
        others = self.source if self.undirected else np.concatenate([self.source, self.target])
        for _ in range(TICKS):
            heard, count = np.unique(rows * BOUND + label[others], return_counts=True)
            row, value = np.divmod(heard, BOUND)
            best = np.lexsort((value, -count, row))
            nodes, first = np.unique(row[best], return_index=True)
            label = label.copy()
            label[nodes] = value[best][first]
        return label

    def lcc(self) -> Array:
        """A row of bits a node: of each neighbour's targets, those that are neighbours too."""
        words = -(-self.size // 64)
        arcs = np.zeros((self.size, words), np.uint64)
        bit = np.uint64(1) << (self.target % 64).astype(np.uint64)
        np.bitwise_or.at(arcs, (self.source, self.target // 64), bit)
        near = arcs.copy()
        np.bitwise_or.at(near, (self.target, self.source // 64), np.uint64(1) << (self.source % 64).astype(np.uint64))
        found = np.zeros(self.size)
        for node in range(self.size):
            around = np.flatnonzero(np.unpackbits(near[node].view(np.uint8), bitorder="little"))
            if len(around) > 1:
                between = int(np.bitwise_count(arcs[around] & near[node]).sum())
                found[node] = between / (len(around) * (len(around) - 1))
        return found

    def pagerank(self) -> Array:
        degree = np.bincount(self.source, minlength=self.size)
        move = csr_array((1.0 / degree[self.source], (self.target, self.source)), shape=(self.size, self.size))
        rank = np.full(self.size, 1.0 / self.size)
        for _ in range(TICKS):
            lost = rank[degree == 0].sum()
            rank = (1 - DAMPING) / self.size + DAMPING * (move @ rank) + DAMPING * lost / self.size
        return rank


PROGRAMS: dict[str, tuple[str, Callable[[Other], Array]]] = {
    "bfs": ("depth", Other.bfs),
    "sssp": ("distance", Other.sssp),
    "wcc": ("component", Other.wcc),
    "cdlp": ("label", Other.cdlp),
    "lcc": ("coefficient", Other.lcc),
    "pagerank": ("rank", Other.pagerank),
}


@pytest.fixture(scope="module", params=["directed", "undirected"])
def other(request: pytest.FixtureRequest) -> Other:
    return Other(request.param == "undirected")


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_what_others_find_and_one_digest_on_any_number_of_shards(other: Other, program: str) -> None:
    name, expected = PROGRAMS[program]
    params = {"source": str(other.ids[other.root])} if program in ("bfs", "sssp") else {}
    ticks = TICKS if program in ("cdlp", "pagerank") else 0
    found = []
    for shards in SHARDS:
        with shoal.local(shards) as session:
            run = session.load("g", data=other.data).run(program, ticks=ticks, **params)
            found.append(run.result(name))
    assert len({result.digest for result in found}) == 1
    values, theirs = found[0].values, expected(other)
    if program in ("pagerank", "lcc"):
        assert np.abs(values - theirs).max() < 1e-12
    else:
        assert (values == theirs).all()

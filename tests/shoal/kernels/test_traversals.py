"""Components, breadth-first search and shortest paths within a piece, against loops that relax edge by edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.kernels import _native
from shoal.kernels.reductions import Kernel
from shoal.kernels.traversals import UNREACHED, breadth_first, components, shortest_paths


@dataclass
class Piece:
    """Edges between own nodes and ghosts, each with an own end, and both adjacencies of them."""

    rows: int
    width: int
    edges: list[tuple[int, int]]

    def kernel(self, out: bool) -> Kernel:
        ends = [(u, v) if out else (v, u) for u, v in self.edges]
        ends = sorted(pair for pair in ends if pair[0] < self.rows)
        counts = np.bincount([u for u, _ in ends], minlength=self.rows)[: self.rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return Kernel(indptr.astype(np.int32), np.array([v for _, v in ends], np.int32), self.width)


@st.composite
def pieces(draw: st.DrawFn, least: int = 0) -> Piece:
    """Loops and parallel edges, isolated nodes, hubs, with ghosts and without."""
    rows, ghosts = draw(st.integers(least, 12)), draw(st.integers(0, 4))
    if not rows:
        return Piece(0, ghosts, [])
    own, anyone = st.integers(0, rows - 1), st.integers(0, rows + ghosts - 1)
    edges = draw(st.lists(st.one_of(st.tuples(own, anyone), st.tuples(anyone, own)), max_size=40))
    return Piece(rows, rows + ghosts, edges)


def relaxed(piece: Piece, values: list[Any], weights: dict[tuple[int, int], Any]) -> list[Any]:
    """Until no out-edge of an own node changes anything."""
    values, risen = list(values), True
    while risen:
        risen = False
        for u, v in piece.edges:
            if u < piece.rows and values[u] != UNREACHED and values[u] + weights[u, v] < values[v]:
                values[v], risen = values[u] + weights[u, v], True
    return values


@given(pieces())
@settings(deadline=None, max_examples=150)
def test_components_are_numbered_by_their_first_node(piece: Piece) -> None:
    labels = list(range(piece.width))
    for _ in range(piece.width):
        for u, v in piece.edges:
            labels[u] = labels[v] = min(labels[u], labels[v])
    number = {label: i for i, label in enumerate(sorted(set(labels)))}
    count, found = components(piece.kernel(out=True), piece.kernel(out=False))
    assert found.tolist() == [number[label] for label in labels]
    assert count == len(number)


@given(piece=pieces(least=1), upwards=st.booleans(), data=st.data())
@settings(deadline=None, max_examples=200)
def test_depths_are_relaxed_to_the_end(piece: Piece, upwards: bool, data: st.DataObject) -> None:
    """From several nodes with different depths; and once more, from nodes whose depth has since become less."""
    out, into = piece.kernel(out=True), piece.kernel(out=False) if upwards else None
    ones = dict.fromkeys(piece.edges, 1)
    depth = np.full(piece.width, UNREACHED)
    for _ in range(2):
        news = data.draw(st.dictionaries(st.integers(0, piece.rows - 1), st.integers(0, 6)))
        news = {node: level for node, level in news.items() if level < depth[node]}
        for node, level in news.items():
            depth[node] = level
        before = depth.copy()
        reached = breadth_first(out, into, depth, np.array(list(news), np.int64))
        assert depth.tolist() == relaxed(piece, before.tolist(), ones)
        assert sorted(reached.tolist()) == np.flatnonzero(depth != before).tolist()
        assert depth[reached].tolist() == sorted(depth[reached].tolist())


@pytest.mark.parametrize("ghosts", [0, 500])
def test_levels_with_many_edges_are_done_from_the_far_side(ghosts: int) -> None:
    """A graph that is large enough for it, with a tail that is done downwards again."""
    random = np.random.default_rng(ghosts)
    rows, width = 2000, 2000 + ghosts
    ends = random.integers(0, 1000, (20000, 2)).tolist() + [(i, i + 1) for i in range(999, rows - 1)]
    ends += [(u, rows + v % ghosts) for u, v in random.integers(0, 1000, (5000, 2)).tolist()] if ghosts else []
    piece = Piece(rows, width, [(u, v) for u, v in ends])
    out, into = piece.kernel(out=True), piece.kernel(out=False)
    depths = []
    for back in (into, None):
        depth = np.full(width, UNREACHED)
        depth[0] = 0
        reached = breadth_first(out, back, depth, np.array([0]))
        assert sorted(reached.tolist()) == np.flatnonzero((depth > 0) & (depth < UNREACHED)).tolist()
        depths.append(depth.tolist())
    assert depths[0] == depths[1]
    assert max(d for d in depths[0] if d != UNREACHED) > 1000


@given(piece=pieces(least=1), data=st.data())
@settings(deadline=None, max_examples=200)
def test_distances_are_least_sums_from_the_source_on(piece: Piece, data: st.DataObject) -> None:
    """To the bit, whatever the order in which they are found; and once more from nodes that have come nearer."""
    lengths = st.one_of(st.floats(0, 1e3), st.sampled_from([0.0, 0.1, 0.2, 0.3, math.inf]))
    weights = {edge: data.draw(lengths) for edge in sorted(set(piece.edges))}
    out = piece.kernel(out=True)
    by_row = [weights[u, v] for u, v in sorted(piece.edges) if u < piece.rows]
    distance = np.full(piece.width, math.inf)
    for _ in range(2):
        news = data.draw(st.dictionaries(st.integers(0, piece.rows - 1), st.floats(0, 100)))
        news = {node: length for node, length in news.items() if length < distance[node]}
        for node, length in news.items():
            distance[node] = length
        before = distance.copy()
        changed = shortest_paths(out, np.array(by_row, np.float64), distance, np.array(list(news), np.int64))
        assert distance.tolist() == relaxed(piece, before.tolist(), weights)
        assert sorted(changed.tolist()) == np.flatnonzero(distance != before).tolist()


def test_a_long_way_through_many_nodes() -> None:
    """The heap holds each node once, however often it comes nearer."""
    random = np.random.default_rng(7)
    edges = [(int(u), int(v)) for u, v in random.integers(0, 300, (6000, 2))]
    piece = Piece(300, 300, edges)
    weights = {edge: float(random.random() ** 8) for edge in edges}
    by_row = np.array([weights[edge] for edge in sorted(edges)])
    distance = np.full(300, math.inf)
    distance[3] = 0.0
    shortest_paths(piece.kernel(out=True), by_row, distance, np.array([3, 3]))
    assert distance.tolist() == relaxed(piece, [0.0 if i == 3 else math.inf for i in range(300)], weights)


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_weights_that_no_distance_can_have_are_refused(weight: float) -> None:
    piece = Piece(2, 2, [(0, 1), (1, 0)])
    with pytest.raises(ValueError, match="negative"):
        shortest_paths(piece.kernel(out=True), np.array([1.0, weight]), np.array([0.0, math.inf]), np.array([0]))


def test_arrays_that_do_not_fit_are_refused() -> None:
    piece = Piece(2, 3, [(0, 1), (1, 2)])
    out, into, ones = piece.kernel(out=True), piece.kernel(out=False), np.ones(2)
    other = Piece(1, 3, [(0, 1)]).kernel(out=False)
    with pytest.raises(ValueError, match="same nodes"):
        components(out, other)
    with pytest.raises(ValueError, match="same nodes"):
        breadth_first(out, other, np.zeros(3, np.int64), np.array([0]))
    with pytest.raises(ValueError, match="one depth a local index"):
        breadth_first(out, into, np.zeros(2, np.int64), np.array([0]))
    with pytest.raises(ValueError, match="do not ascend"):
        breadth_first(out, into, np.full(3, UNREACHED), np.array([0]))
    with pytest.raises(ValueError, match="one weight an edge"):
        shortest_paths(out, np.ones(1), np.zeros(3), np.array([0]))
    with pytest.raises(ValueError, match="one distance a local index"):
        shortest_paths(out, ones, np.zeros(2), np.array([0]))
    with pytest.raises(ValueError, match="a given distance"):
        shortest_paths(out, ones, np.full(3, math.nan), np.array([0]))
    with pytest.raises(TypeError, match="distance"):
        shortest_paths(out, ones, np.zeros(3, np.int64), np.array([0]))
    for wrong in (2, -1):  # a ghost is nothing to go on from
        node = np.array([wrong], np.int32)
        with pytest.raises(ValueError, match="none of the own"):
            shortest_paths(out, ones, np.zeros(3), node)
        with pytest.raises(ValueError, match="none of the own"):
            breadth_first(out, into, np.zeros(3, np.int64), node)
    rows, waits = (out.indptr, out.neighbours), np.zeros(out.rows, np.bool_)
    with pytest.raises(ValueError, match="room"):
        _native.shortest_paths(*rows, ones, np.zeros(3), node[:0], np.empty(2, np.int32), waits, 3, math.inf)
    with pytest.raises(ValueError, match="room"):
        _native.breadth_first(
            *rows,
            None,
            None,
            np.zeros(3, np.int64),
            node[:0],
            np.empty(0, np.int64),
            np.empty(3, np.int32),
            waits,
            3,
            9,
        )


@given(piece=pieces(least=1), upwards=st.booleans(), data=st.data())
@settings(deadline=None, max_examples=100)
def test_those_who_wait_are_gone_on_from_another_time(piece: Piece, upwards: bool, data: st.DataObject) -> None:
    """Limits that rise, and all who wait within them given again, come to what no limit comes to."""
    weights = np.array([data.draw(st.integers(0, 3)) for _ in piece.kernel(out=True).neighbours], np.float64)
    sources = np.array(data.draw(st.lists(st.integers(0, piece.rows - 1), min_size=1, unique=True)))
    out, into = piece.kernel(out=True), piece.kernel(out=False) if upwards else None
    whole, limited = (np.full(piece.width, UNREACHED) for _ in range(2))
    far, near = (np.full(piece.width, math.inf) for _ in range(2))
    whole[sources] = limited[sources] = far[sources] = near[sources] = 0
    breadth_first(out, into, whole, sources)
    shortest_paths(out, weights, far, sources)
    waiting = np.zeros(piece.rows, np.bool_)
    for values, expected, search in (
        (limited, whole, lambda given, limit: breadth_first(out, into, limited, given, limit, waiting)),
        (near, far, lambda given, limit: shortest_paths(out, weights, near, given, limit, waiting)),
    ):
        waiting[sources] = True
        limit = 0
        while waiting.any():
            given_now = np.flatnonzero(waiting & (values[: piece.rows] <= limit))
            search(given_now, limit)
            assert not (waiting & (values[: piece.rows] <= limit)).any()
            limit += data.draw(st.integers(1, 3))
        assert values.tolist() == expected.tolist()

"""Neighbour sets and triangles against sets of Python; of several shards, what they find adds up to the whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.kernels import _native
from shoal.kernels.reductions import Kernel
from shoal.kernels.triangles import Sets, corner_arcs, neighbour_sets

Pairs = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Pairs]:
    """Dense enough for triangles; with loops, parallel edges, hubs and isolated nodes."""
    nodes = draw(st.integers(1, 14))
    node = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=90))
    hub = draw(st.sampled_from([[], [(0, i) for i in range(nodes)]]))
    return nodes, pairs + hub


def part_at(nodes: int, pairs: Pairs, shard: int = 0, shards: int = 1) -> ShardGraph:
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    data = shoal.from_arrays(ends[:, 0], ends[:, 1], nodes=np.arange(nodes), partition_count=8)
    holder = np.arange(8, dtype=np.int16) % shards
    return part_of("g", data, Placement(tuple("abc"[:shards]), holder), shard)


def neighbours_of(nodes: int, pairs: Pairs) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(nodes)]
    for u, v in pairs:
        if u != v:
            found[u].add(v)
            found[v].add(u)
    return found


def arcs_between_neighbours(nodes: int, pairs: Pairs) -> list[int]:
    arcs = {(u, v) for u, v in pairs if u != v}
    return [
        sum(((a, b) in arcs) + ((b, a) in arcs) for a, b in combinations(sorted(around), 2))
        for around in neighbours_of(nodes, pairs)
    ]


@given(graphs())
@settings(deadline=None, max_examples=100)
def test_neighbours_are_distinct_and_oneself_is_none(graph: tuple[int, Pairs]) -> None:
    nodes, pairs = graph
    part = part_at(nodes, pairs)
    ordinals, arcs = part.all_ordinals(), set(pairs)
    sets = neighbour_sets(part.out_kernel, part.in_kernel)
    around = neighbours_of(nodes, pairs)
    for i, (first, last) in enumerate(zip(sets.starts[:-1], sets.starts[1:], strict=True)):
        u, members = int(ordinals[i]), ordinals[sets.members[first:last]].tolist()
        assert sorted(members) == sorted(around[u])
        assert sets.arcs[first:last].tolist() == [((u, v) in arcs) + ((v, u) in arcs) for v in members]
    assert sets.lengths.tolist() == [len(around[u]) for u in ordinals.tolist()]
    assert len(sets) == nodes
    assert sets.nbytes == sets.starts.nbytes + 5 * len(sets.members)


@given(graph=graphs(), threads=st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_arcs_between_neighbours_are_counted(graph: tuple[int, Pairs], threads: int) -> None:
    nodes, pairs = graph
    part = part_at(nodes, pairs)
    ordinals = part.all_ordinals()
    sets = neighbour_sets(part.out_kernel, part.in_kernel)
    upper = sets.oriented(sets.lengths, ordinals)
    assert len(upper.members) * 2 == len(sets.members)
    expected = arcs_between_neighbours(nodes, pairs)
    with ThreadPoolExecutor(threads) as pool:
        for found in (corner_arcs(upper, nodes), corner_arcs(upper, nodes, pool, threads)):
            assert dict(zip(ordinals.tolist(), found.tolist(), strict=True)) == dict(enumerate(expected))


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_what_shards_find_adds_up(graph: tuple[int, Pairs]) -> None:
    """Each triangle is found by the owner of its lowest corner, who has been given its neighbours' sets."""
    nodes, pairs = graph
    around = neighbours_of(nodes, pairs)
    degree = np.array([len(near) for near in around], np.int64)
    parts = [part_at(nodes, pairs, shard, 3) for shard in range(3)]
    rows: dict[int, list[tuple[int, int]]] = {}
    for part in parts:
        ordinals = part.all_ordinals()
        upper = neighbour_sets(part.out_kernel, part.in_kernel).oriented(degree[ordinals], ordinals)
        for i in range(part.size):
            span = slice(upper.starts[i], upper.starts[i + 1])
            members = ordinals[upper.members[span]].tolist()
            rows[int(ordinals[i])] = list(zip(members, upper.arcs[span].tolist(), strict=True))
    total = [0] * nodes
    for part in parts:
        ordinals = part.all_ordinals().tolist()
        local = {ordinal: i for i, ordinal in enumerate(ordinals)}
        here = [[(local[v], arcs) for v, arcs in rows[u] if v in local] for u in ordinals]
        found = corner_arcs(sets_of(here), part.size)
        for ordinal, arcs in zip(ordinals, found.tolist(), strict=True):
            total[ordinal] += arcs
    assert total == arcs_between_neighbours(nodes, pairs)


def sets_of(rows: list[list[tuple[int, int]]]) -> Sets:
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    flat: list[Any] = [pair for row in rows for pair in row]
    return Sets(starts, np.array([v for v, _ in flat], np.int32), np.array([a for _, a in flat], np.uint8))


def test_sets_that_are_none_are_refused() -> None:
    outside = sets_of([[(2, 1)], []])
    with pytest.raises(ValueError, match="no local index"):
        corner_arcs(outside, 1)
    with pytest.raises(ValueError, match="no local index"):
        outside.oriented(np.zeros(2, np.int64), np.zeros(2, np.int64))
    good = sets_of([[(1, 1)], []])
    for own in (-1, 3):
        with pytest.raises(ValueError, match="can't be counted"):
            corner_arcs(good, own)
    with pytest.raises(ValueError, match="degree and ordinal"):
        good.oriented(np.zeros(2, np.int64), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="one number of arcs"):
        Sets(good.starts, good.members, good.arcs[:0]).oriented(np.zeros(2, np.int64), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="same nodes"):
        neighbour_sets(
            Kernel(np.zeros(1, np.int32), np.empty(0, np.int32), 2),
            Kernel(np.zeros(2, np.int32), np.empty(0, np.int32), 2),
        )
    ranks, credits = np.arange(2, dtype=np.int32), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="no such rank"):
        _native.triangles(good.starts, np.array([4], np.int32), ranks, ranks, credits, 0, 2)
    with pytest.raises(ValueError, match="no such rank"):
        _native.triangles(good.starts, np.array([2], np.int32), ranks - 1, ranks, credits, 0, 2)

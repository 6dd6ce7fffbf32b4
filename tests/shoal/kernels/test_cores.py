"""Core numbers of a piece: as networkx has them where nothing is missing, and falling as if they were found anew."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.kernels import _native, cores
from shoal.kernels.cores import Cores
from shoal.kernels.triangles import Sets, neighbour_sets

Pairs = list[tuple[int, int]]


def part_at(nodes: int, pairs: Pairs, shards: int = 1) -> ShardGraph:
    data = shoal.from_arrays([u for u, _ in pairs], [v for _, v in pairs], nodes=list(range(nodes)))
    holder = np.arange(data.partition_count, dtype=np.int16) % shards
    return part_of("g", data, Placement(tuple(map(str, range(shards))), holder), 0)


def sets_of(part: ShardGraph) -> Sets:
    return neighbour_sets(part.out_kernel, part.in_kernel)


@st.composite
def pieces(draw: st.DrawFn) -> tuple[ShardGraph, list[list[int]]]:
    """A shard's piece, and what its ghosts are said to be, call by call, ever less."""
    nodes = draw(st.integers(1, 25))
    ends = st.integers(0, nodes - 1)
    part = part_at(nodes, draw(st.lists(st.tuples(ends, ends), max_size=120)), draw(st.integers(1, 3)))
    calls = [draw(st.lists(st.integers(0, 12), min_size=part.ghost_count, max_size=part.ghost_count))]
    for _ in range(draw(st.integers(1, 4))):
        falls = st.lists(st.integers(0, 4), min_size=part.ghost_count, max_size=part.ghost_count)
        calls.append([max(0, value - less) for value, less in zip(calls[-1], draw(falls), strict=True)])
    return part, calls


@given(pieces(), st.sampled_from([0, 1, 4]))
@settings(deadline=None, max_examples=150)
def test_what_falls_is_what_is_found_anew(piece: tuple[ShardGraph, list[list[int]]], looks: int) -> None:
    """However soon it gives up falling."""
    part, calls = piece
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cores, "LOOKS_A_MEMBER", looks)
        falling = Cores(sets_of(part), part.ghost_count)
        for ghosts in calls:
            anew = Cores(sets_of(part), part.ghost_count)
            assert falling.given(np.array(ghosts)).tolist() == anew.given(np.array(ghosts)).tolist()


def test_they_are_the_greatest_that_satisfy_the_rule() -> None:
    """Montresor, De Pellegrini and Miorandi 2013, theorem 1, with ghosts that say anything."""
    random = np.random.default_rng(3)
    part = part_at(60, [tuple(pair) for pair in random.integers(0, 60, (500, 2)).tolist()], 2)
    sets, said = sets_of(part), random.integers(0, 15, part.ghost_count)
    found = np.concatenate([Cores(sets, part.ghost_count).given(said), said])
    for node, (first, last) in enumerate(zip(sets.starts[:-1], sets.starts[1:], strict=True)):
        around = sorted(found[sets.members[first:last]], reverse=True)
        assert found[node] == sum(k <= value for k, value in enumerate(around, start=1))


def test_without_ghosts_they_are_those_of_networkx() -> None:
    graph: Any = nx.gnm_random_graph(80, 400, seed=5)
    part = part_at(80, list(graph.edges))
    found = Cores(sets_of(part), 0).given(np.empty(0, np.int64))
    assert dict(zip(part.ordinals.tolist(), found.tolist(), strict=True)) == nx.core_number(graph)


def test_the_compiled_loops_take_no_nonsense() -> None:
    starts, members = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    keys, support = np.array([1, 1], np.int32), np.empty(2, np.int32)
    _native.cores(starts, members, keys, support, 2)
    assert keys.tolist() == support.tolist() == [1, 1]
    nobody, one, two = np.empty(0, np.int32), np.array([1], np.int32), np.array([1, 1], np.int32)
    for wrong in (one, np.array([1, -1], np.int32), np.array([1, 2**31 - 1], np.int32)):
        with pytest.raises(ValueError, match="key"):
            _native.cores(starts, members, wrong, support, 2)
        with pytest.raises(ValueError, match="key"):
            _native.fallen_cores(starts, members, wrong, support, nobody, nobody, 2, 9)
    for own in (-1, 3):
        with pytest.raises(ValueError, match="key"):
            _native.cores(starts, members, keys, support, own)
        with pytest.raises(ValueError, match="key"):
            _native.fallen_cores(starts, members, keys, support, nobody, nobody, own, 9)
    with pytest.raises(ValueError, match="support"):
        _native.cores(starts, members, keys, one, 2)
    with pytest.raises(ValueError, match="support"):
        _native.fallen_cores(starts, members, keys, one, nobody, nobody, 2, 9)
    for fallen, before in ((one, nobody), (np.array([2], np.int32), one), (np.array([0], np.int32), one), (one, two)):
        with pytest.raises(ValueError, match="no ghosts"):
            _native.fallen_cores(starts, members, keys, one, fallen, before, 1, 9)
    assert _native.fallen_cores(starts, members, np.array([1, 0], np.int32), one.copy(), one, one, 1, 9) is True
    assert _native.fallen_cores(starts, members, np.array([1, 0], np.int32), one.copy(), one, one, 1, 0) is False

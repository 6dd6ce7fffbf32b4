"""Parts: every edge in canonical order at both its ends, and boundaries that owner and holder sort alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal import Direction, GraphData
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Adjacency, Boundary, Placement, ShardGraph

SHARDS = ("x", "y", "z")


@st.composite
def placed(draw: st.DrawFn) -> tuple[GraphData, Placement]:
    """A multigraph, and its partitions dealt to three shards in any way, to one of them perhaps none."""
    nodes = draw(st.lists(st.integers(-99, 99), min_size=1, max_size=12, unique=True))
    ends = st.sampled_from(nodes)
    edges = draw(st.lists(st.tuples(ends, ends), max_size=30))
    partitions = draw(st.integers(1, 9))
    data = shoal.from_arrays(
        [s for s, _ in edges], [t for _, t in edges], nodes=nodes, partition_count=partitions,
        node_columns={"name": [f"n{node}" for node in nodes]}, edge_columns={"place": list(range(len(edges)))},
    )  # fmt: skip
    holder = draw(st.lists(st.integers(0, 2), min_size=partitions, max_size=partitions))
    return data, Placement(SHARDS, np.array(holder, dtype=np.int16))


def parts_of(data: GraphData, placement: Placement) -> dict[str, ShardGraph]:
    return {shard: part_of("g", data, placement, i) for i, shard in enumerate(SHARDS)}


def rows(part: ShardGraph, adjacency: Adjacency) -> list[list[int]]:
    """For every own node, the ordinals of its neighbours."""
    everyone = part.all_ordinals().tolist()
    return [
        [everyone[n] for n in adjacency.neighbours[first:end].tolist()]
        for first, end in zip(adjacency.indptr.tolist(), adjacency.indptr.tolist()[1:], strict=False)
    ]


@given(placed())
@settings(deadline=None, max_examples=40)
def test_an_undirected_graph_counts_its_edges_as_they_were_given(given: tuple[GraphData, Placement]) -> None:
    one_way, placement = given
    source, target = one_way.source.tolist(), one_way.target.tolist()
    ends = one_way.ids[one_way.source], one_way.ids[one_way.target]
    data = shoal.from_arrays(*ends, nodes=one_way.ids, partition_count=one_way.partition_count, undirected=True)
    holder = placement.holder[data.partition].tolist()
    parts = parts_of(data, placement)
    for i, part in enumerate(parts.values()):
        touching = [i in (holder[s], holder[t]) for s, t in zip(source, target, strict=True)]
        assert (part.directed, part.edge_count, part.held_edges) == (False, len(source), sum(touching))
        assert rows(part, part.in_edges) == [sorted(row) for row in rows(part, part.out_edges)]
    crossing = sum(holder[s] != holder[t] for s, t in zip(source, target, strict=True))
    assert sum(part.cross_edges for part in parts.values()) == crossing
    assert sum(part.own_edges for part in parts.values()) == len(source)


@given(placed())
@settings(deadline=None, max_examples=80)
def test_every_node_is_held_once_and_its_edges_stand_in_canonical_order(given: tuple[GraphData, Placement]) -> None:
    data, placement = given
    parts = parts_of(data, placement)
    edges = list(zip(data.source.tolist(), data.target.tolist(), strict=True))
    assert sorted(o for part in parts.values() for o in part.ordinals.tolist()) == list(range(data.node_count))
    for i, part in enumerate(parts.values()):
        mine = part.ordinals.tolist()
        assert [placement.holder[data.partition[o]] for o in mine] == [i] * len(mine)
        assert mine == sorted(mine, key=lambda o: (data.partition[o], o))
        for k, partition in enumerate(part.partitions):
            held = part.ordinals[part.starts[k] : part.starts[k + 1]]
            assert all(data.partition[o] == partition for o in held.tolist())
        assert part.starts.tolist()[-1] == part.size
        assert rows(part, part.in_edges) == [[s for s, t in edges if t == o] for o in mine]
        assert rows(part, part.out_edges) == [[t for s, t in edges if s == o] for o in mine]
        assert part.in_degree.tolist() == [sum(t == o for _, t in edges) for o in mine]
        assert part.out_degree.tolist() == [sum(s == o for s, _ in edges) for o in mine]
        touching = [(s, t) for s, t in edges if s in mine or t in mine]
        assert part.held_edges == len(touching)
        assert part.cross_edges == sum(s in mine and t not in mine for s, t in edges)
        ghosts = part.ghost_ordinals.tolist()
        assert sorted(ghosts) == sorted({o for edge in touching for o in edge} - set(mine))
        assert part.node_columns["name"].to_pylist() == [f"n{data.ids[o]}" for o in mine]
        places = part.edge_columns["place"][part.in_edges.edges]
        assert places.tolist() == [
            data.edge_columns["place"][k] for o in mine for k, (_, t) in enumerate(edges) if t == o
        ]
    assert sum(part.cross_edges for part in parts.values()) == sum(
        placement.holder[data.partition[s]] != placement.holder[data.partition[t]] for s, t in edges
    )


@given(placed())
@settings(deadline=None, max_examples=80)
def test_owner_and_holder_sort_a_boundary_alike(given: tuple[GraphData, Placement]) -> None:
    """So that values travel as a bare slice: the k-th that the owner sends is the k-th that the holder has."""
    data, placement = given
    parts = parts_of(data, placement)
    for holder, part in parts.items():
        everyone = part.all_ordinals()
        for owner in part.peers:
            ghosts, sends = part.ghosts[owner], parts[owner].sends[holder]
            assert (ghosts.source_only_end, ghosts.both_end) == (sends.source_only_end, sends.both_end)
            assert everyone[ghosts.nodes].tolist() == parts[owner].ordinals[sends.nodes].tolist()
            for direction, adjacency in ((Direction.IN, part.in_edges), (Direction.OUT, part.out_edges)):
                read = set(adjacency.neighbours.tolist()) & set(ghosts.nodes.tolist())
                assert set(ghosts.nodes[ghosts.bounds(direction)].tolist()) == read


@pytest.mark.parametrize(
    ("direction", "expected"),
    [(Direction.IN, slice(0, 3)), (Direction.OUT, slice(1, 6)), (Direction.BOTH, slice(0, 6))],
)
def test_the_sides_of_a_boundary(direction: Direction, expected: slice) -> None:
    assert Boundary(np.arange(6), 1, 3).bounds(direction) == expected


def test_a_kernel_holds_nothing_of_its_own() -> None:
    data = shoal.from_arrays(np.arange(100), np.arange(100)[::-1])
    part = part_of("g", data, Placement(("x",), np.zeros(64, dtype=np.int16)), 0)
    before: Any = part.nbytes
    part.in_kernel.sum(np.ones(100))
    assert part.nbytes == before
    assert part.in_kernel is part.in_kernel
    assert np.shares_memory(part.in_kernel.indptr, part.in_edges.indptr)
    assert np.shares_memory(part.in_kernel.neighbours, part.in_edges.neighbours)

"""bfs and sssp: the twin of one counts edges level by level, that of the other is networkx's Dijkstra."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from tests.shoal.algorithms.graphs import Made, column, error_of, graphs, made


def levels(graph: Made, source: Any) -> dict[Any, int | None]:
    depth: dict[Any, int | None] = dict.fromkeys(graph.nodes)
    frontier, level = {source}, 0
    while frontier:
        for node in frontier:
            depth[node] = level
        frontier = {v for u, v, _ in graph.arcs if u in frontier and depth[v] is None}
        level += 1
    return depth


@given(graphs(nodes_min=1), st.data())
@settings(deadline=None, max_examples=30)
def test_depths_are_levels(graph: Made, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(graph.nodes))
    assert column(graph, "bfs", source=str(source)) == levels(graph, source)


@given(graphs(nodes_min=1), st.data())
@settings(deadline=None, max_examples=30)
def test_distances_are_dijkstras(graph: Made, data: st.DataObject) -> None:
    """To the bit: both add the weights of a path from its source on, and take the least sum."""
    source = data.draw(st.sampled_from(graph.nodes))
    expected = dict.fromkeys(graph.nodes) | nx.single_source_dijkstra_path_length(graph.networkx(), source)
    assert column(graph, "sssp", source=str(source)) == expected


@pytest.mark.parametrize("undirected", [False, True])
def test_unreachable_nodes_have_no_depth_and_no_distance(undirected: bool) -> None:
    """Specification 2.3.1 and 2.3.6: a vertex that cannot be reached is infinitely far."""
    graph = made([(1, 2), (3, 1), (4, 5)], [1, 2, 3, 4, 5, 6], undirected)
    back = 1 if undirected else None
    assert column(graph, "bfs", source="1") == {1: 0, 2: 1, 3: back, 4: None, 5: None, 6: None}
    assert column(graph, "sssp", source="1") == {1: 0, 2: 1, 3: back, 4: None, 5: None, 6: None}
    with shoal.local() as session:
        run = session.load("g", data=graph.data).run("bfs", source="1")
        assert run.result("depth").values.max() == 2**63 - 1
        far = session.graph("g").run("sssp", source="1").result("distance").values
        assert math.isinf(far.max())


def test_of_parallel_edges_the_lightest_counts_and_loops_do_not() -> None:
    graph = made([(1, 2, 5), (1, 2, 2), (1, 2, 3), (2, 2, 0), (1, 1, 0)])
    assert column(graph, "sssp", source="1") == {1: 0, 2: 2}


def test_edges_without_weight_to_bear_make_no_ring_endless() -> None:
    graph = made([(1, 2, 0), (2, 3, 0), (3, 1, 0)])
    assert column(graph, "sssp", source="2") == {1: 0, 2: 0, 3: 0}


def test_another_column_can_have_the_weights_whole_numbers_too() -> None:
    data = shoal.from_arrays([1, 2], [2, 3], edge_columns={"metres": [10, 20]})
    assert column(data, "sssp", source="1", weight="metres") == {1: 0, 2: 10, 3: 30}


def test_a_long_path_over_all_shards() -> None:
    size = 300
    graph = made([(i, i + 1, 0.1) for i in range(size)])
    assert column(graph, "bfs", source="0")[size] == size
    with shoal.local(4) as session:
        run = session.load("g", data=graph.data).run("bfs", source="0")
        assert size / 2 < run.tick <= size  # a tick a crossing, and one in which nothing is sent
        assert run.show()["figures"]["reached"] == size + 1
    with shoal.local(1) as session:
        assert session.load("g", data=graph.data).run("bfs", source="0").tick == 1


@pytest.mark.parametrize("program", ["bfs", "sssp"])
def test_a_source_that_is_no_node_is_refused_before_the_first_tick(program: str) -> None:
    numbers, words = made([(1, 2), (2, 3)]), made([("a", "b"), ("b", "5,6")])
    assert "parameter 'source': no node is called '5' in graph 'g'" in error_of(numbers, program, source="5")
    assert "no node is called 'a': the ids of this graph are whole numbers" in error_of(numbers, program, source="a")
    assert "ids have 64 bits" in error_of(numbers, program, source="9" * 30)
    assert "no node is called '5' in graph 'g'" in error_of(words, program, source="5")
    assert "parameter 'source' is missing: give the id of a node" in error_of(words, program)
    assert column(words, program, source="5,6") == {"a": None, "b": None, "5,6": 0}


def test_a_weight_that_no_distance_can_have_is_named() -> None:
    wrong = made([("a", "b", 1), ("b", "c", -2.5)], partition_count=1)
    said = "edge column 'weight': the weight of the edge from 'b' to 'c' is -2.5; it must be 0 or more"
    assert said in error_of(wrong, "sssp", source="a", shards=1)
    many = made([(i, i + 1, -1) for i in range(50)])
    assert "edge column 'weight': the weight of the edge from '" in error_of(many, "sssp", source="1")
    data = shoal.from_arrays(["a"], ["b"], edge_columns={"metres": [math.nan]})
    with shoal.local() as session:
        graph = session.load("g", data=data)
        said = str(graph.start("sssp", source="a", weight="metres").show()["error"])
        assert "the weight of the edge from 'a' to 'b' is not a number" in said
        assert "the graph's edges have no column 'weight'" in str(graph.start("sssp", source="a").show()["error"])
    with shoal.local() as session:
        bare = session.load("g", data=shoal.from_arrays(["a"], ["b"]))
        assert "have no column 'weight'; they have: none" in str(bare.start("sssp", source="a").show()["error"])


def test_a_weight_column_that_is_not_there_is_the_parameters_mistake() -> None:
    data = shoal.from_arrays([1], [2], edge_columns={"weight": [1.0]})
    with (
        shoal.local(2) as session,
        pytest.raises(shoal.RunFailed, match=r"parameter 'weight': .* did you mean 'weight'"),
    ):
        session.load("g", data=data).run("sssp", source=1, weight="wieght")

"""Graphs of networkx, all four classes."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest

from shoal.graph.graph_data import BadGraph
from shoal.graph.sources import from_arrays, from_networkx


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
def test_each_class_has_the_edges_it_means(kind: Any) -> None:
    graph = kind()
    graph.add_edges_from([(1, 0), (1, 0), (1, 1), (0, 2)])
    ours = from_networkx(graph)
    edges = sorted(zip(ours.ids[ours.source].tolist(), ours.ids[ours.target].tolist(), strict=True))
    expected = [(1, 0), (1, 1), (0, 2)] + ([(1, 0)] if graph.is_multigraph() else [])
    if not graph.is_directed():
        expected += [(v, u) for u, v in expected if u != v]
    assert edges == sorted(expected)


def test_karate_club() -> None:
    graph = nx.karate_club_graph()
    ours = from_networkx(graph)
    assert (ours.node_count, ours.edge_count) == (34, 78)
    assert (ours.directed, ours.arc_count) == (False, 2 * 78)
    assert ours.node_columns["club"].to_pylist() == [club for _, club in graph.nodes(data="club")]
    assert ours.edge_columns["weight"].sum() == 2 * sum(w for _, _, w in graph.edges(data="weight"))
    assert np.bincount(ours.source).tolist() == [degree for _, degree in graph.degree()]


def test_data_become_columns() -> None:
    graph = nx.DiGraph()
    graph.add_node("b", name="B", size=1.5)
    graph.add_node("a", name="A", n=1)
    graph.add_node("lonely", n=2)
    graph.nodes["b"]["n"] = 3
    graph.add_edge("b", "a", weight=2.5)
    graph.add_edge("a", "b", kind="back")
    ours = from_networkx(graph)
    expected = from_arrays(
        ["b", "a"],
        ["a", "b"],
        nodes=["b", "a", "lonely"],
        node_columns={"name": ["B", "A", ""], "size": [1.5, np.nan, np.nan], "n": [3, 1, 2]},
        edge_columns={"weight": [2.5, 1.0], "kind": ["", "back"]},
    )
    assert ours.equals(expected)


def test_an_empty_graph_and_one_of_lonely_nodes() -> None:
    assert from_networkx(nx.Graph()).node_count == 0
    assert from_networkx(nx.empty_graph(3)).ids.tolist() == [0, 1, 2]


def test_numbers_of_numpy_are_numbers() -> None:
    graph = nx.Graph([(np.int64(3), 1)])
    assert from_networkx(graph).ids.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        ([(1, "a")], "all int or all str, but here are 1 and 'a'"),
        ([((1, 2), (3, 4))], r"node \(1, 2\) is of type tuple"),
        ([(True, False)], "node True is of type bool"),
        ([(1 << 63, 1)], "does not fit a signed integer"),
        ([("\ud800", "a")], "not valid Unicode"),
        ([("", "a")], "the nodes: row 1: the node's id is empty"),
        ([("a", "b", {"source": 1})], "edge attribute 'source' cannot name a column"),
        ([("a", "b", {1: 1})], "edge attribute 1 cannot name"),
        ([("a", "b", {"n": 1}), ("a", "c")], "edge attribute 'n': row 2 has no value"),
        ([("a", "b", {"n": 1}), ("a", "c", {"n": "x"})], "edge attribute 'n': the values must be all int"),
        ([("a", "b", {"n": [1]})], "edge attribute 'n': a column can't have the type list"),
    ],
)
def test_what_cannot_be_kept_is_refused(edges: list[Any], sentence: str) -> None:
    with pytest.raises(BadGraph, match=sentence):
        from_networkx(nx.DiGraph(edges))

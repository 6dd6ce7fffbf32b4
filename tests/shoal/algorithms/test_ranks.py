"""pagerank by the specification's rules, and ppr against networkx."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shoal.algorithms.graphs import Made, column, error_of, graphs, made


def power(graph: Made, ticks: int, damping: float, back_to: dict[Any, float]) -> dict[Any, float]:
    """Specification 2.3.2, where `back_to` has 1 / |V| for everybody."""
    out: dict[Any, int] = dict.fromkeys(graph.nodes, 0)
    for u, _, _ in graph.arcs:
        out[u] += 1
    rank = dict(back_to)
    for _ in range(ticks):
        lost = sum(rank[node] for node in graph.nodes if not out[node])
        following = {node: ((1 - damping) + damping * lost) * back_to[node] for node in graph.nodes}
        for u, v, _ in graph.arcs:
            following[v] += damping * rank[u] / out[u]
        rank = following
    return rank


def close(found: dict[Any, float], expected: dict[Any, float]) -> bool:
    return found.keys() == expected.keys() and all(abs(found[node] - expected[node]) < 1e-14 for node in expected)


@given(graphs(), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_pagerank_is_that_of_the_specification(graph: Made, ticks: int) -> None:
    evenly = dict.fromkeys(graph.nodes, 1 / max(1, len(graph.nodes)))
    assert close(column(graph, "pagerank", ticks), power(graph, ticks, 0.85, evenly))


def test_what_dangling_nodes_have_goes_to_everybody_alike() -> None:
    """Specification 2.3.2: "evenly distributed over all vertices"."""
    rank = column(made([(1, 2), (1, 3)], [1, 2, 3, 4]), "pagerank", 1, damping=0.5)
    each = 0.5 / 4 + 0.5 * 0.75 / 4
    assert close(rank, {1: each, 2: each + 0.5 * 0.125, 3: each + 0.5 * 0.125, 4: each})
    assert sum(rank.values()) == pytest.approx(1.0)


@given(graphs(nodes_min=1), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=25)
def test_walks_start_over_at_the_source(graph: Made, ticks: int, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(graph.nodes))
    there = {node: float(node == source) for node in graph.nodes}
    assert close(column(graph, "ppr", ticks, source=str(source)), power(graph, ticks, 0.85, there))


def test_several_sources_share_evenly_and_get_what_dangles() -> None:
    graph = made([("a", "b"), ("b", "c"), ("d", "a")])
    there = {"a": 0.5, "b": 0.0, "c": 0.0, "d": 0.5}
    assert close(column(graph, "ppr", 7, sources="a, d,a"), power(graph, 7, 0.85, there))


def test_converged_it_is_that_of_networkx() -> None:
    random: Any = nx.gnm_random_graph(60, 150, seed=3, directed=True)
    graph = made(list(random.edges), list(random.nodes))
    theirs = nx.pagerank(random, personalization={4: 1.0, 9: 1.0}, tol=1e-14, max_iter=500)
    ours = column(graph, "ppr", 500, sources="4,9", tol=1e-14)
    assert max(abs(ours[node] - theirs[node]) for node in theirs) < 1e-12
    assert np.isclose(sum(ours.values()), 1.0)


def test_sources_that_are_none_are_refused_before_the_first_tick() -> None:
    graph = made([(1, 2), (2, 3)])
    assert "no node is called '9' in graph 'g'" in error_of(graph, "ppr", sources="1,9,2")
    assert "give either 'source', the id of one node, or 'sources'" in error_of(graph, "ppr")
    assert "give either" in error_of(graph, "ppr", source="1", sources="2")
    assert "the ids of this graph are whole numbers" in error_of(graph, "ppr", sources="1,,2")

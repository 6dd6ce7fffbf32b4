"""betweenness: against Brandes' algorithm as networkx has it, and a dumb count over paths where edges are parallel."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.algorithms.betweenness import sources
from tests.shoal.algorithms.graphs import Made, column, graphs, made


def by_pairs(graph: Made, chosen: list[Any]) -> dict[Any, Fraction]:
    """For each pair, the share of its shortest paths through each node between; parallel edges are different paths."""
    out: dict[Any, list[Any]] = {node: [] for node in graph.nodes}
    for u, v, _ in graph.arcs:
        out[u].append(v)
    ways = {node: _ways(out, node) for node in graph.nodes}
    score = dict.fromkeys(graph.nodes, Fraction(0))
    for s in chosen:
        for t, (far, count) in ways[s].items():
            for v in graph.nodes:
                if s != v != t and s != t and v in ways[s] and t in ways[v] and ways[s][v][0] + ways[v][t][0] == far:
                    score[v] += Fraction(ways[s][v][1] * ways[v][t][1], count)
    return score


def _ways(out: dict[Any, list[Any]], source: Any) -> dict[Any, tuple[int, int]]:
    found, front, depth = {source: (0, 1)}, {source: 1}, 0
    while front:
        depth += 1
        following: dict[Any, int] = {}
        for u, count in front.items():
            for v in out[u]:
                if v not in found:
                    following[v] = following.get(v, 0) + count
        found.update({v: (depth, count) for v, count in following.items()})
        front = following
    return found


@given(graphs())
@settings(deadline=None, max_examples=25)
def test_scores_are_shares_of_paths(graph: Made) -> None:
    found = column(graph, "betweenness", normalized=False)
    half = 2 if graph.undirected else 1
    for node, score in by_pairs(graph, graph.nodes).items():
        assert found[node] == pytest.approx(float(score / half), abs=1e-9)


@pytest.mark.parametrize("undirected", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_scores_are_those_of_networkx(undirected: bool, normalized: bool) -> None:
    random: Any = nx.gnm_random_graph(40, 90, seed=5, directed=not undirected)
    graph = made(list(random.edges), list(random.nodes), undirected)
    found = column(graph, "betweenness", normalized=normalized)
    theirs = nx.betweenness_centrality(random, normalized=normalized)
    assert all(found[node] == pytest.approx(theirs[node], abs=1e-12) for node in theirs)


@given(graphs(nodes_min=3), st.integers(1, 3), st.integers(0, 5))
@settings(deadline=None, max_examples=15)
def test_a_sample_is_scaled_up(graph: Made, samples: int, seed: int) -> None:
    ids = graph.data.ids.tolist() if hasattr(graph.data.ids, "tolist") else graph.data.ids.to_pylist()
    n = len(ids)
    chosen = [ids[i] for i in sources(n, samples, seed)]
    assert len(chosen) == min(samples, n)
    found = column(graph, "betweenness", samples=samples, seed=seed)
    scale = n / len(chosen) / ((n - 1) * (n - 2))
    for node, score in by_pairs(graph, chosen).items():
        assert found[node] == pytest.approx(float(score) * scale, abs=1e-9)


def test_a_line_takes_twice_its_length_in_ticks() -> None:
    line = made([(i, i + 1) for i in range(20)], undirected=True)
    with shoal.local(2) as session:
        run = session.load("g", data=line.data).run("betweenness", normalized=False)
        assert run.result("betweenness").to_dict() == {i: i * (20 - i) for i in range(21)}
        assert run.tick <= 21 * 42

"""lcc and triangles: against sets of Python, and networkx for triangles."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings

import shoal
from tests.shoal.algorithms.graphs import Made, column, graphs, made


def coefficients(graph: Made) -> dict[Any, float]:
    """Specification 2.3.5, pair by pair."""
    arcs = {(u, v) for u, v, _ in graph.arcs if u != v}
    around = {node: set(neighbours) for node, neighbours in graph.simple().adjacency()}
    found = {}
    for node, near in around.items():
        between = sum((a, b) in arcs for a in near for b in near)
        found[node] = between / (len(near) * (len(near) - 1)) if len(near) > 1 else 0.0
    return found


@given(graphs())
@settings(deadline=None, max_examples=30)
def test_coefficients_are_shares_of_pairs(graph: Made) -> None:
    assert column(graph, "lcc") == coefficients(graph)


@given(graphs())
@settings(deadline=None, max_examples=30)
def test_triangles_are_those_of_networkx(graph: Made) -> None:
    assert column(graph, "triangles") == nx.triangles(graph.simple())


@pytest.mark.parametrize("shards", [1, 3])
def test_the_number_of_triangles_is_a_figure_of_the_run(shards: int) -> None:
    clique = made(list(combinations(range(9), 2)) * 2)
    with shoal.local(shards) as session:
        run = session.load("g", data=clique.data).run("triangles")
        assert run.show()["figures"]["triangles"] == 84
        assert (run.tick, set(run.result("triangles").values.tolist())) == (3, {28})


def test_less_than_two_neighbours_give_nothing() -> None:
    """Specification 2.3.5: "If the number of neighbors of a vertex is less than two, its coefficient is ... zero"."""
    graph = made([(1, 2), (1, 2), (2, 1), (1, 1), (3, 3)], [1, 2, 3, 4])
    assert column(graph, "lcc") == {1: 0, 2: 0, 3: 0, 4: 0}


def test_neighbours_count_once_and_arcs_between_them_by_direction() -> None:
    """Specification, appendix of examples: "each neighbor is only counted once", and between them directions count."""
    assert column(made([(1, 2), (2, 1), (1, 3), (2, 3)]), "lcc") == {1: 0.5, 2: 0.5, 3: 1.0}
    assert column(made([(1, 2), (2, 1), (1, 3), (2, 3)], undirected=True), "lcc") == {1: 1.0, 2: 1.0, 3: 1.0}


def test_parallel_edges_and_loops_change_nothing() -> None:
    once = [(1, 2), (1, 3), (2, 3), (3, 4)]
    more = [*once, (1, 2), (1, 2), (3, 3), (2, 3)]
    for undirected in (False, True):
        few, many = made(once, undirected=undirected), made(more, undirected=undirected)
        assert column(few, "lcc") == column(many, "lcc")
        assert column(few, "triangles") == column(many, "triangles")

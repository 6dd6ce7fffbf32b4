"""kcore: against networkx, and the rule that makes a core number what it is."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings

import shoal
from tests.shoal.algorithms.graphs import Made, column, graphs, made


@given(graphs())
@settings(deadline=None, max_examples=40)
def test_core_numbers_are_those_of_networkx(graph: Made) -> None:
    assert column(graph, "kcore") == nx.core_number(graph.simple())


def test_a_number_is_the_greatest_k_such_that_k_neighbours_have_as_much() -> None:
    """Montresor, De Pellegrini and Miorandi 2013, theorem 1 (locality)."""
    graph = made([(i, (i * i + 3) % 60) for i in range(60)] + [(i, (7 * i + 1) % 60) for i in range(60)])
    core = column(graph, "kcore")
    for node, near in graph.simple().adjacency():
        around = sorted((core[other] for other in near), reverse=True)
        assert core[node] == sum(k <= value for k, value in enumerate(around, start=1))


@pytest.mark.parametrize(("shards", "ticks"), [(1, 2), (3, 40)])
def test_the_greatest_is_a_figure_of_the_run(shards: int, ticks: int) -> None:
    clique = [(i, j) for i in range(7) for j in range(i)]
    tail = [(i, i + 1) for i in range(6, 60)]
    with shoal.local(shards) as session:
        run = session.load("g", data=made(clique + tail).data).run("kcore")
        assert run.show()["figures"]["core"] == 6
        assert run.tick <= ticks
        assert run.result("core").to_dict() == {i: 6 if i < 7 else 1 for i in range(61)}

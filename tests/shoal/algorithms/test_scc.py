"""scc: against networkx, and where one round does not do."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings

import shoal
from shoal.algorithms import sides
from tests.shoal.algorithms.graphs import Made, column, graphs, made


def components(graph: Made) -> dict[Any, int]:
    """The least ordinal of each node's component."""
    ids = graph.data.ids.tolist() if hasattr(graph.data.ids, "tolist") else graph.data.ids.to_pylist()
    ordinal = {node: i for i, node in enumerate(ids)}
    found = {}
    directed = nx.MultiDiGraph()
    directed.add_nodes_from(graph.nodes)
    directed.add_edges_from((u, v) for u, v, _ in graph.arcs)
    for together in nx.strongly_connected_components(directed):
        found.update(dict.fromkeys(together, min(ordinal[node] for node in together)))
    return found


@pytest.mark.parametrize("dense", [sides.DENSE, 0, 10**6])
@given(graph=graphs())
@settings(deadline=None, max_examples=25)
def test_components_are_those_of_networkx(dense: int, graph: Made) -> None:
    """Whether a step goes along some edges, or all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sides, "DENSE", dense)
        assert column(graph, "scc") == components(graph)


def test_without_cycles_everybody_is_alone_and_nobody_needs_a_colour() -> None:
    graph = made([(i, j) for i in range(30) for j in range(i + 1, 30, 3)])
    with shoal.local(3) as session:
        run = session.load("g", data=graph.data).run("scc")
        assert run.result("component").to_dict() == {i: i for i in range(30)}
        assert run.show()["figures"]["rounds"] == 0


@pytest.mark.parametrize("turn", [1, -1])
def test_a_long_chain_of_components_takes_few_rounds(turn: int) -> None:
    """Sixty pairs in a row, each of which leads to the next, whichever way their numbers run."""
    pairs = [(i, i + 1) for i in range(0, 120, 2)]
    chain = [(i + 1, i + 2) for i in range(0, 118, 2)][::turn]
    edges = [*pairs, *((v, u) for u, v in pairs), *((u, v) if turn > 0 else (v, u) for u, v in chain)]
    graph = made(edges)
    assert column(graph, "scc") == {i: i - i % 2 for i in range(120)}
    with shoal.local(2) as session:
        assert session.load("g", data=graph.data).run("scc").show()["figures"]["rounds"] < 20


def test_one_ring_through_all_shards() -> None:
    ring = made([(i, (i + 7) % 120) for i in range(120)])
    assert set(column(ring, "scc").values()) == {0}

"""cdlp and label-propagation: the rules of the specification by name, and a twin that counts with a Counter."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.program.randomness import bits
from tests.shoal.algorithms.graphs import Made, column, graphs, made


def votes(graph: Made, label: dict[Any, int]) -> dict[Any, int]:
    """What each node would choose."""
    heard: dict[Any, Counter[int]] = {node: Counter() for node in graph.nodes}
    for u, v, _ in graph.edges:
        heard[v][label[u]] += 1
        if u != v or not graph.undirected:
            heard[u][label[v]] += 1
    return {node: _winner(counts, label[node]) for node, counts in heard.items()}


def _winner(counts: Counter[int], own: int) -> int:
    return min(counts, key=lambda label: (-counts[label], label)) if counts else own


def first(graph: Made) -> dict[Any, int]:
    ids = graph.data.ids
    if isinstance(ids, np.ndarray):
        return {node: node for node in ids.tolist()}
    return {node: ordinal for ordinal, node in enumerate(ids.to_pylist())}


def cdlp(graph: Made, ticks: int) -> dict[Any, int]:
    label = first(graph)
    for _ in range(ticks):
        label = votes(graph, label)
    return label


@given(graphs(), st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_labels_are_what_most_neighbours_have(graph: Made, ticks: int) -> None:
    assert column(graph, "cdlp", ticks) == cdlp(graph, ticks)


def test_of_several_most_frequent_labels_the_least_wins() -> None:
    """Specification 2.3.4: "In case there are multiple labels with the maximum frequency, the smallest is chosen"."""
    assert column(made([(5, 1), (5, 9), (5, 7)]), "cdlp", 1)[5] == 1
    assert column(made([(5, -3), (5, 9), (5, 7)]), "cdlp", 1)[5] == -3


def test_a_neighbour_both_ways_counts_twice_in_a_directed_graph() -> None:
    """Specification 2.3.4: of a neighbour "reachable via both an incoming and outgoing edge" the label counts twice."""
    edges = [(5, 1), (5, 9), (9, 5)]
    assert column(made(edges), "cdlp", 1)[5] == 9


def test_a_node_without_neighbours_keeps_its_label() -> None:
    """Specification 2.3.4: "In case a vertex has no neighbors, it retains its current label"."""
    assert column(made([(1, 2)], [1, 2, 30]), "cdlp", 4)[30] == 30
    assert column(made([(1, 2)], [1, 2, 30]), "label-propagation")[30] == 30


def test_ids_that_are_strings_stand_for_their_ordinals() -> None:
    graph = made([("b", "z"), ("b", "a")], ["a", "b", "z"])
    assert column(graph, "cdlp", 1) == {"a": 1, "b": 0, "z": 1}


def test_all_ticks_are_run_ten_if_nobody_says() -> None:
    swap = made([(1, 2)], undirected=True)  # two nodes that swap labels for ever
    with shoal.local() as session:
        graph = session.load("g", data=swap.data)
        assert graph.run("cdlp").tick == 10
        assert graph.run("cdlp", ticks=3).result("label").to_dict() == {1: 2, 2: 1}


# -- to convergence ----------------------------------------------------------------------------------------------------


def settled(graph: Made, seed: int) -> dict[Any, int]:
    """The same rule for half of the nodes at a time; which half follows from the ordinals."""
    label, tick = first(graph), 0
    ordinals = {node: i for i, node in enumerate(first(graph))}
    while (wanted := votes(graph, label)) != label:
        tick += 1
        free = bits(seed, tick, np.arange(len(label))) >> np.uint64(63) == 1
        label = {node: wanted[node] if free[ordinals[node]] else label[node] for node in label}
    return label


@given(graphs(), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_propagation_ends_where_every_node_has_what_most_neighbours_have(graph: Made, seed: int) -> None:
    label = column(graph, "label-propagation", seed=seed)
    assert label == settled(graph, seed)
    assert votes(graph, label) == label


@pytest.mark.parametrize("side", [1, 2, 3, 6])
def test_two_sides_do_not_swap_their_labels_for_ever(side: int) -> None:
    """A complete bipartite graph, on which everybody at once never comes to an end."""
    both = made([(u, side + v) for u in range(side) for v in range(side)], undirected=True)
    assert len(set(column(both, "label-propagation").values())) == 1
    assert len(set(cdlp(both, 11).values())) == 2
    assert column(both, "cdlp", 11) == cdlp(both, 11)


def test_two_cliques_with_a_bridge_are_two_communities() -> None:
    def clique(at: int) -> list[tuple[int, int]]:
        return [(at + i, at + j) for i in range(6) for j in range(i)]

    label = column(made([*clique(0), *clique(10), (5, 10)], undirected=True), "label-propagation")
    assert {label[node] for node in range(6)}.isdisjoint({label[node] for node in range(10, 16)})

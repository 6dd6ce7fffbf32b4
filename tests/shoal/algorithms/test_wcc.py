"""wcc: against networkx, over long ways and many crossings; and how few ticks that takes."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from bench.grid import grid
from shoal.algorithms.wcc import least_of_each
from tests.shoal.algorithms.graphs import Made, column, graphs, made


def components(graph: Made) -> dict[Any, int]:
    ids = graph.data.ids.tolist() if hasattr(graph.data.ids, "tolist") else graph.data.ids.to_pylist()
    ordinal = {node: i for i, node in enumerate(ids)}
    found = {}
    for together in nx.connected_components(graph.simple()):
        found.update(dict.fromkeys(together, min(ordinal[node] for node in together)))
    return found


@given(graphs())
@settings(deadline=None, max_examples=40)
def test_components_are_those_of_networkx(graph: Made) -> None:
    assert column(graph, "wcc") == components(graph)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_long_path_takes_few_ticks(shuffled: bool) -> None:
    """From end to end it crosses shards thousands of times; labels passed on would take as many ticks."""
    size = 5000
    order = np.random.default_rng(7).permutation(size) if shuffled else np.arange(size)
    data = shoal.from_arrays(order[:-1], order[1:])
    for shards in (2, 5, 8):
        with shoal.local(shards) as session:
            run = session.load("g", data=data).run("wcc")
            assert (run.result("component").values == 0).all()
            assert run.tick <= 30


def test_a_grid_with_holes_takes_few_ticks() -> None:
    source, target, _ = grid(100)
    data = shoal.from_arrays(source, target)
    digests = set()
    for shards in (1, 3, 6):
        with shoal.local(shards) as session:
            run = session.load("g", data=data).run("wcc")
            assert run.tick <= 20
            digests.add(run.result("component").digest)
    assert len(digests) == 1


def test_whole_components_of_one_shard_are_nobody_elses_business() -> None:
    """All in one partition: nothing crosses."""
    graph = made([(i, i + 1) for i in range(0, 60, 2)], partition_count=1)
    with shoal.local(3) as session:
        run = session.load("g", data=graph.data).run("wcc")
        assert (run.tick, run.show()["totals"]["cross_bytes"]) == (1, 16)  # the aggregate alone


@given(graphs(), st.sampled_from([0, 1000]))
@settings(deadline=None, max_examples=20)
def test_pairs_make_sets(graph: Made, more: int) -> None:
    """By a table, or where they are few among many by a sort."""
    ordinals = graph.data.source.astype(np.int64), graph.data.target.astype(np.int64)
    known, least = least_of_each(*ordinals, graph.data.node_count + more)
    joined: Any = nx.Graph(list(zip(*(ends.tolist() for ends in ordinals), strict=True)))
    expected = {node: min(together) for together in nx.connected_components(joined) for node in together}
    assert dict(zip(known.tolist(), least.tolist(), strict=True)) == expected

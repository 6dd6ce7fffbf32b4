"""Runs that go on elsewhere, of programs whose state in between depends on the cut: the end does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal import Program
from shoal.program.installed import find_program
from tests.shoal.algorithms.graphs import Made, graphs
from tests.shoal.engine.test_restore import SHARDS, Group

PROGRAMS = ("bfs", "sssp", "wcc", "lcc", "triangles", "kcore", "scc", "betweenness")
TICKS_MAX = 2000


def finish(group: Group, tick: int, halted: bool) -> None:
    while not halted:
        tick += 1
        assert tick < TICKS_MAX
        halted = group.tick(tick)


def values(group: Group, program: type[Program], graph: Made) -> dict[str, bytes]:
    return {
        column.name: np.array(group.result(column.name, graph.data.node_count), column.dtype).tobytes()
        for column in program.columns
        if not column.hidden
    }


@pytest.mark.parametrize("name", PROGRAMS)
@given(graph=graphs(nodes_min=1), data=st.data())
@settings(deadline=None, max_examples=20)
def test_the_end_is_the_same_wherever_a_run_goes_on(name: str, graph: Made, data: st.DataObject) -> None:
    """Any number of times, after any number of ticks, on any placement."""
    program = find_program(name)
    params: dict[str, Any] = {"source": str(graph.nodes[0])} if hasattr(program, "relax") else {}
    holders = st.lists(
        st.integers(0, len(SHARDS) - 1), min_size=graph.data.partition_count, max_size=graph.data.partition_count
    )
    whole = Group(graph.data, program, [0] * graph.data.partition_count, **params)
    finish(whole, 0, whole.begin())

    group, tick = Group(graph.data, program, data.draw(holders), **params), 0
    halted = group.begin()
    for more in data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)):
        for _ in range(more):
            if not halted:
                tick += 1
                halted = group.tick(tick)
        kept, before = group.captured, halted
        assert group.capture() == kept
        group = Group(graph.data, program, data.draw(holders), **params)
        group.restore(tick, kept)
        halted = group.begin(tick)
        assert halted == before
    finish(group, tick, halted)
    assert values(group, program, graph) == values(whole, program, graph)

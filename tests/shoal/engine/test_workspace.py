"""The workspace: two states of each column side by side, and reductions that a dumb loop repeats."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal import Aggregate, Column, Direction, Merge, Program, Workspace
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.kernels.reductions import Kernel


class Two(Program):
    """Two columns, two aggregates."""

    name = "two"
    columns = (Column("f", np.float64, ghosts=Direction.BOTH), Column("i", np.int64))
    aggregates = (Aggregate("sum", Merge.SUM), Aggregate("least", Merge.MIN, np.int64))


def part() -> ShardGraph:
    data = shoal.from_arrays([1, 1, 2, 3, 3], [2, 2, 3, 3, 1], nodes=[1, 2, 3, 4], partition_count=4)
    return part_of("g", data, Placement(("x",), np.zeros(4, dtype=np.int16)), 0)


@pytest.fixture
def ws() -> Workspace:
    return Workspace(part(), Two())


def test_what_is_set_is_not_seen_before_the_commit(ws: Workspace) -> None:
    ws.set("f", np.arange(4.0))
    assert ws.column("f").tolist() == [0.0] * 4
    assert ws.pending("f").tolist() == [0.0, 1.0, 2.0, 3.0]
    assert ws.pending("i").tolist() == [0] * 4
    assert ws.written == {"f"}


def test_the_committed_state_cannot_be_written(ws: Workspace) -> None:
    for values in (ws.column("f"), ws.with_ghosts("f"), ws.pending("i")):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0
    ws.fresh("f")[:] = 2.0  # but the working one can
    assert ws.pending("f").tolist() == [2.0] * 4


@pytest.mark.parametrize(("name", "values"), [("i", 0.5), ("i", np.ones(4)), ("f", 1j), ("f", None), ("f", "one")])
def test_what_has_no_room_in_a_column_is_refused(ws: Workspace, name: str, values: object) -> None:
    with pytest.raises(TypeError, match=f"column '{name}' is .*convert the values first"):
        ws.set(name, values)  # type: ignore[arg-type]
    ws.set("f", np.arange(4))
    ws.set("i", np.arange(4, dtype=np.int8) > 1)
    assert (ws.pending("f").tolist(), ws.pending("i").tolist()) == ([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1])


def test_contributions_are_merged_by_partition(ws: Workspace) -> None:
    ws.contribute("sum", np.ones(4))
    assert ws.partials["sum"].tolist() == np.diff(ws.part.starts).astype(float).tolist()
    some = np.array([1, 3])
    ws.contribute("least", np.array([5, -5]), nodes=some)
    expected = [np.iinfo(np.int64).max] * 4
    for node, value in ((1, 5), (3, -5)):
        expected[int(np.searchsorted(ws.part.starts, node, side="right")) - 1] = value
    assert ws.partials["least"].tolist() == expected


def test_contributions_are_as_many_as_nodes(ws: Workspace) -> None:
    """One too many, or too few, is no answer that happens to do on a shard whose last partition is empty."""
    for values, nodes in ((np.ones(3), None), (np.ones(5), None), (np.float64(1.0), None), (np.ones(4), np.array([1]))):
        with pytest.raises(ValueError, match=r"aggregate 'sum': values of shape \(.*\), but one for each of [14]"):
            ws.contribute("sum", values, nodes)


def test_weights_are_put_in_order_once_a_direction_and_type() -> None:
    data = shoal.from_arrays([1, 1, 2, 3], [2, 3, 3, 1], edge_columns={"km": [4, 3, 2, 1]}, partition_count=4)
    ws = Workspace(part_of("g", data, Placement(("x",), np.zeros(4, dtype=np.int16)), 0), Two())
    inwards = ws.gather("f", weight="km")
    (kept,) = ws.edge_values.values()
    ws.gather("f", Merge.MIN, weight="km")
    (again,) = ws.edge_values.values()
    assert again is kept
    assert kept.dtype == np.float64
    assert not kept.flags.writeable
    assert inwards.dtype == np.float64
    ws.gather("f", Merge.MAX, Direction.BOTH, weight="km")
    ws.gather("f", Merge.COUNT, weight="km")  # whole numbers
    assert {(column, way) for column, way, _ in ws.edge_values} == {("km", Direction.IN), ("km", Direction.OUT)}
    assert [values.dtype for values in ws.edge_values.values()] == [np.float64, np.float64, np.int64]


def test_what_belongs_to_partitions_is_one_value_each(ws: Workspace) -> None:
    ws.contribute_by_partition("least", [4, 3, 2, 1])
    assert ws.partials["least"].tolist() == [4, 3, 2, 1]
    for wrong in ([1, 2, 3], np.zeros((4, 1), np.int64)):
        with pytest.raises(ValueError, match=r"aggregate 'least': \d values for 4 partitions"):
            ws.contribute_by_partition("least", wrong)


@given(
    rows=st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=8),
    values=st.lists(st.floats(-1e6, 1e6), min_size=7, max_size=7),
    threads=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_reductions_are_a_loop_from_left_to_right(rows: list[list[int]], values: list[float], threads: int) -> None:
    """Whatever the number of threads: rows are shared out, never split."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    neighbours = np.array([n for row in rows for n in row], dtype=np.int32)
    kernel = Kernel(indptr, neighbours, 7)
    expected = []
    for row in rows:
        total = 0.0
        for neighbour in row:
            total += values[neighbour]
        expected.append(total)
    with ThreadPoolExecutor(threads) as pool:
        assert kernel.sum(np.array(values), pool, threads).tolist() == expected
    assert kernel.sum(np.array(values)).tolist() == expected
    least = kernel.reduce(np.minimum, np.array(values), np.inf)
    assert least.tolist() == [min((values[n] for n in row), default=np.inf) for row in rows]
    whole = kernel.sum(np.arange(7))
    assert whole.dtype == np.int64
    assert whole.tolist() == [sum(row) for row in rows]


@pytest.mark.parametrize(("kind", "least", "most"), [(np.float64, -np.inf, np.inf), (np.int64, -(2**63), 2**63 - 1)])
def test_identities_change_nothing(kind: type, least: float, most: float) -> None:
    dtype = np.dtype(kind)
    assert (Merge.SUM.identity(dtype), Merge.MIN.identity(dtype), Merge.MAX.identity(dtype)) == (0, most, least)

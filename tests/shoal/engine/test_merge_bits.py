"""Whatever floats meet, what is made of them has the same bits on any number of shards, and those of a dumb twin."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal import (
    Aggregate,
    Attribute,
    Channel,
    Column,
    Combine,
    Direction,
    GraphData,
    Merge,
    Node,
    NodeProgram,
    Phase,
    Program,
    Table,
    Workspace,
)
from shoal.engine.engine import Engine
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement
from tests.signed import FLOATS, bits, extreme

SHARDS = (1, 2, 4, 8)
EXTREMES = (Merge.MIN, Merge.MAX)
FEW = 5


@st.composite
def graphs(draw: st.DrawFn) -> GraphData:
    """Small multigraphs whose nodes and edges have floats that are equal, or nearly so, and have other bits."""
    size = draw(st.integers(1, 12))
    among = st.sampled_from(draw(st.lists(st.sampled_from(FLOATS), min_size=1, max_size=4)))
    edges = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=40))
    return graph(size, edges, *(draw(st.lists(among, min_size=n, max_size=n)) for n in (size, size, len(edges))))


def graph(size: int, edges: Sequence[tuple[int, int]], x: list[float], y: list[float], km: list[float]) -> GraphData:
    return shoal.from_arrays(
        [source for source, _ in edges],
        [target for _, target in edges],
        nodes=list(range(size)),
        node_columns={"x": np.array(x), "y": np.array(y)},
        edge_columns={"km": np.array(km, np.float64)},
        partition_count=16,
    )


def crowded() -> GraphData:
    """As many zeros and NaNs as the loops of wide vectors want, and nodes that hundreds of others point at."""
    rng = np.random.default_rng(4711)
    source, target = rng.integers(0, 300, 8000), rng.integers(0, 300, 8000) // 40
    x, y = rng.choice([0.0, -0.0], 300), rng.choice(np.array(FLOATS), 300)
    km = rng.choice([0.0, -0.0], 8000)
    return graph(300, list(zip(source.tolist(), target.tolist(), strict=True)), x.tolist(), y.tolist(), km.tolist())


def gathers() -> dict[str, Callable[[Workspace], Any]]:
    """What is read of neighbours, by the name of the column that has its bits."""
    ways: dict[str, Callable[[Workspace], Any]] = {"mode": lambda ws: ws.gather("x", Merge.MODE, Direction.BOTH)}
    for merge in EXTREMES:
        for side in Direction:
            ways[f"{merge}_{side}"] = lambda ws, merge=merge, side=side: ws.gather("x", merge, side)
            ways[f"{merge}_{side}_km"] = lambda ws, m=merge, side=side: ws.gather("x", m, side, weight="km")
    for ufunc in (np.fmin, np.fmax):
        ways[ufunc.__name__] = lambda ws, ufunc=ufunc: ws.gather("x", ufunc, identity=7.0)
    return ways


class Meeting(Program):
    """Has every node's `x` merged in every way; int64 columns have the bits, which a program may look at."""

    name = "meeting"
    columns = (
        Column("x", np.float64, ghosts=Direction.BOTH),
        Column("sum", np.float64),
        Column("heard", np.float64),
        *(Column(name, np.int64) for name in gathers()),
        *(Column(f"{way}{merge}", np.int64) for way in ("", "few_", "all_", "given_") for merge in EXTREMES),
    )
    aggregates = tuple(Aggregate(f"{way}{merge}", merge) for way in ("", "given_") for merge in EXTREMES)
    channels = (
        *(
            Channel(f"{way}{merge}", np.float64, combine=merge, sent_in=Phase.ADVANCE)
            for way in ("", "few_")
            for merge in EXTREMES
        ),
        Channel("heard", np.float64, combine=Merge.SUM, sent_in=Phase.ADVANCE),
    )
    tables = (Table("sums", (("sum", "float64"),)),)
    ticks_default = 1

    def start(self, ws: Workspace) -> None:
        x = ws.part.node_columns["x"]
        for column in self.columns:
            ws.set(column.name, x if column.name == "x" else 0)
        for merge in EXTREMES:
            ws.contribute(merge, x)
            ws.contribute_by_partition(f"given_{merge}", [-0.0] * len(ws.part.partitions))
            few = np.flatnonzero(ws.part.ordinals < FEW)
            ws.post_to(f"few_{merge}", few, np.zeros(len(few)), x[few])
            ws.scatter(merge, x)
        ws.scatter("heard", x)

    def advance(self, ws: Workspace) -> None:
        with np.errstate(all="ignore"):
            y = ws.part.node_columns["y"]
            ws.set("sum", -y + y)  # two NaNs of which either may go on
            for name, way in gathers().items():
                ws.set(name, np.asarray(way(ws), np.float64).view(np.int64))
        for merge in EXTREMES:
            for channel in (merge, f"few_{merge}"):
                self._take(ws, channel, *ws.arrived(channel))
            for aggregate, column in ((merge, f"all_{merge}"), (f"given_{merge}", f"given_{merge}")):
                ws.set(column, int(np.float64(ws.total(aggregate)).view(np.int64)))
        nodes, values = ws.arrived("heard")
        ws.set("heard", 0.0)
        ws.fresh("heard")[nodes] = values

    def _take(self, ws: Workspace, column: str, nodes: Any, values: Any) -> None:
        ws.set(column, 0)
        ws.fresh(column)[nodes] = values.view(np.int64)

    def rows(self, ws: Workspace, table: str, partition: int) -> dict[str, Any]:
        at = ws.part.partitions.index(partition)
        return {"sum": ws.pending("sum")[ws.part.starts[at] : ws.part.starts[at + 1]]}


class _Hearing(NodeProgram):
    """Each node sends floats along its edges and to a few nodes, and keeps the bits of the one message that it gets."""

    got = Attribute(0)
    ticks_default = 1

    def on_start(self, node: Node) -> None:
        node.send(node["x"], via="*")
        node.send(node["y"], to=[0, node.id // 2])
        for edge in node.out_edges[:1]:
            edge.send(node["y"])

    def on_message(self, node: Node, msg: float) -> None:
        (node.got,) = struct.unpack("<q", struct.pack("<d", msg))


class LeastHeard(_Hearing):
    """The least."""

    name = "least-heard"
    combine = Combine(Merge.MIN, float)


class GreatestHeard(_Hearing):
    """The greatest."""

    name = "greatest-heard"
    combine = Combine(Merge.MAX, float)


HEARING = {LeastHeard: np.minimum, GreatestHeard: np.maximum}


def results(data: GraphData, program: type[Program]) -> dict[str, Any]:
    """All columns, the same on any number of shards, and so are the digests of tables."""
    found, told = {}, set()
    for shards in SHARDS:
        with shoal.local(shards) as session:
            run = session.load("g", data=data).run(program)
            found = {column.name: run.result(column.name).values for column in program.columns}
            tables = [run.table_rows(table.name).digest for table in program.tables]
            told.add((*(values.tobytes() for values in found.values()), *tables))
    assert len(told) == 1, [name for name, *values in zip(found, *told, strict=False) if len(set(values)) > 1]
    return found


def merged(ufunc: np.ufunc, values: Sequence[Any], nothing: float) -> int:
    """The bits of many values as one."""
    return bits(extreme(ufunc, np.array(values)) if values else np.float64(nothing))[0]


def check_meeting(data: GraphData) -> None:
    found = results(data, Meeting)
    edges = list(zip(data.source.tolist(), data.target.tolist(), data.edge_columns["km"].tolist(), strict=True))
    nodes, x = range(data.node_count), data.node_columns["x"]
    for merge in EXTREMES:
        ufunc, nothing = merge.ufunc, float(merge.identity(np.dtype(np.float64)))
        known = {
            side: [[(x[u if t == v else t], w) for u, t, w in edges if v == (t if side == "in" else u)] for v in nodes]
            for side in ("in", "out")
        }
        with np.errstate(all="ignore"):
            for side in ("in", "out", "both"):
                sides = [side] if side != "both" else ["in", "out"]
                near = [[each for one in sides for each in known[one][v]] for v in nodes]
                plain = [merged(ufunc, [value for value, _ in around], nothing) for around in near]
                added = [merged(ufunc, [value + w for value, w in around], nothing) for around in near]
                assert bits(found[f"{merge}_{side}"]) == plain, (merge, side)
                assert bits(found[f"{merge}_{side}_km"]) == added, (merge, side)
        came = [[value for value, _ in around] for around in known["in"]]
        assert bits(found[merge]) == [merged(ufunc, around, 0.0) for around in came]
        assert bits(found[f"few_{merge}"])[0] == merged(ufunc, x[:FEW].tolist(), nothing)
        assert set(bits(found[f"all_{merge}"])) == {merged(ufunc, x.tolist(), nothing)}
        assert not found[f"given_{merge}"].any(), "0.0 has no bits"
    for ufunc in (np.fmin, np.fmax):
        assert bits(found[ufunc.__name__]) == [merged(ufunc, around, 7.0) for around in came]


def test_a_state_keeps_the_bits_and_results_have_one_nan() -> None:
    """A run that goes on elsewhere finds what it left, or the resumption check would see a difference."""
    data = graph(2, [], [math.copysign(math.nan, -1), 1.0], [0.0, 0.0], [])
    part = part_of("g", data, Placement(("only",), np.zeros(data.partition_count, np.int16)), 0)
    engine, resumed = Engine(part, Meeting()), Engine(part, Meeting())
    engine.run(0, Phase.ADVANCE)
    resumed.restore(0, engine.capture())
    engine.settle(Phase.ADVANCE, {})
    assert bits(resumed.ws.pending("x")) == bits(engine.ws.column("x")) == bits(part.node_columns["x"])
    node = int(np.flatnonzero(np.isnan(part.node_columns["x"]))[0])
    assert bits(engine.result("x"))[node] == bits(resumed.result("x"))[node] == bits(np.float64(math.nan))[0]


@given(data=graphs())
@settings(deadline=None, max_examples=25)
def test_columns_aggregates_and_channels(data: GraphData) -> None:
    check_meeting(data)


def test_many_that_are_equal() -> None:
    check_meeting(crowded())


def check_hearing(data: GraphData, program: type[NodeProgram]) -> None:
    found = results(data, program)
    x, y = (data.node_columns[name].tolist() for name in ("x", "y"))
    heard: list[list[float]] = [[] for _ in range(data.node_count)]
    first: dict[int, int] = {}
    for source, target in zip(data.source.tolist(), data.target.tolist(), strict=True):
        heard[target].append(x[source])
        first.setdefault(source, target)
    for node in range(data.node_count):
        for to in (0, node // 2):
            heard[to].append(y[node])
    for source, target in first.items():
        heard[target].append(y[source])
    assert bits(found["got"]) == [merged(HEARING[program], values, 0.0) for values in heard]


@pytest.mark.parametrize("program", HEARING)
@given(data=graphs())
@settings(deadline=None, max_examples=15)
def test_messages(program: type[NodeProgram], data: GraphData) -> None:
    check_hearing(data, program)


@pytest.mark.parametrize("program", HEARING)
def test_many_messages_that_are_equal(program: type[NodeProgram]) -> None:
    check_hearing(crowded(), program)

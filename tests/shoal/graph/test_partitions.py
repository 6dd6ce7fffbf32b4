"""Slices: cut, sent, joined and built they give the very part, and what is not a slice raises `BadGraph`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shoal
from shoal import BadGraph, GraphData
from shoal.graph import columns as col
from shoal.graph.partitions import Cut, Edges, PartitionSet, build, joined, part_of
from shoal.graph.shard_graph import Adjacency, Placement, ShardGraph

SHARDS = ("x", "y", "z")
PLACEMENT = Placement(SHARDS, np.arange(8, dtype=np.int16) % 3)


def graph(kind: type = int) -> GraphData:
    nodes = [kind(n) for n in range(20)]
    source, target = nodes[:19] + nodes[:5], nodes[1:] + nodes[7:12]
    return shoal.from_arrays(
        source,
        target,
        nodes=nodes,
        partition_count=8,
        node_columns={"name": [f"n{n}" for n in nodes], "flag": [n in nodes[:3] for n in nodes]},
        edge_columns={"weight": np.arange(24) / 2, "type": ["a", "b"] * 12},
    )


@st.composite
def multigraphs(draw: st.DrawFn, partition_counts: Sequence[int] = (1, 2, 5, 8)) -> GraphData:
    """With columns of every kind, or without; perhaps without edges or nodes."""
    kind = draw(st.sampled_from([int, str]))
    nodes = [kind(n) for n in draw(st.lists(st.integers(0, 99), max_size=14, unique=True))]
    ends = st.sampled_from(nodes) if nodes else st.nothing()
    edges = draw(st.lists(st.tuples(ends, ends), max_size=40)) if nodes else []
    partitions = draw(st.sampled_from(partition_counts))
    texts = st.sampled_from(["a", "b", "", "ü", "long " * 9])
    columns: dict[str, Any] = {}
    if draw(st.booleans()):
        columns["node_columns"] = {
            "name": [draw(texts) for _ in nodes] or np.empty(0),
            "flag": np.array([draw(st.booleans()) for _ in nodes], bool),
        }
        columns["edge_columns"] = {
            "place": np.arange(len(edges)),
            "type": [draw(texts) for _ in edges] or np.empty(0),
        }
    source, target = [s for s, _ in edges], [t for _, t in edges]
    columns["undirected"] = draw(st.booleans())
    return shoal.from_arrays(source, target, nodes=nodes, partition_count=partitions, **columns)


def sent(slices: PartitionSet) -> tuple[Any, list[bytes]]:
    """As it arrives: plain values and bytes."""
    return packed(*slices.to_wire())


def packed(spec: Any, frames: Sequence[Any]) -> tuple[Any, list[bytes]]:
    together = (b"".join(frame) if isinstance(frame, list) else frame for frame in frames)
    return msgpack.unpackb(msgpack.packb(spec)), [bytes(memoryview(frame).cast("B")) for frame in together]


def arrived(slices: PartitionSet, data: GraphData) -> PartitionSet:
    return PartitionSet.from_wire(*sent(slices), data.partition)


def values(column: Any) -> list[Any]:
    return list(column.tolist())


def contents(slices: PartitionSet) -> list[Any]:
    """Everything in slices, to compare; how strings are encoded is left out."""
    counts = slices.node_count, slices.edge_count, slices.directed, slices.partition_count, slices.partitions
    bounds = [values(b) for b in (slices.node_bounds, slices.out_bounds, slices.in_bounds)]
    columns = [values(slices.ids), {name: values(c) for name, c in slices.node_columns.items()}]
    return [counts, bounds, columns, *(each(edges) for edges in (slices.out, slices.into))]


def each(edges: Edges) -> list[Any]:
    return [values(edges.source), values(edges.target), {name: values(c) for name, c in edges.columns.items()}]


def rows(part: ShardGraph, adjacency: Adjacency) -> list[Any]:
    """Each node's neighbours in order, with the edges' columns. How edges are numbered is a part's own affair."""
    columns = [values(col.take(column, adjacency.edges)) for column in part.edge_columns.values()]
    return [adjacency.indptr.tolist(), adjacency.neighbours.tolist(), columns]


def told(part: ShardGraph) -> list[Any]:
    """Everything in a part, to compare."""
    return [
        (part.graph, part.node_count, part.edge_count, part.directed, part.partition_count),
        (part.shard, part.peers, part.partitions),
        [array.tolist() for array in (part.starts, part.ordinals, part.ghost_ordinals)],
        [
            (name, b.nodes.tolist(), b.source_only_end, b.both_end)
            for side in (part.ghosts, part.sends)
            for name, b in side.items()
        ],
        rows(part, part.in_edges),
        rows(part, part.out_edges),
        (part.cross_edges, part.held_edges, part.peer_partitions),
        values(part.ids),
        {name: values(column) for name, column in part.node_columns.items()},
        list(part.edge_columns),
    ]


def dumb(data: GraphData, partitions: Sequence[int]) -> list[Any]:
    """The same as `contents`, by loops."""
    table, edges = data.partition.tolist(), list(zip(data.source.tolist(), data.target.tolist(), strict=True))
    out = [[e for e, (s, _) in enumerate(edges) if table[s] == p] for p in partitions]
    into = [[e for e, (s, t) in enumerate(edges) if table[t] == p != table[s]] for p in partitions]
    nodes = [[n for n in range(data.node_count) if table[n] == p] for p in partitions]

    def bounds(groups: list[list[int]]) -> list[int]:
        return [sum(map(len, groups[:k])) for k in range(len(groups) + 1)]

    def picked(groups: list[list[int]], columns: Any) -> dict[str, list[Any]]:
        lists = {name: values(column) for name, column in columns.items()}
        return {name: [held[row] for group in groups for row in group] for name, held in lists.items()}

    return [
        (data.node_count, data.edge_count, data.directed, data.partition_count, tuple(partitions)),
        [bounds(nodes), bounds(out), bounds(into)],
        [picked(nodes, {"id": data.ids})["id"], picked(nodes, data.node_columns)],
        *(
            [
                picked(groups, {"source": data.source})["source"],
                picked(groups, {"target": data.target})["target"],
                picked(groups, data.edge_columns),
            ]
            for groups in (out, into)
        ),
    ]


@given(multigraphs((1, 8, 300)), st.data())
@settings(deadline=None, max_examples=80)
def test_a_cut_is_its_twin_by_loops_and_survives_the_wire(data: GraphData, draw: st.DataObject) -> None:
    cut = Cut(data)
    numbers = st.integers(0, data.partition_count - 1)
    some = sorted(draw.draw(st.lists(numbers, max_size=6, unique=True)))
    for partitions in (some, some[:1], range(min(data.partition_count, 8))):
        expected = dumb(data, partitions)
        assert contents(cut.slices(partitions)) == expected
        assert contents(arrived(cut.slices(partitions), data)) == expected
        assert packed(*cut.to_wire(partitions)) == sent(cut.slices(partitions)), "the same bytes, from where they lie"
        assert contents(cut.some(partitions).select(partitions[1:])) == dumb(data, partitions[1:])


def test_what_is_sent_of_a_cut_is_not_copied() -> None:
    data = graph()
    cut = Cut(data)
    _, first = cut.to_wire([1, 3, 5])
    _, again = cut.to_wire([1, 3, 5])
    strewn = [pair for pair in zip(first, again, strict=True) if isinstance(pair[0], list)]
    assert len(strewn) == 6, "sources, targets and weights, of both lists of edges"
    for one, other in strewn:
        assert all(np.shares_memory(a, b) for a, b in zip(one, other, strict=True) if len(a))


@given(multigraphs(), st.lists(st.integers(0, 2), min_size=8, max_size=8))
@example(shoal.from_arrays([], [], partition_count=8), [0] * 8)
@example(shoal.from_arrays([], [], nodes=[1], partition_count=8), [0] * 8)
@settings(deadline=None, max_examples=80)
def test_what_is_built_from_slices_is_the_part(data: GraphData, holder: list[int]) -> None:
    """Whatever other partitions a shard's disk holds, and however they came there."""
    placement = Placement(SHARDS, np.array(holder[: data.partition_count], dtype=np.int16))
    cut = Cut(data)
    everything = arrived(cut.slices(range(data.partition_count)), data)
    for shard in range(3):
        expected = told(part_of("g", data, placement, shard))
        mine = placement.partitions(shard)
        assert told(build("g", everything, data.partition, placement, shard)) == expected
        assert told(build("g", arrived(cut.slices(mine), data), data.partition, placement, shard)) == expected
        if mine:
            one_by_one = joined([arrived(cut.slices([p]), data) for p in reversed(mine)])
            assert told(build("g", one_by_one, data.partition, placement, shard)) == expected


@given(multigraphs(), st.lists(st.integers(0, 3), min_size=8, max_size=8))
@settings(deadline=None, max_examples=60)
def test_slices_come_apart_and_together_again(data: GraphData, group: list[int]) -> None:
    cut = Cut(data)
    whole = cut.slices(range(data.partition_count))
    groups = [[p for p in range(data.partition_count) if group[p] == k] for k in range(4)]
    pieces = [whole.select(partitions) for partitions in groups]
    for partitions, piece in zip(groups, pieces, strict=True):
        assert contents(piece) == contents(cut.slices(partitions))
        assert contents(arrived(piece, data)) == contents(piece)
    assert contents(joined(pieces)) == contents(whole)


@pytest.mark.parametrize("kind", [int, str])
def test_no_partition_at_all(kind: type) -> None:
    """As a shard has it that holds none, but knows what the graph is like."""
    data = graph(kind)
    node_types, edge_types = {"name": "string", "flag": "bool"}, {"weight": "float64", "type": "string"}
    id_type = col.type_name(data.ids)
    empty = PartitionSet.empty(data.node_count, data.edge_count, data.partition_count, id_type, node_types, edge_types)
    assert contents(empty) == contents(Cut(data).slices(()))
    assert contents(joined([empty, Cut(data).slices([3])])) == contents(Cut(data).slices([3]))
    assert contents(arrived(empty, data)) == contents(empty)
    placement = Placement(SHARDS, np.zeros(8, dtype=np.int16))
    assert told(build("g", empty, data.partition, placement, 1)) == told(part_of("g", data, placement, 1))


def test_a_slice_does_not_carry_the_whole_graphs_strings() -> None:
    """A dictionary of a thousand strings is no use to a partition of a few edges."""
    nodes = np.arange(4000)
    data = shoal.from_arrays(nodes, nodes[::-1], edge_columns={"type": [f"t{n % 1000}" for n in nodes]})
    slices = Cut(data).slices([5])
    assert slices.nbytes < 60 * (len(slices.out) + len(slices.into))
    assert contents(slices) == dumb(data, [5])


def test_slices_that_are_not_there_or_do_not_go_together() -> None:
    cut, other = Cut(graph()), Cut(graph(str))
    with pytest.raises(BadGraph, match="lack the partitions 4, 6"):
        cut.slices([1, 3, 5]).select([3, 4, 6])
    with pytest.raises(BadGraph, match="lack the partitions 0, 3, 6"):
        build("g", cut.slices([1]), graph().partition, PLACEMENT, 0)
    with pytest.raises(BadGraph, match="twice"):
        joined([cut.slices([1, 2]), cut.slices([2])])
    with pytest.raises(BadGraph, match="different graphs"):
        joined([cut.slices([1]), other.slices([2])])
    source, target = (graph().ids[ends] for ends in (graph().source, graph().target))
    both_ways = shoal.from_arrays(source, target, partition_count=8, undirected=True)
    one_way = shoal.from_arrays(source, target, partition_count=8)
    with pytest.raises(BadGraph, match="different graphs"):
        joined([Cut(one_way).slices([1]), Cut(both_ways).slices([2])])


def shifted(frame: bytes, by: int) -> bytes:
    return (np.frombuffer(frame, np.int32) + by).astype(np.int32).tobytes()


def changed(spec: Any, path: Sequence[Any], value: Any) -> Any:
    spec = copy.deepcopy(spec)
    inner = spec
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return spec


def with_frame(frames: list[bytes], at: int, value: bytes) -> list[bytes]:
    return [*frames[:at], value, *frames[at + 1 :]]


# The frames: partitions, out_bounds, in_bounds, ids, name (2), flag, out: source, target, weight, type..., into: ...
IDS, SOURCE, TARGET = 3, 7, 8

WRONG: dict[str, Callable[[Any, list[bytes]], tuple[Any, list[bytes]]]] = {
    "no spec": lambda s, f: (None, f),
    "counts missing": lambda s, f: ({}, f),
    "another format": lambda s, f: (changed(s, ["format"], 1), f),
    "neither directed nor not": lambda s, f: (changed(s, ["directed"], 1), f),
    "a negative count": lambda s, f: (changed(s, ["nodes"], -1), f),
    "fewer edges than come": lambda s, f: (changed(s, ["edges"], 3), f),
    "endless nodes": lambda s, f: (changed(s, ["nodes"], 2**62), f),
    "no partitions in the graph": lambda s, f: (changed(s, ["partition_count"], 0), f),
    "too many partitions": lambda s, f: (changed(s, ["partition_count"], 2**30), f),
    "other partitions": lambda s, f: (s, with_frame(f, 0, np.array([1, 4, 7]).tobytes())),
    "a partition that there is not": lambda s, f: (s, with_frame(f, 0, np.array([0, 3, 8]).tobytes())),
    "a partition below zero": lambda s, f: (s, with_frame(f, 0, np.array([-1, 3, 6]).tobytes())),
    "partitions out of order": lambda s, f: (s, with_frame(f, 0, np.array([0, 6, 3]).tobytes())),
    "a partition too few": lambda s, f: (changed(s, ["partitions", "length"], 2), with_frame(f, 0, f[0][:16])),
    "bounds that fall": lambda s, f: (s, with_frame(f, 1, f[1][:8] + f[1][16:24] + f[1][8:16] + f[1][24:])),
    "bounds beyond the edges": lambda s, f: (s, with_frame(f, 1, f[1][:-8] + (99).to_bytes(8, "little"))),
    "edges of another partition": lambda s, f: (s, with_frame(f, 1, np.array([0, 0, 0, _last(f[1])]).tobytes())),
    "mirrors of another partition": lambda s, f: (s, with_frame(f, 2, np.array([0, 0, 0, _last(f[2])]).tobytes())),
    "no frames": lambda s, f: (s, []),
    "a frame too few": lambda s, f: (s, f[:-1]),
    "a frame too many": lambda s, f: (s, [*f, b""]),
    "a frame that is none": lambda s, f: (s, [*f[:-1], 7]),  # type: ignore[list-item]
    "ids out of order": lambda s, f: (s, with_frame(f, IDS, f[IDS][::-1])),
    "ids of another type": lambda s, f: (changed(s, ["ids", "type"], "float64"), f),
    "sources of other nodes": lambda s, f: (s, with_frame(f, SOURCE, shifted(f[SOURCE], -1))),
    "sources out of order": lambda s, f: (s, with_frame(f, SOURCE, _swapped(f[SOURCE], f[1]))),
    "a target out of range": lambda s, f: (s, with_frame(f, TARGET, shifted(f[TARGET], 20))),
    "a target below zero": lambda s, f: (s, with_frame(f, TARGET, shifted(f[TARGET], -21))),
    "a target too few": lambda s, f: (s, with_frame(f, TARGET, f[TARGET][:-4])),
    "the other width": lambda s, f: (changed(s, ["out", "source", "type"], "int64"), f),
    "mirrors that stay at home": lambda s, f: (s, _stays(f)),
    "no ids": lambda s, f: ({k: v for k, v in s.items() if k != "ids"}, f),
    "no edges": lambda s, f: ({k: v for k, v in s.items() if k != "into"}, f),
    "columns that are none": lambda s, f: (changed(s, ["node_columns"], 7), f),
    "a column without a spec": lambda s, f: (changed(s, ["out", "columns"], [["weight"]]), f),
    "a column of another length": lambda s, f: (changed(s, ["out", "columns", 0, 1, "length"], 1), f),
    "two columns of one name": lambda s, f: (changed(s, ["node_columns", 1, 0], "name"), f),
    "columns that one side lacks": lambda s, f: (changed(s, ["into", "columns", 0, 0], "width"), f),
}


def _last(frame: bytes) -> int:
    return int(np.frombuffer(frame, np.int64)[-1])


def _swapped(frame: bytes, bounds: bytes) -> bytes:
    ends = np.frombuffer(frame, np.int32).copy()
    starts = np.frombuffer(bounds, np.int64)
    longest = int(np.argmax(np.diff(starts)))
    run = slice(starts[longest], starts[longest + 1])
    ends[run] = ends[run][::-1]
    return ends.tobytes()


def _stays(frames: list[bytes]) -> list[bytes]:
    """A mirror's source is moved to its target: its own partition."""
    at = len(frames) - 2 - (len(frames) - SOURCE) // 2 + 2
    ends = np.frombuffer(frames[at], np.int32).copy()
    ends[0] = np.frombuffer(frames[at + 1], np.int32)[0]
    return with_frame(frames, at, ends.tobytes())


SPEC, FRAMES = sent(Cut(graph()).slices(PLACEMENT.partitions(0)))


def test_the_right_ones_are_taken() -> None:
    assert contents(PartitionSet.from_wire(SPEC, FRAMES, graph().partition)) == dumb(graph(), PLACEMENT.partitions(0))


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_a_slice_is_refused(wrong: str) -> None:
    with pytest.raises(BadGraph):
        PartitionSet.from_wire(*WRONG[wrong](SPEC, FRAMES), graph().partition)


@pytest.mark.parametrize(
    "table",
    [graph().partition[:-1], graph().partition.astype(np.uint16), np.full(20, 9, np.uint8), np.zeros(20, np.uint8)],
)
def test_slices_of_another_table_are_refused(table: Any) -> None:
    with pytest.raises(BadGraph):
        PartitionSet.from_wire(SPEC, FRAMES, table)


def check_sound(slices: PartitionSet, data: GraphData) -> None:
    """Whatever was let in keeps within itself, and a part can be built of it."""
    table = data.partition
    for edges, bounds, end in (
        (slices.out, slices.out_bounds, slices.out.source),
        (slices.into, slices.in_bounds, slices.into.target),
    ):
        assert len(edges.source) == len(edges.target) == bounds[-1]
        for k, partition in enumerate(slices.partitions):
            run = slice(bounds[k], bounds[k + 1])
            assert (table[end[run]] == partition).all()
            assert (np.diff(edges.source[run]) >= 0).all()
    part = build("g", slices, table, PLACEMENT, 0)
    width = part.size + part.ghost_count
    for adjacency in (part.in_edges, part.out_edges):
        assert adjacency.neighbours.min(initial=0) >= 0
        assert adjacency.neighbours.max(initial=-1) < width


@given(frame=st.integers(0, len(FRAMES) - 1), at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_a_damaged_byte_gives_slices_or_a_bad_graph(frame: int, at: int, value: int) -> None:
    """Never any other error, and never slices that point outside themselves."""
    damaged = bytearray(FRAMES[frame])
    if damaged:
        damaged[at % len(damaged)] = value
    try:
        slices = PartitionSet.from_wire(SPEC, with_frame(FRAMES, frame, bytes(damaged)), graph().partition)
    except BadGraph:
        return
    check_sound(slices, graph())


def _paths(spec: Any) -> list[list[Any]]:
    """Every place in a spec."""
    items = spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, list) else ()
    return [[key, *rest] for key, value in items for rest in ([], *_paths(value))]


@given(
    path=st.sampled_from(_paths(SPEC)),
    value=st.one_of(st.none(), st.integers(-(2**65), 2**65), st.integers(0, 9), st.text(max_size=8), st.booleans())
    | st.sampled_from(["int64", "int32", "float64", "bool", "string", "dictionary", [], {}, [["a", {}]], 1.5]),
)
@settings(deadline=None, max_examples=300)
def test_a_damaged_spec_gives_slices_or_a_bad_graph(path: list[Any], value: Any) -> None:
    try:
        slices = PartitionSet.from_wire(changed(SPEC, path, value), FRAMES, graph().partition)
    except BadGraph:
        return
    check_sound(slices, graph())

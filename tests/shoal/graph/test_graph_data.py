"""A graph is numbered canonically, whatever order it came in, and survives the wire; nonsense does not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.graph.graph_data import BadGraph, BadRow, GraphData
from shoal.graph.ids import partition_of
from shoal.graph.sources import from_arrays

INTEGERS = st.integers(-5, 5) | st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 40])
NAMES = st.sampled_from(["a", "b", "ä", "\U0001f41f", "\uffff", "a\0", "zz"])
EDGES = st.lists(st.tuples(INTEGERS, INTEGERS)) | st.lists(st.tuples(NAMES, NAMES))
DENSE = st.lists(st.tuples(st.integers(3, 9), st.integers(3, 9)))


def in_order(ids: set[Any]) -> list[Any]:
    return sorted(ids, key=lambda node: node.encode() if isinstance(node, str) else node)


def built(edges: Sequence[tuple[Any, Any]], **more: Any) -> GraphData:
    return from_arrays([s for s, _ in edges], [t for _, t in edges], **more)


def example() -> GraphData:
    """With a column of every kind, on the edges a dictionary."""
    return from_arrays(
        ["c", "a", "a", "b"] * 4,
        ["a", "b", "b", "c"] * 4,
        nodes=["d", "c", "b", "a"],
        node_columns={"name": ["D", "C", "B", ""], "age": [4, 3, 2, 1], "flag": [True, False, True, False]},
        edge_columns={"weight": np.arange(16), "type": ["x", "y", "y", "x"] * 4},
    )


@given(EDGES | DENSE)
@settings(deadline=None)
def test_an_undirected_graph_is_what_a_dumb_twin_says(edges: list[tuple[Any, Any]]) -> None:
    """Each row is two arcs, a loop one, at the row's place at either end; the edges are counted as they were given."""
    graph = built(edges, edge_columns={"place": np.arange(len(edges))}, undirected=True)
    ids = in_order({end for edge in edges for end in edge})
    numbered = [(place, ids.index(s), ids.index(t)) for place, (s, t) in enumerate(edges)]
    arcs = [(s, place, t) for place, s, t in numbered] + [(t, place, s) for place, s, t in numbered if s != t]
    arcs.sort(key=lambda arc: arc[:2])
    assert graph.source.tolist() == [s for s, _, _ in arcs]
    assert graph.edge_columns["place"].tolist() == [place for _, place, _ in arcs]
    assert graph.target.tolist() == [t for _, _, t in arcs]
    assert (graph.directed, graph.edge_count, graph.arc_count) == (False, len(edges), len(arcs))
    graph.validate()
    assert GraphData.from_wire(*graph.to_wire()).equals(graph)


def test_the_same_edges_the_other_way_round_make_the_same_undirected_graph() -> None:
    source, target = [3, 1, 2, 2], [1, 2, 2, 1]
    one, other = from_arrays(source, target, undirected=True), from_arrays(target, source, undirected=True)
    assert one.equals(other)
    assert not one.equals(from_arrays(one.ids[one.source], one.ids[one.target]))
    assert repr(one) == "<GraphData: 3 nodes (no columns), 4 undirected edges (no columns)>"


def test_a_graph_that_is_not_undirected_is_told_so() -> None:
    spec, frames = from_arrays([1, 1], [2, 3]).to_wire()
    with pytest.raises(BadGraph, match="edges in both directions"):
        GraphData.from_wire({**spec, "directed": False}, frames)
    with pytest.raises(BadGraph, match="'directed' is not a proper bool"):
        GraphData.from_wire({**spec, "directed": 0}, frames)


@given(EDGES | DENSE)
@settings(deadline=None)
def test_a_graph_is_what_a_dumb_twin_says(edges: list[tuple[Any, Any]]) -> None:
    """Nodes in id order; edges by source, then in the order of the input."""
    graph = built(edges, edge_columns={"place": np.arange(len(edges))})
    ids = in_order({end for edge in edges for end in edge})
    ranked = sorted(range(len(edges)), key=lambda place: ids.index(edges[place][0]))
    assert graph.ids.tolist() == ids
    assert graph.source.tolist() == [ids.index(edges[place][0]) for place in ranked]
    assert graph.target.tolist() == [ids.index(edges[place][1]) for place in ranked]
    assert graph.edge_columns["place"].tolist() == ranked
    assert graph.partition.tolist() == [partition_of(node, 64) for node in ids]
    assert graph.source.dtype == graph.target.dtype == np.int32
    graph.validate()


@given(EDGES | DENSE, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_a_node_table_does_not_matter(edges: list[tuple[Any, Any]], random: Any) -> None:
    nodes = in_order({end for edge in edges for end in edge})
    shuffled = list(nodes)
    random.shuffle(shuffled)
    places = {"place": [nodes.index(node) for node in shuffled]}
    graph = built(edges, nodes=shuffled, node_columns=places if nodes else None)
    assert graph.equals(built(edges, nodes=nodes, node_columns={"place": np.arange(len(nodes))} if nodes else None))
    assert (graph.source.tolist(), graph.target.tolist()) == (
        built(edges).source.tolist(),
        built(edges).target.tolist(),
    )


def test_isolated_nodes_are_nodes() -> None:
    graph = from_arrays([1], [5], nodes=[9, 5, 1], node_columns={"x": [0.9, 0.5, 0.1]})
    assert graph.ids.tolist() == [1, 5, 9]
    assert graph.node_columns["x"].tolist() == [0.1, 0.5, 0.9]
    assert (graph.source.tolist(), graph.target.tolist()) == ([0], [1])


@pytest.mark.parametrize("nodes", [None, [], ["a", "b"], [1, 2]])
def test_a_graph_may_have_no_edges(nodes: list[Any] | None) -> None:
    graph = from_arrays([], [], nodes=nodes)
    assert (graph.node_count, graph.edge_count) == (len(nodes or []), 0)
    assert GraphData.from_wire(*graph.to_wire()).equals(graph)


def test_a_graph_does_not_follow_its_makers_arrays() -> None:
    weights, nodes = np.array([1.0, 2.0]), np.array([1, 2])
    graph = from_arrays([1, 2], [2, 1], nodes=nodes, edge_columns={"weight": weights})
    weights[0], nodes[0] = 9, 9
    assert (graph.edge_columns["weight"].tolist(), graph.ids.tolist()) == ([1, 2], [1, 2])
    for array in (graph.source, graph.target, graph.partition, graph.ids, graph.edge_columns["weight"]):
        assert not array.flags.writeable


def test_few_distinct_strings_are_a_dictionary() -> None:
    graph = example()
    assert pa.types.is_dictionary(graph.edge_columns["type"].type)
    assert pa.types.is_string(graph.node_columns["name"].type)
    assert graph.edge_columns["weight"].dtype == np.float64


def test_the_sum_of_bytes() -> None:
    assert from_arrays([0, 1], [1, 0]).nbytes == 2 * 8 + 2 + 2 * 4 + 2 * 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"source": ["a"], "target": [1]}, "all int or all str.*'source' of edges string, 'target' of edges int64"),
        ({"source": [1.5], "target": [2.5]}, "column 'source' holds float64, but ids are int or str"),
        ({"source": [1, 2], "target": [1]}, "edges: the columns differ in length: 'source' 2, 'target' 1"),
        ({"source": [1], "target": [1], "nodes": ["a"]}, "'id' of nodes string, 'source' of edges int64"),
        ({"source": [1], "target": [2], "nodes": [1]}, "edges: row 1: the edge's target 2 is not a node of nodes; add"),
        ({"source": [1, 3], "target": [1, 1], "nodes": [1]}, "edges: row 2: the edge's source 3 is not a node"),
        ({"source": [1, 1 << 60], "target": [1, 1], "nodes": [1]}, "row 2: the edge's source 1152921504606846976 is"),
        ({"source": ["a"], "target": ["c"], "nodes": ["b", "a"]}, "row 1: the edge's target 'c' is not a node"),
        ({"source": ["a"], "target": ["c"], "nodes": []}, "row 1: the edge's source 'a' is not a node"),
        (
            {"source": [], "target": [], "nodes": [3, 1, 3]},
            "nodes: row 3: node 3 occurs twice .first in row 1.; keep",
        ),
        ({"source": [], "target": [], "nodes": ["b", "a", "b"]}, "nodes: row 3: node 'b' occurs twice"),
        ({"source": [], "target": [], "nodes": ["b", ""]}, "nodes: row 2: the node's id is empty"),
        ({"source": ["a", "a"], "target": ["b", ""]}, "edges: row 2: the edge's target is empty"),
        ({"source": [1], "target": [1], "edge_columns": {"weight": ["x"]}}, "'weight' holds string"),
        ({"source": [1], "target": [1], "edge_columns": {"weight": [float("nan")]}}, "row 1: the edge has no weight"),
        ({"source": [1], "target": [1], "edge_columns": {"source": [1]}}, "'source' names the ids"),
        ({"source": [1], "target": [1], "edge_columns": {"": [1]}}, "1 to 256 bytes"),
        ({"source": [1], "target": [1], "node_columns": {"a": [1]}}, "need their nodes"),
        ({"source": [1], "target": [1], "nodes": [1], "node_columns": {"a": []}}, "differ in length: 'id' 1, 'a' 0"),
        ({"source": [1], "target": [1], "partition_count": 0}, "1 to 65536 partitions, not 0"),
    ],
)
def test_what_is_not_a_graph_is_told_why(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadGraph, match=sentence):
        from_arrays(**arguments)


def test_a_bad_row_says_where_it_is() -> None:
    with pytest.raises(BadRow) as caught:
        from_arrays([1], [2], nodes=[1])
    assert (caught.value.file, caught.value.line) == ("edges", 1)
    assert isinstance(caught.value, ValueError)


@given(EDGES, st.integers(1, 65536))
@settings(deadline=None)
def test_a_graph_arrives_as_it_was_sent(edges: list[tuple[Any, Any]], partitions: int) -> None:
    graph = built(edges, edge_columns={"n": np.arange(len(edges)) / 3}, partition_count=partitions)
    spec, frames = graph.to_wire()
    back = GraphData.from_wire(msgpack.unpackb(msgpack.packb(spec)), [bytes(frame) for frame in frames])
    assert back.equals(graph)
    assert np.array_equal(back.partition, graph.partition)
    back.validate()


def test_every_kind_of_column_arrives() -> None:
    graph = example()
    spec, frames = graph.to_wire()
    back = GraphData.from_wire(msgpack.unpackb(msgpack.packb(spec)), [bytes(frame) for frame in frames])
    assert back.equals(graph)
    assert back.edge_columns["type"].type == graph.edge_columns["type"].type


def test_graphs_that_differ_are_not_equal() -> None:
    one = example()
    for changed in (
        from_arrays([1], [2]),
        from_arrays(["c"], ["a"], nodes=["a", "b", "c", "d"]),
    ):
        assert not one.equals(changed)
    weights = dict(one.edge_columns) | {"weight": one.edge_columns["weight"] + 1}
    assert not one.equals(GraphData(one.ids, 64, one.partition, one.node_columns, one.source, one.target, weights))


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_a_corrupt_graph_is_a_bad_graph_or_a_sound_one(data: st.DataObject) -> None:
    """Any one value of the spec replaced or lost, any frame cut, grown, lost or with a byte changed."""
    spec, buffers = example().to_wire()
    spec = msgpack.unpackb(msgpack.packb(spec))
    frames: list[Any] = [bytes(buffer) for buffer in buffers]
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            spec = data.draw(corrupted(spec))
        elif frames:
            place = data.draw(st.integers(0, len(frames) - 1))
            frames[place : place + 1] = data.draw(corrupted_frame(frames[place]))
    try:
        graph = GraphData.from_wire(spec, frames)
    except BadGraph:
        return
    graph.validate()
    assert GraphData.from_wire(*graph.to_wire()).equals(graph)


@st.composite
def corrupted(draw: st.DrawFn, spec: Any) -> Any:
    """A copy with one place, however deep, changed, lost or doubled."""
    junk: st.SearchStrategy[Any] = st.sampled_from(
        [None, True, -1, 0, 1, 3, 1 << 62, 1.5, "", "int64", "string", "dictionary", b"x", [], {}]
    )
    spec = copy.deepcopy(spec)
    if not isinstance(spec, dict | list) or not spec or draw(st.integers(0, 4)) == 0:
        return draw(junk)
    place = draw(st.sampled_from(sorted(spec) if isinstance(spec, dict) else range(len(spec))))
    match draw(st.integers(0, 5)):
        case 0:
            del spec[place]
        case 1 if isinstance(spec, list):
            spec.append(spec[place])
        case _:
            spec[place] = draw(corrupted(spec[place]))
    return spec


@st.composite
def corrupted_frame(draw: st.DrawFn, frame: bytes) -> list[Any]:
    place = draw(st.integers(0, max(0, len(frame) - 1)))
    match draw(st.integers(0, 5)):
        case 0:
            return []
        case 1:
            return [frame, frame]
        case 2:
            return [frame[:place]]
        case 3:
            return [frame + bytes(place + 1)]
        case _:
            return [frame[:place] + draw(st.binary(min_size=1, max_size=4)) + frame[place + 1 :]]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("format",), 1, "do both ends have the same version"),
        (("partitions",), 0, "1 to 65536 partitions"),
        (("ids", "type"), "float64", "column 'ids': .*frames|frames"),
        (("node_columns",), None, "not a list of at most 1024 columns"),
        (("node_columns",), [["a"]], "not a name and a spec"),
        (("edge_columns", 0, 0), "type", "two columns have the same name"),
        (("edge_columns", 0, 0), "x" * 257, "1 to 256 bytes"),
        (("source", "type"), "int64", "16 values take 128 bytes, 64 came"),
        (("node_columns", 1, 1, "type"), "int32", "4 values take 16 bytes"),
    ],
)
def test_a_spec_that_lies_is_told_so(path: tuple[Any, ...], value: Any, sentence: str) -> None:
    spec, frames = example().to_wire()
    place: Any = spec
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(BadGraph, match=sentence):
        GraphData.from_wire(spec, frames)


@pytest.mark.parametrize(
    ("ids", "source", "target", "sentence"),
    [
        ([0, 0], [0], [1], "strictly ascending"),
        ([1, 0], [0], [1], "strictly ascending"),
        (["b", "a"], [0], [1], "strictly ascending"),
        ([0, 1], [1, 0], [0, 0], "sources of the edges are not ascending"),
        ([0, 1], [2], [0], "ascending ordinals below 2"),
        ([0, 1], [-1], [0], "ascending ordinals below 2"),
        ([0, 1], [0], [2], "a target is not an ordinal below 2"),
        ([0, 1], [0], [-1], "a target is not an ordinal below 2"),
        ([0, 1], [0], [0, 1], "1 sources and 2 targets"),
    ],
)
def test_arrays_that_are_no_graph_do_not_arrive(
    ids: list[Any], source: list[int], target: list[int], sentence: str
) -> None:
    held = pa.array(ids) if isinstance(ids[0], str) else np.array(ids)
    ends = np.array(source, np.int32), np.array(target, np.int32)
    spec, frames = GraphData(held, 64, np.zeros(len(ids), np.uint8), {}, *ends, {}).to_wire()
    with pytest.raises(BadGraph, match=sentence):
        GraphData.from_wire(spec, frames)

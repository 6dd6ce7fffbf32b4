"""A piece on its way: what is cut, sent and built is the very part, and what is not a piece raises `BadGraph`."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal import BadGraph, GraphData
from shoal.part import Part, Placement
from shoal.piece import build, cut, part_of

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


def sent(data: GraphData, shard: int) -> tuple[Any, list[bytes]]:
    """As it arrives: plain values and bytes."""
    spec, frames = cut(data, PLACEMENT, shard)
    return msgpack.unpackb(msgpack.packb(spec)), [bytes(memoryview(frame).cast("B")) for frame in frames]


def told(part: Part) -> list[Any]:
    """Everything in a part, to compare."""
    arrays = [
        part.starts,
        part.ordinals,
        part.ghost_ordinals,
        *(getattr(part.in_edges, n) for n in ("indptr", "edges")),
    ]
    arrays += [part.in_edges.neighbours, part.out_edges.indptr, part.out_edges.neighbours, part.out_edges.edges]
    arrays += [b.nodes for side in (part.ghosts, part.sends) for _, b in sorted(side.items())]
    columns = [part.ids, *part.node_columns.values(), *part.edge_columns.values()]
    return [
        (part.graph, part.node_count, part.edge_count, part.partition_count, part.shard, part.peers, part.partitions),
        part.cross_edges,
        part.peer_partitions,
        [array.tolist() for array in arrays],
        [column.tolist() for column in columns],
        [*part.node_columns, *part.edge_columns],
    ]


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("shard", [0, 1, 2])
def test_what_is_built_from_a_piece_is_the_part(kind: type, shard: int) -> None:
    data = graph(kind)
    spec, frames = sent(data, shard)
    assert told(build("g", spec, frames, PLACEMENT, shard)) == told(part_of("g", data, PLACEMENT, shard))


def test_a_piece_of_a_graph_without_edges_or_nodes() -> None:
    for data in (shoal.from_arrays([], [], partition_count=8), shoal.from_arrays([], [], nodes=[1], partition_count=8)):
        for shard in range(3):
            built = build("g", *sent(data, shard), PLACEMENT, shard)
            assert told(built) == told(part_of("g", data, PLACEMENT, shard))


WRONG = {
    "no spec": lambda s, f: (None, f),
    "counts missing": lambda s, f: ({}, f),
    "a negative count": lambda s, f: ({**s, "nodes": -1}, f),
    "more edges than the graph": lambda s, f: ({**s, "held": s["edges"] + 1}, f),
    "endless nodes": lambda s, f: ({**s, "nodes": 2**62}, f),
    "the other width": lambda s, f: ({**s, "wide": not s["wide"]}, f),
    "no frames": lambda s, f: (s, []),
    "a frame too few": lambda s, f: (s, f[:-1]),
    "partitions out of range": lambda s, f: (s, [b"\x09" * len(f[0]), *f[1:]]),
    "other partitions": lambda s, f: (s, [b"\x01" * len(f[0]), *f[1:]]),
    "an end out of range": lambda s, f: (s, [f[0], b"\xff" * len(f[1]), *f[2:]]),
    "an end cut short": lambda s, f: (s, [f[0], f[1][:-1], *f[2:]]),
    "no ids": lambda s, f: ({k: v for k, v in s.items() if k != "ids"}, f),
    "columns that are none": lambda s, f: ({**s, "node_columns": 7}, f),
    "a column without a spec": lambda s, f: ({**s, "edge_columns": [["weight"]]}, f),
    "a column of another length": lambda s, f: ({**s, "edge_columns": s["node_columns"]}, f),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_a_piece_is_refused(wrong: str) -> None:
    with pytest.raises(BadGraph):
        build("g", *WRONG[wrong](*sent(graph(), 0)), PLACEMENT, 0)


SPEC, FRAMES = sent(graph(), 0)


@given(frame=st.integers(0, len(FRAMES) - 1), at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(deadline=None, max_examples=150)
def test_a_damaged_byte_gives_a_part_or_a_bad_graph(frame: int, at: int, value: int) -> None:
    """Never any other error, and never a part that points outside itself."""
    frames = list(FRAMES)
    damaged = bytearray(frames[frame])
    damaged[at % len(damaged)] = value
    frames[frame] = bytes(damaged)
    try:
        part = build("g", SPEC, frames, PLACEMENT, 0)
    except BadGraph:
        return
    width = part.size + part.ghost_count
    for adjacency in (part.in_edges, part.out_edges):
        assert adjacency.neighbours.min(initial=0) >= 0
        assert adjacency.neighbours.max(initial=-1) < width

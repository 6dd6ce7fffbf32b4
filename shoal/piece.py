"""A shard's piece of a graph on its way there: cut from a whole graph, sent as a spec and frames, built into a part.

The spec and the frames are plain (msgpack values and buffers); what arrives is checked before it is built, so that a
piece that is not one raises `BadGraph` and nothing else. Every piece carries the partition of every node (a byte or two
each): it tells the shard who holds the far end of an edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoal import columns as col
from shoal.graph_data import BadGraph, GraphData
from shoal.part import Part, Placement, build_part, own_ordinals


def cut(data: GraphData, placement: Placement, shard: int) -> tuple[dict[str, Any], list[Any]]:
    """The piece of one shard: its nodes, and the edges that touch them."""
    own, edges = _share(data, placement, shard)
    spec: dict[str, Any] = {
        "nodes": data.node_count,
        "edges": data.edge_count,
        "held": len(edges),
        "wide": data.source.dtype == np.int64,
        "node_columns": [],
        "edge_columns": [],
    }
    frames: list[Any] = [data.partition, data.source[edges], data.target[edges]]
    spec["ids"], more = col.to_wire(col.take(data.ids, own))
    frames += more
    for group, columns, rows in (
        ("node_columns", data.node_columns, own),
        ("edge_columns", data.edge_columns, edges),
    ):
        for name, column in columns.items():
            column_spec, more = col.to_wire(col.take(column, rows))
            spec[group].append([name, column_spec])
            frames += more
    return spec, frames


def part_of(graph: str, data: GraphData, placement: Placement, shard: int) -> Part:
    """A shard's part straight from the whole graph, where nothing has to be sent."""
    own, edges = _share(data, placement, shard)
    return build_part(
        graph,
        shard,
        placement,
        data.partition,
        data.source[edges],
        data.target[edges],
        edge_count=data.edge_count,
        ids=col.take(data.ids, own),
        node_columns={name: col.take(column, own) for name, column in data.node_columns.items()},
        edge_columns={name: col.take(column, edges) for name, column in data.edge_columns.items()},
    )


def build(graph: str, spec: object, frames: Sequence[Any], placement: Placement, shard: int) -> Part:
    """A shard's part from the piece that was sent to it. Raises `BadGraph`."""
    nodes, edges, held = (col.field(spec, name, int) for name in ("nodes", "edges", "held"))
    wide = col.field(spec, "wide", bool)
    assert isinstance(spec, Mapping)
    if len(frames) < 3 or held > edges:
        raise BadGraph("the piece has no edges' ends, or more edges than the graph")
    partition = _partition(frames[0], nodes, len(placement.holder))
    ordinal = np.dtype(np.int64 if wide else np.int32)
    source, target = (_ends(frame, ordinal, held, nodes) for frame in frames[1:3])
    own = len(own_ordinals(partition, placement, shard))
    rest = _Rest(frames[3:])
    ids = rest.column(spec.get("ids"), own, "ids")
    node_columns = rest.columns(spec.get("node_columns"), own)
    edge_columns = rest.columns(spec.get("edge_columns"), held)
    return build_part(
        graph,
        shard,
        placement,
        partition,
        source,
        target,
        edge_count=edges,
        ids=ids,
        node_columns=node_columns,
        edge_columns=edge_columns,
    )


def _share(data: GraphData, placement: Placement, shard: int) -> tuple[Any, Any]:
    here = (placement.holder == shard)[data.partition]
    edges = np.flatnonzero(here[data.source] | here[data.target])
    return own_ordinals(data.partition, placement, shard), edges


def _partition(frame: Any, nodes: int, count: int) -> Any:
    dtype = np.dtype(np.uint8 if count <= 256 else np.uint16)
    partition = _array(frame, dtype, nodes, "the partitions")
    if nodes and int(partition.max()) >= count:
        raise BadGraph(f"a node is in partition {int(partition.max())} of {count}")
    return partition


def _ends(frame: Any, dtype: np.dtype[Any], held: int, nodes: int) -> Any:
    ends = _array(frame, dtype, held, "the ends of edges")
    if held and not 0 <= int(ends.min()) <= int(ends.max()) < nodes:
        raise BadGraph(f"an edge ends at a node that is not one of {nodes}")
    return ends


def _array(frame: Any, dtype: np.dtype[Any], length: int, what: str) -> Any:
    view = memoryview(frame).cast("B")
    if view.nbytes != length * dtype.itemsize:
        raise BadGraph(f"{what}: {length} values take {length * dtype.itemsize} bytes, {view.nbytes} came")
    return np.frombuffer(view, dtype)


class _Rest:
    """Frames that are still to be read, column by column."""

    def __init__(self, frames: Sequence[Any]) -> None:
        self._frames = list(frames)

    def column(self, spec: object, length: int, what: str) -> Any:
        count = col.frame_count(spec)
        if len(self._frames) < count:
            raise BadGraph(f"{what}: {count} frames are needed, {len(self._frames)} are left")
        mine, self._frames = self._frames[:count], self._frames[count:]
        column = col.from_wire(spec, mine, what)
        if len(column) != length:
            raise BadGraph(f"{what}: {length} values are needed, {len(column)} came")
        return column

    def columns(self, specs: object, length: int) -> dict[str, Any]:
        if not isinstance(specs, list | tuple):
            raise BadGraph("the piece does not list its columns")
        found = {}
        for entry in specs:
            if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise BadGraph("a column of the piece has no name and spec")
            found[entry[0]] = self.column(entry[1], length, f"column '{entry[0]}'")
        return found

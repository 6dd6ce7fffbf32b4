"""Checks slices that came from a disk or a peer. Raises `BadGraph` for whatever is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph import columns as col
from shoal.graph.arrow import pa, pc
from shoal.graph.ids import PARTITIONS_MAX, partition_type
from shoal.graph.table import BadGraph, Column
from shoal.kernels.grouping import taken

if TYPE_CHECKING:
    from shoal.graph.partitions import PartitionSet

Array = NDArray[Any]


def check_table(table: Array, nodes: int, count: int) -> None:
    """Checks that the table has a partition below `count` for each of `nodes` nodes."""
    if not 1 <= count <= PARTITIONS_MAX:
        raise BadGraph(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {count}")
    if table.dtype != partition_type(count) or len(table) != nodes:
        raise BadGraph(f"the table of partitions is not one of {nodes} nodes and {count} partitions")
    if nodes and int(table.max()) >= count:
        raise BadGraph(f"a node is in partition {int(table.max())} of {count}")


def check_slices(slices: PartitionSet, table: Array) -> None:
    """Checks that every node and edge is in its partition, in canonical order, with a value in every column."""
    ids, nodes = slices.ids, int(slices.node_bounds[-1])
    kind = col.type_name(ids)
    if kind not in ("int64", "string") or (kind == "string" and pa.types.is_dictionary(ids.type)):
        raise BadGraph("the node ids are not 64-bit integers or plain strings")
    _check_lengths({"ids": ids, **slices.node_columns}, nodes, "nodes")
    if not _ascends(ids, slices.node_bounds, strictly=True):
        raise BadGraph("the node ids of a partition do not ascend")
    numbers = np.array(slices.partitions, table.dtype)
    most = slices.edge_count if slices.directed else 2 * slices.edge_count
    for what, edges, bounds, end in (
        ("out", slices.out, slices.out_bounds, "source"),
        ("into", slices.into, slices.in_bounds, "target"),
    ):
        if not len(edges) == bounds[-1] <= most:
            raise BadGraph(f"{what}: {len(edges)} edges came, {bounds[-1]} are due, {most} are in all")
        _check_lengths(edges.columns, len(edges), f"edges ({what})")
        owner = np.repeat(numbers, np.diff(bounds))
        if not bool(np.all(taken(table, getattr(edges, end)) == owner)):
            raise BadGraph(f"{what}: the {end} of an edge is not a node of the edge's partition")
        if what == "into" and bool(np.any(taken(table, edges.source) == owner)):
            raise BadGraph("into: an edge comes from its own partition, and belongs to `out` alone")
        if not _ascends(edges.source, bounds):
            raise BadGraph(f"{what}: the sources of a partition's edges do not ascend")
    out, into = ([(n, col.type_name(c)) for n, c in e.columns.items()] for e in (slices.out, slices.into))
    if out != into:
        raise BadGraph("the columns of the edges that leave are not those of the edges that come in")


def _check_lengths(columns: Mapping[str, Column], length: int, what: str) -> None:
    for name, column in columns.items():
        if len(column) != length:
            raise BadGraph(f"column {name!r} has {len(column)} values for {length} {what}")
        if col.type_name(column) == "int32":
            raise BadGraph(f"column {name!r} holds int32, which only the ends of edges do; send it as int64")


def _ascends(values: Column, bounds: Array, *, strictly: bool = False) -> bool:
    """Returns whether values ascend within each partition."""
    if len(values) < 2:
        return True
    if col.is_string(values):
        rises = pc.less(values[:-1], values[1:]).to_numpy(zero_copy_only=False).copy()
    else:
        rises = values[:-1] < values[1:] if strictly else values[:-1] <= values[1:]
    begins = bounds[(bounds > 0) & (bounds < len(values))]
    rises[begins - 1] = True
    return bool(rises.all())

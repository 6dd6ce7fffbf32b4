"""A whole graph as arrays in canonical order: a source creates it, a client sends it, a shard cuts its part from it.

Nodes are numbered by *ordinal*, their position in id order (ints by value, strings by UTF-8 bytes). Edges are sorted by
source ordinal, parallel and sibling edges in the order of the input::

    ids      [ "a"  "b"  "c" ]            node_columns   by ordinal
    source   [  0    0    2  ]            edge_columns   beside source and target
    target   [  1    2    0  ]

An undirected graph holds each edge {u, v} as two *arcs*, u -> v and v -> u with the same values, and a loop as one; so
code that reads edges works on both kinds. `source`, `target` and `edge_columns` are of arcs, ordered as directed edges
would be by the input's rows, and `edge_count` counts edges as given.

Nothing here depends on shards, so any number of shards start from the same numbers in the same order: the first half of
bit-identical results. The arrays are read-only.

Invariants: ids strictly ascend; sources ascend and, with targets, are below the number of nodes; every column has a
value for each node or arc; of an undirected graph, as many arcs come into a node as leave it; `partition` follows from
`ids` (`shoal.graph.ids`) and is therefore never sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph import columns as col
from shoal.graph.arrow import pa, pc
from shoal.graph.columns import Spec
from shoal.graph.ids import PARTITIONS_MAX, IdColumn, partitions_of
from shoal.graph.table import BadGraph, BadRow, Column, Table

__all__ = ["PARTITIONS", "BadGraph", "BadRow", "GraphData", "Table"]

PARTITIONS = 64
"""The default number of partitions: several for each of a dozen shards."""
COLUMNS_MAX = 1024
NAME_BYTES_MAX = 256
WIRE_FORMAT = 2


@dataclass(frozen=True, eq=False)
class GraphData:
    """A property graph in canonical order; see the module's docstring."""

    ids: IdColumn
    partition_count: int
    partition: NDArray[Any]
    node_columns: Mapping[str, Column]
    source: NDArray[Any]
    target: NDArray[Any]
    edge_columns: Mapping[str, Column]
    directed: bool = True

    @property
    def node_count(self) -> int:
        """The number of nodes."""
        return len(self.ids)

    @property
    def arc_count(self) -> int:
        """The number of arcs: the rows of `source`, `target` and the columns of edges."""
        return len(self.source)

    @cached_property
    def edge_count(self) -> int:
        """The number of edges as given, counting parallel edges."""
        if self.directed:
            return self.arc_count
        loops = int(np.count_nonzero(self.source == self.target))
        return (self.arc_count + loops) // 2

    @property
    def nbytes(self) -> int:
        """The size of all arrays in bytes."""
        arrays = [self.ids, self.partition, self.source, self.target]
        arrays += [*self.node_columns.values(), *self.edge_columns.values()]
        return sum(int(array.nbytes) for array in arrays)

    def __repr__(self) -> str:
        way = "" if self.directed else " undirected"
        return (
            f"<GraphData: {self.node_count} nodes ({', '.join(self.node_columns) or 'no columns'}), "
            f"{self.edge_count}{way} edges ({', '.join(self.edge_columns) or 'no columns'})>"
        )

    def equals(self, other: GraphData) -> bool:
        """Returns whether both graphs have the same ids, edges in order, partitions, columns and values."""
        mine, theirs = (self.node_columns, self.edge_columns), (other.node_columns, other.edge_columns)
        return (
            self.partition_count == other.partition_count
            and self.directed == other.directed
            and col.equal(self.ids, other.ids)
            and bool(np.array_equal(self.source, other.source))
            and bool(np.array_equal(self.target, other.target))
            and all(a.keys() == b.keys() for a, b in zip(mine, theirs, strict=True))
            and all(col.equal(a[name], b[name]) for a, b in zip(mine, theirs, strict=True) for name in a)
        )

    def validate(self) -> None:
        """Raises `BadGraph` unless the invariants hold (columns are checked where they are created)."""
        _check_shape(self)
        _check_ids(self.ids)
        _check_edges(self.source, self.target, self.node_count, self.directed)

    def to_wire(self) -> tuple[Spec, list[Any]]:
        """Returns a spec of plain values and the frames of all columns, which are views of this graph's arrays."""
        specs: dict[str, Any] = {}
        frames: list[Any] = []
        for name in ("ids", "source", "target"):
            specs[name], more = col.to_wire(getattr(self, name))
            frames += more
        for group in ("node_columns", "edge_columns"):
            specs[group] = []
            for name, column in getattr(self, group).items():
                spec, more = col.to_wire(column)
                specs[group].append([name, spec])
                frames += more
        about = {"format": WIRE_FORMAT, "partitions": self.partition_count, "directed": self.directed}
        return {**about, **specs}, frames

    @classmethod
    def from_wire(cls, spec: object, frames: Sequence[Any]) -> GraphData:
        """Returns the graph of a spec and frames, both untrusted. Raises `BadGraph`, and no other exception."""
        if col.field(spec, "format", int) != WIRE_FORMAT:
            raise BadGraph(f"the graph is not in format {WIRE_FORMAT}; do both ends have the same version?")
        assert isinstance(spec, Mapping)
        partition_count, directed = col.field(spec, "partitions", int), col.field(spec, "directed", bool)
        if not 1 <= partition_count <= PARTITIONS_MAX:
            raise BadGraph(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {partition_count}")
        wanted = [(name, col.field(spec, name, dict)) for name in ("ids", "source", "target")]
        node_specs, edge_specs = (named_specs(spec, group) for group in ("node_columns", "edge_columns"))
        counts = [col.frame_count(each) for _, each in [*wanted, *node_specs, *edge_specs]]
        if sum(counts) != len(frames):
            raise BadGraph(f"the graph has {sum(counts)} frames, {len(frames)} came")
        reader = col.FrameReader(frames)
        arrived = [reader.column(each, f"column {name!r}") for name, each in [*wanted, *node_specs, *edge_specs]]
        ids, source, target = arrived[:3]
        node_end = 3 + len(node_specs)
        _check_ids(ids)
        graph = cls(
            ids=ids,
            partition_count=partition_count,
            partition=frozen(partitions_of(ids, partition_count)),
            node_columns={name: column for (name, _), column in zip(node_specs, arrived[3:node_end], strict=True)},
            source=source,
            target=target,
            edge_columns={name: column for (name, _), column in zip(edge_specs, arrived[node_end:], strict=True)},
            directed=directed,
        )
        _check_shape(graph)
        _check_edges(source, target, len(ids), directed)
        return graph


def named_specs(spec: Mapping[str, Any], group: str) -> list[tuple[str, Any]]:
    """Returns the names and specs of a group of columns. Raises `BadGraph`."""
    pairs = spec.get(group)
    if not isinstance(pairs, list | tuple) or len(pairs) > COLUMNS_MAX:
        raise BadGraph(f"the spec's {group!r} is not a list of at most {COLUMNS_MAX} columns")
    named = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise BadGraph(f"an entry of the spec's {group!r} is not a name and a spec")
        named.append((pair[0], pair[1]))
    check_names([name for name, _ in named], group)
    return named


def check_names(names: Sequence[str], what: str) -> None:
    for name in names:
        if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= NAME_BYTES_MAX:
            raise BadGraph(f"{what}: a column's name must have 1 to {NAME_BYTES_MAX} bytes; {name[:40]!r} does not")
    if len(set(names)) != len(names):
        raise BadGraph(f"{what}: two columns have the same name")


def _check_ids(ids: IdColumn) -> None:
    if col.is_string(ids):
        ascending = not pa.types.is_dictionary(ids.type) and pc.all(pc.less(ids[:-1], ids[1:])).as_py() is not False
    else:
        ascending = ids.dtype == np.int64 and bool(np.all(ids[:-1] < ids[1:]))
    if not ascending:
        raise BadGraph("the node ids are not 64-bit integers or plain strings in strictly ascending order")


def _check_edges(source: Column, target: Column, nodes: int, directed: bool) -> None:
    kind = ordinal_type(nodes)
    if any(col.is_string(ends) or ends.dtype != kind for ends in (source, target)):
        raise BadGraph(f"the ends of edges are ordinals of type {kind.name} in a graph of {nodes} nodes")
    if len(source) != len(target):
        raise BadGraph(f"there are {len(source)} sources and {len(target)} targets")
    if len(source) == 0:
        return
    if int(source[0]) < 0 or int(source[-1]) >= nodes or not bool(np.all(source[:-1] <= source[1:])):
        raise BadGraph(f"the sources of the edges are not ascending ordinals below {nodes}")
    if int(target.min()) < 0 or int(target.max()) >= nodes:
        raise BadGraph(f"a target is not an ordinal below {nodes}")
    # Checking that each arc has its twin would need a sort; this detects graphs that can't be undirected.
    if not directed and not np.array_equal(np.bincount(source, minlength=nodes), np.bincount(target, minlength=nodes)):
        raise BadGraph("the graph is declared undirected, but its arcs do not form edges in both directions")


def _check_shape(graph: GraphData) -> None:
    groups = ((graph.node_columns, graph.node_count, "nodes"), (graph.edge_columns, graph.arc_count, "edges"))
    for group, count, what in groups:
        for name, column in group.items():
            if col.type_name(column) == "int32":
                raise BadGraph(f"column {name!r} holds int32, which only the ends of edges do; send it as int64")
            if len(column) != count:
                raise BadGraph(f"column {name!r} has {len(column)} values for {count} {what}")


def ordinal_type(nodes: int) -> np.dtype[Any]:
    """Returns the type of ordinals in a graph of this many nodes (and of places among this many edges)."""
    return np.dtype(np.int32 if nodes < 1 << 31 else np.int64)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = array.view()
    array.flags.writeable = False
    return array

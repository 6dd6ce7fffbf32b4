"""A whole graph as arrays, numbered canonically: what a source makes, a client sends and a shard cuts its part from.

Nodes are numbered by *ordinal*, their position in id order (ints by value, strings by UTF-8 bytes). Edges stand by
source ordinal, parallel and sibling edges in the order of the input::

    ids      [ "a"  "b"  "c" ]            node_columns   by ordinal
    source   [  0    0    2  ]            edge_columns   beside source and target
    target   [  1    2    0  ]

An undirected graph holds each edge {u, v} as two *arcs*, u -> v and v -> u with the same values, and a loop as one;
so all that reads edges works on either kind. `source`, `target` and `edge_columns` are of arcs, an arc of the input's
i-th edge stands where an i-th directed edge would, and `edge_count` is of edges as they were given.

Nothing here depends on shards, so any number of them begin from the same numbers in the same order; that is the
first half of bit-identical results. The arrays are read-only.

Invariants: ids strictly ascend; sources ascend and, with targets, are below the number of nodes; every column has a
value for each node or arc; of an undirected graph, as many arcs come into a node as leave it; `partition` follows
from `ids` (`shoal.ids`) and is therefore never sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array

from shoal import columns as col
from shoal.columns import Spec
from shoal.ids import PARTITIONS_MAX, IdColumn, partitions_of
from shoal.table import BadGraph, BadRow, Column, Table

__all__ = ["PARTITIONS", "BadGraph", "BadRow", "GraphData", "Table", "assemble"]

PARTITIONS = 64
"""Slices of a graph when nobody says otherwise: several for each of a dozen shards."""
COLUMNS_MAX = 1024
NAME_BYTES_MAX = 256
WIRE_FORMAT = 2
DENSE_SHARE = 4
"""Integer ids are looked up in a table when it has at most four places for each value that will be looked up."""


@dataclass(frozen=True, eq=False)
class GraphData:
    """A property graph in canonical order; see the module's description."""

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
        """Nodes."""
        return len(self.ids)

    @property
    def arc_count(self) -> int:
        """Arcs: the rows of `source`, `target` and the edges' columns."""
        return len(self.source)

    @cached_property
    def edge_count(self) -> int:
        """Edges as they were given, parallel ones counted each."""
        if self.directed:
            return self.arc_count
        loops = int(np.count_nonzero(self.source == self.target))
        return (self.arc_count + loops) // 2

    @property
    def nbytes(self) -> int:
        """Bytes held."""
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
        """Whether both are the same graph: ids, edges in order, partitions, columns and their values."""
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
        """Raise `BadGraph` unless the invariants hold (columns are checked where they are made)."""
        _check_shape(self)
        _check_ids(self.ids)
        _check_edges(self.source, self.target, self.node_count, self.directed)

    def to_wire(self) -> tuple[Spec, list[Any]]:
        """A spec of plain values and the frames of all columns, which are views of this graph's arrays."""
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
        """The graph that was sent. Nothing is believed: what is not a graph raises `BadGraph`, and nothing else."""
        if col.field(spec, "format", int) != WIRE_FORMAT:
            raise BadGraph(f"the graph comes in a format other than {WIRE_FORMAT}; are both ends of one version?")
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
            partition=_frozen(partitions_of(ids, partition_count)),
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
    """The names and specs of a group of columns. Raises `BadGraph`."""
    pairs = spec.get(group)
    if not isinstance(pairs, list | tuple) or len(pairs) > COLUMNS_MAX:
        raise BadGraph(f"the spec's {group!r} is not a list of at most {COLUMNS_MAX} columns")
    named = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise BadGraph(f"an entry of the spec's {group!r} is not a name and a spec")
        named.append((pair[0], pair[1]))
    _check_names([name for name, _ in named], group)
    return named


def _check_names(names: Sequence[str], what: str) -> None:
    for name in names:
        if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= NAME_BYTES_MAX:
            raise BadGraph(f"{what}: a column's name has 1 to {NAME_BYTES_MAX} bytes; {name[:40]!r} has not")
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
    # That each arc has its twin would take a sort to see; this tells what is no undirected graph at all.
    if not directed and not np.array_equal(np.bincount(source, minlength=nodes), np.bincount(target, minlength=nodes)):
        raise BadGraph("the graph is said to be undirected, and its arcs do not stand for edges both ways")


def _check_shape(graph: GraphData) -> None:
    groups = ((graph.node_columns, graph.node_count, "nodes"), (graph.edge_columns, graph.arc_count, "edges"))
    for group, count, what in groups:
        for name, column in group.items():
            if col.type_name(column) == "int32":
                raise BadGraph(f"column {name!r} holds int32, which only the ends of edges do; send it as int64")
            if len(column) != count:
                raise BadGraph(f"column {name!r} has {len(column)} values for {count} {what}")


def ordinal_type(nodes: int) -> np.dtype[Any]:
    """The type of ordinals in a graph of so many nodes (and of places among so many edges)."""
    return np.dtype(np.int32 if nodes < 1 << 31 else np.int64)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = array.view()
    array.flags.writeable = False
    return array


def assemble(
    node_table: Table | None, edge_table: Table, partition_count: int = PARTITIONS, *, undirected: bool = False
) -> GraphData:
    """Number the nodes, sort the edges, and make a graph.

    `node_table` has a column `id`, `edge_table` the columns `source` and `target`; all others become columns of the
    graph. Without a node table the nodes are those that edges name. `undirected`: each row is an edge both ways. A row
    that is wrong is named by a `BadRow`.
    """
    if not 1 <= partition_count <= PARTITIONS_MAX:
        raise BadGraph(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {partition_count}")
    _check_tables(node_table, edge_table)
    source, target = edge_table.columns["source"], edge_table.columns["target"]
    node_columns: dict[str, Column] = {}
    if node_table is None:
        ids, source, target = _number_by_edges(source, target)
        if col.is_string(ids) and len(ids) and ids[0].as_py() == "":
            raise _empty_end(edge_table, source, target)
    else:
        ids, order = _sorted_ids(node_table)
        source, target = (_ends(ids, node_table, edge_table, name) for name in ("source", "target"))
        others = {name: column for name, column in node_table.columns.items() if name != "id"}
        node_columns = {name: _arranged(column, order) for name, column in others.items()}
    rows = None
    if undirected:
        source, target, rows = _both_ways(source, target)
    source, target, order = by_source(source, target, len(ids))
    if rows is not None:
        order = rows if order is None else rows.take(order)
    columns = {name: c for name, c in edge_table.columns.items() if name not in ("source", "target")}
    if "weight" in columns:
        columns["weight"] = _weights(edge_table)
    return GraphData(
        ids=ids,
        partition_count=partition_count,
        partition=_frozen(partitions_of(ids, partition_count)),
        node_columns=node_columns,
        source=_frozen(source),
        target=_frozen(target),
        edge_columns={name: _arranged(column, order) for name, column in columns.items()},
        directed=not undirected,
    )


def _both_ways(source: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Two arcs for each edge, one for a loop, and the row of each: in the order of the rows, so that a stable sort by
    source leaves every node's arcs in it.
    """
    loops = np.flatnonzero(source == target)
    arcs = np.stack([source, target], axis=1), np.stack([target, source], axis=1)
    rows = np.repeat(np.arange(len(source), dtype=ordinal_type(len(source))), 2)
    if not len(loops):
        return arcs[0].ravel(), arcs[1].ravel(), rows
    keep = np.ones(2 * len(source), dtype=np.bool_)
    keep[2 * loops + 1] = False
    return arcs[0].ravel()[keep], arcs[1].ravel()[keep], rows[keep]


def _check_tables(node_table: Table | None, edge_table: Table) -> None:
    ids = [(edge_table, name, edge_table.column(name)) for name in ("source", "target")]
    if node_table is not None:
        ids.insert(0, (node_table, "id", node_table.column("id")))
    for table, name, column in ids:
        if col.type_name(column) not in ("int64", "string"):
            raise BadGraph(
                f"{table.name}: column {name!r} holds {col.type_name(column)}, and ids are int or str; convert it"
            )
    kinds = {col.type_name(column) for _, _, column in ids if len(column)}
    if len(kinds) > 1:
        held = ", ".join(f"{name!r} of {table.name} {col.type_name(c)}" for table, name, c in ids)
        raise BadGraph(f"the ids of a graph are all int or all str, and here are {held}; give all of them one type")
    for table in [each for each in (node_table, edge_table) if each is not None]:
        _check_names(list(table.columns), table.name)
        if len(table.columns) > COLUMNS_MAX:
            raise BadGraph(f"{table.name}: there are more than {COLUMNS_MAX} columns")
        lengths = {len(column) for column in table.columns.values()}
        if len(lengths) > 1:
            each = ", ".join(f"{name!r} {len(column)}" for name, column in table.columns.items())
            raise BadGraph(f"{table.name}: the columns differ in length: {each}")
    weight = edge_table.columns.get("weight")
    if weight is not None and col.type_name(weight) not in ("int64", "float64"):
        raise BadGraph(f"{edge_table.name}: column 'weight' holds {col.type_name(weight)}; an edge's weight is a float")


def _weights(edges: Table) -> NDArray[np.float64]:
    """One missing weight would make NaN of every sum it enters, far from the row that lacks it."""
    weights: NDArray[np.float64] = edges.columns["weight"].astype(np.float64)
    missing = np.isnan(weights)
    if missing.any():
        raise edges.bad_row(int(np.argmax(missing)), "the edge has no weight (empty or nan); give it one, such as 1")
    return weights


def _arranged(column: Column, order: NDArray[Any] | None) -> Column:
    """A column of the graph's own, in canonical order."""
    if order is not None:
        column = col.take(column, order)
    elif not col.is_string(column):
        column = column.copy()  # the caller may go on to write to the array it gave
    return _frozen(column) if isinstance(column, np.ndarray) else col.compact(column)


def _is_dense(low: int, high: int, count: int) -> bool:
    return high - low < max(DENSE_SHARE * count, 1 << 16)


def _number_by_edges(source: Column, target: Column) -> tuple[IdColumn, NDArray[Any], NDArray[Any]]:
    """The distinct ids of both columns in order, and each end's ordinal."""
    if len(source) == 0:
        empty = np.empty(0, dtype=np.int32)
        return col.plain(source) if col.is_string(source) else _frozen(source.copy()), empty, empty
    if col.is_string(source):
        coded = [col.encoded(column) for column in (source, target)]
        distinct = pc.unique(pa.chunked_array([_wide(values, coded) for _, values in coded]))
        ids = _sort_strings(distinct)[0]
        source, target = (_find(ids, values)[codes] for codes, values in coded)
        return ids, source, target
    low, high = (int(f(g(source), g(target))) for f, g in ((min, np.min), (max, np.max)))
    if _is_dense(low, high, 2 * len(source)):
        present = np.zeros(high - low + 1, dtype=np.bool_)
        ends = [column - low if low else column for column in (source, target)]
        for each in ends:
            present[each] = True
        ids = np.flatnonzero(present) + np.int64(low)
        table = (np.cumsum(present) - 1).astype(ordinal_type(len(ids)))
        return _frozen(ids), table[ends[0]], table[ends[1]]
    ids = np.sort(pc.unique(pa.chunked_array([source, target])).to_numpy())
    return _frozen(ids), _find(ids, source), _find(ids, target)


def _wide(values: Any, coded: Sequence[tuple[Any, Any]]) -> Any:
    """Strings with offsets as wide as the widest of them."""
    large = any(pa.types.is_large_string(each.type) for _, each in coded)
    return values.cast(pa.large_string()) if large else values


def _sort_strings(values: Any) -> tuple[Any, NDArray[Any]]:
    order = pc.sort_indices(values)
    return values.take(order), order.to_numpy()


def _find(ids: IdColumn, values: Column) -> NDArray[Any]:
    """The ordinal of each value, or -1."""
    kind = ordinal_type(len(ids))
    if len(ids) == 0 or len(values) == 0:
        return np.full(len(values), -1, dtype=kind)
    if col.is_string(ids):
        places = pc.index_in(values.cast(ids.type), value_set=ids)
    else:
        low, high = int(ids[0]), int(ids[-1])
        if _is_dense(low, high, len(ids) + len(values)):
            return _find_dense(ids, values, low, high)
        places = pc.index_in(pa.array(values), value_set=pa.array(ids))
    return np.asarray(pc.fill_null(places, -1).to_numpy(), dtype=kind)


def _find_dense(ids: NDArray[Any], values: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    table = np.full(high - low + 1, -1, dtype=ordinal_type(len(ids)))
    table[ids - low] = np.arange(len(ids), dtype=table.dtype)
    if int(values.min()) >= low and int(values.max()) <= high:
        return np.asarray(table[values - low if low else values])
    within = (values >= low) & (values <= high)
    return np.where(within, table[np.where(within, values - low, 0)], table.dtype.type(-1))


def _sorted_ids(nodes: Table) -> tuple[IdColumn, NDArray[Any] | None]:
    """The ids of a node table in order, and the order, which is None when they stood in it already."""
    ids = nodes.columns["id"]
    if col.is_string(ids):
        ids, order = _sort_strings(col.plain(ids))
        if len(ids) and ids[0].as_py() == "":
            raise nodes.bad_row(int(order[0]), "the node's id is empty; every node needs one")
        twice = pc.index(pc.equal(ids[:-1], ids[1:]), True).as_py() if len(ids) else -1
    else:
        if len(ids) and bool(np.all(ids[:-1] < ids[1:])):
            return _frozen(ids.copy()), None
        order = np.argsort(ids, kind="stable")
        ids = _frozen(ids[order])
        same = np.flatnonzero(ids[:-1] == ids[1:])
        twice = int(same[0]) if len(same) else -1
    if twice >= 0:
        first, again = sorted((int(order[twice]), int(order[twice + 1])))
        node = ids[twice].item() if isinstance(ids, np.ndarray) else ids[twice].as_py()
        there = nodes.line(first)
        also = f" (first in {nodes.unit} {there})" if there is not None else ""
        raise nodes.bad_row(again, f"node {node!r} is there twice{also}; keep one of the two")
    return ids, order


def _ends(ids: IdColumn, nodes: Table, edges: Table, name: str) -> NDArray[Any]:
    """The ordinals of an edge table's `source` or `target`; all of them must be nodes."""
    column = edges.columns[name]
    if col.is_string(column):
        codes, values = col.encoded(column)
        found: NDArray[Any] = _find(ids, values)[codes]
    else:
        found = _find(ids, column)
    if len(found) and int(found.min()) < 0:
        row = int(np.argmax(found < 0))
        node = column[row].item() if isinstance(column, np.ndarray) else column[row].as_py()
        reason = f"the edge's {name} {node!r} is not a node of {nodes.name}; add the node or remove the edge"
        raise edges.bad_row(row, reason)
    return found


def _empty_end(edges: Table, source: NDArray[Any], target: NDArray[Any]) -> BadRow:
    """The first edge of which an end has the ordinal zero, which is the empty string's."""
    row = int(np.argmax((source == 0) | (target == 0)))
    name = "source" if int(source[row]) == 0 else "target"
    return edges.bad_row(row, f"the edge's {name} is empty; name a node or remove the edge")


def by_source(
    source: NDArray[Any], target: NDArray[Any], nodes: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Edges by source, stable, and the order that made them so (None when they stood so already).

    A counting sort, one pass a column: scipy's conversion of coordinates to compressed rows keeps the order of the
    input within a row, and parallel edges, as long as nobody asks it to sum them.
    """
    kind = ordinal_type(nodes)
    source, target = source.astype(kind, copy=False), target.astype(kind, copy=False)
    if len(source) == 0 or bool(np.all(source[:-1] <= source[1:])):
        return source, target, None
    rows: NDArray[Any] = np.arange(len(source), dtype=ordinal_type(len(source)))
    grid = coo_array((rows, (source, target)), shape=(nodes, nodes))
    grid.has_canonical_format = True  # or parallel edges would be summed away
    table = grid.tocsr()
    sources = np.repeat(np.arange(nodes, dtype=kind), np.diff(table.indptr))
    return sources, table.indices.astype(kind, copy=False), table.data

"""Slices: the durable form of some partitions of a graph, as shards store them and send them to each other.

A partition's slice holds its nodes, the edges that leave them, and a mirror of the edges that enter them from other
partitions. So it is complete, wherever the others are. A shard that holds several partitions leaves out mirrors of
edges whose source it also holds::

    partitions     3                    7                    9
    ids            [ by ordinal        | by ordinal         | by ordinal ]     node_bounds, a partition each
    out            [ by source         | by source          | by source  ]     out_bounds:  edges whose source is there
    into           [ by source         | by source          | by source  ]     in_bounds:   whose target is, alone

    Cut(data) --slices--> PartitionSet --to_wire--> disk, peers --from_wire--> PartitionSet --joined, select--> build
        `------------- to_wire -------------->

Edges are in canonical order within their partition (by source, and then as in the input). Any two edges that share an
end on this shard either come from one partition's list or differ in source. So a stable sort by source restores the
canonical order along the rows of a part, whichever partitions it has.

`from_wire` trusts nothing, and refuses data only with `BadGraph`. It can't check that two partitions' slices agree on
the edges between them, and relies on the process that cut them. Nor does it hash the ids again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoal.graph import columns as col
from shoal.graph.building import build_part, own_ordinals
from shoal.graph.graph_data import GraphData, named_specs, ordinal_type
from shoal.graph.ids import IdColumn
from shoal.graph.partition_checks import check_slices, check_table
from shoal.graph.shard_graph import Placement, ShardGraph
from shoal.graph.table import BadGraph, Column
from shoal.kernels.grouping import Grouping, taken

Array = NDArray[Any]
Bounds = NDArray[np.int64]
Rows = Callable[[Column, Sequence[tuple[int, slice]]], Column]

WIRE_FORMAT = 2


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of several partitions, one partition after the other: the ordinals of their ends, and columns."""

    source: Array
    target: Array
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(int(c.nbytes) for c in (self.source, self.target, *self.columns.values()))


@dataclass(frozen=True, eq=False)
class _Strewn:
    """Numbers of a column in several places: a frame of them is these pieces, one after the other."""

    pieces: Sequence[Array]

    def to_wire(self) -> tuple[dict[str, Any], list[Any]]:
        sent = [col.to_wire(piece) for piece in self.pieces]
        return {**sent[0][0], "length": sum(map(len, self.pieces))}, [[frame for _, (frame,) in sent]]


@dataclass(frozen=True, eq=False)
class PartitionSet:
    """Some partitions of a graph; see the module's docstring. The counts are those of the whole graph.

    The edges of an undirected graph are its arcs (`shoal.graph.graph_data`), and `edge_count` counts edges as given.
    """

    node_count: int
    edge_count: int
    partition_count: int
    partitions: tuple[int, ...]
    node_bounds: Bounds
    out_bounds: Bounds
    in_bounds: Bounds
    ids: IdColumn
    node_columns: Mapping[str, Column]
    out: Edges
    into: Edges
    directed: bool = True

    @classmethod
    def empty(
        cls,
        node_count: int,
        edge_count: int,
        partition_count: int,
        id_type: str,
        node_types: Mapping[str, str],
        edge_types: Mapping[str, str],
        *,
        directed: bool = True,
    ) -> PartitionSet:
        """Creates an empty set of partitions, of a graph with columns of those types (`columns.type_name`)."""
        end = np.empty(0, ordinal_type(node_count))
        none = Edges(end, end, {name: col.empty(kind) for name, kind in edge_types.items()})
        bounds = np.zeros(1, np.int64)
        columns = {name: col.empty(kind) for name, kind in node_types.items()}
        ids = col.empty(id_type)
        counts = node_count, edge_count, partition_count
        return cls(*counts, (), bounds, bounds, bounds, ids, columns, none, none, directed)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        columns = [self.ids, *self.node_columns.values()]
        return sum(int(c.nbytes) for c in columns) + self.out.nbytes + self.into.nbytes

    def select(self, partitions: Iterable[int]) -> PartitionSet:
        """Returns some of these partitions. Raises `BadGraph` if one of them is not here."""
        wanted = tuple(sorted(partitions))
        if wanted == self.partitions:
            return self
        return _picked([self], [(0, k) for k in self._places(wanted)])

    def to_wire(self) -> tuple[dict[str, Any], list[Any]]:
        """Returns a spec of plain values, and frames that are views of these arrays."""
        frames: list[Any] = []

        def sent(column: Column | _Strewn) -> dict[str, Any]:
            spec, more = column.to_wire() if isinstance(column, _Strewn) else col.to_wire(column)
            frames.extend(more)
            return spec

        def each(columns: Mapping[str, Column]) -> list[Any]:
            return [[name, sent(column)] for name, column in columns.items()]

        spec = {
            "format": WIRE_FORMAT,
            "nodes": self.node_count,
            "edges": self.edge_count,
            "directed": self.directed,
            "partition_count": self.partition_count,
            "partitions": sent(np.array(self.partitions, np.int64)),
            "out_bounds": sent(self.out_bounds),
            "in_bounds": sent(self.in_bounds),
            "ids": sent(self.ids),
            "node_columns": each(self.node_columns),
        }
        for name, edges in (("out", self.out), ("into", self.into)):
            spec[name] = {"source": sent(edges.source), "target": sent(edges.target), "columns": each(edges.columns)}
        return spec, frames

    @classmethod
    def from_wire(cls, spec: object, frames: Sequence[Any], partition_table: Array) -> PartitionSet:
        """Returns the slices that were sent, checked against the partition of every node. Raises `BadGraph`."""
        if col.field(spec, "format", int) != WIRE_FORMAT:
            raise BadGraph(f"the slices are not in format {WIRE_FORMAT}; do both shards have the same version?")
        assert isinstance(spec, Mapping)
        nodes, edges, count = (col.field(spec, name, int) for name in ("nodes", "edges", "partition_count"))
        check_table(partition_table, nodes, count)
        reader = col.FrameReader(frames)
        partitions = reader.numbers(spec.get("partitions"), "the partitions", np.dtype(np.int64))
        if len(partitions) and not 0 <= int(partitions.min()) <= int(partitions.max()) < count:
            raise BadGraph(f"the slices are not of partitions below {count}")
        if not bool(np.all(partitions[:-1] < partitions[1:])):
            raise BadGraph("the partitions of the slices do not ascend")
        slices = cls(
            node_count=nodes,
            edge_count=edges,
            partition_count=count,
            partitions=tuple(partitions.tolist()),
            node_bounds=_ends_of(np.bincount(partition_table, minlength=count)[partitions]),
            out_bounds=_read_bounds(reader, spec.get("out_bounds"), "out_bounds", len(partitions)),
            in_bounds=_read_bounds(reader, spec.get("in_bounds"), "in_bounds", len(partitions)),
            ids=reader.column(spec.get("ids"), "ids"),
            node_columns=reader.columns(named_specs(spec, "node_columns")),
            out=_read_edges(reader, spec.get("out"), "out", nodes),
            into=_read_edges(reader, spec.get("into"), "into", nodes),
            directed=col.field(spec, "directed", bool),
        )
        reader.check_end()
        check_slices(slices, partition_table)
        return slices

    def _places(self, partitions: Iterable[int]) -> list[int]:
        place = {partition: k for k, partition in enumerate(self.partitions)}
        wanted = list(partitions)
        missing = [partition for partition in wanted if partition not in place]
        if missing:
            raise BadGraph(f"the slices lack the partitions {', '.join(map(str, missing[:10]))}")
        return [place[partition] for partition in wanted]


class Cut:
    """Cuts slices from a whole graph. Groups nodes and edges by partition once, with a counting sort each.

    This copies the graph's edges twice, by source and by target; afterwards the graph can be released.
    """

    def __init__(self, data: GraphData) -> None:
        count = data.partition_count
        self._counts = data.node_count, data.edge_count, count
        self._ids, self._node_columns, self._directed = data.ids, data.node_columns, data.directed
        by_partition = Grouping(data.partition, count)
        self._nodes = _Nodes(by_partition.starts, by_partition.order())
        at_source = taken(data.partition, data.source)
        self._out = _grouped(data, at_source)
        at_target = taken(data.partition, data.target)
        within = at_target == at_source
        del at_source
        nowhere = at_target.astype(np.uint8 if count < 256 else np.int32, copy=False)
        nowhere[within] = count  # no partition, so these are left out
        self._into = _grouped(data, nowhere)

    @property
    def partition_count(self) -> int:
        """The number of partitions of the graph."""
        return self._counts[2]

    def some(self, partitions: Iterable[int]) -> Uncut:
        """Returns the slices of these partitions, each of which is cut only when it is used."""
        return Uncut(self, tuple(sorted(partitions)))

    def slices(self, partitions: Iterable[int]) -> PartitionSet:
        """Returns the slices of these partitions; the ends of edges are views where partitions are adjacent."""
        return self._slices(partitions, _moved)

    def to_wire(self, partitions: Iterable[int]) -> tuple[dict[str, Any], list[Any]]:
        """As `slices`, but does not copy numbers of edges: a frame of them is a list of views of this cut."""
        return self._slices(partitions, _strewn).to_wire()

    def _slices(self, partitions: Iterable[int], rows: Rows) -> PartitionSet:
        wanted = tuple(sorted(partitions))
        nodes = _rows([self._nodes.order], _stretch(self._nodes.starts, wanted))
        chosen = list(wanted)
        return PartitionSet(
            *self._counts,
            partitions=wanted,
            node_bounds=_ends_of(np.diff(self._nodes.starts)[chosen]),
            out_bounds=_ends_of(np.diff(self._out.starts)[chosen]),
            in_bounds=_ends_of(np.diff(self._into.starts)[chosen]),
            ids=col.take(self._ids, nodes),
            node_columns={name: col.slim(col.take(column, nodes)) for name, column in self._node_columns.items()},
            out=_edges(self._out, wanted, rows),
            into=_edges(self._into, wanted, rows),
            directed=self._directed,
        )


@dataclass(frozen=True, eq=False)
class Uncut:
    """Some partitions of a cut graph; a single one is cut without a copy of its edges."""

    cut: Cut
    partitions: tuple[int, ...]

    def select(self, partitions: Iterable[int]) -> PartitionSet:
        """Returns the slices of some of them."""
        return self.cut.slices(partitions)


def _grouped(data: GraphData, partition: Array) -> _Edges:
    grouping = Grouping(partition, data.partition_count)
    columns = {name: col.dealt(column, grouping) for name, column in data.edge_columns.items()}
    return _Edges(grouping.starts, grouping.deal(data.source), grouping.deal(data.target), columns)


def _edges(grouped: _Edges, partitions: Sequence[int], rows: Rows) -> Edges:
    runs = _stretch(grouped.starts, partitions)
    columns = {name: rows(column, runs) for name, column in grouped.columns.items()}
    return Edges(rows(grouped.source, runs), rows(grouped.target, runs), columns)


class _Nodes(NamedTuple):
    """Nodes by (partition, ordinal), and where each partition begins."""

    starts: Bounds
    order: Array


class _Edges(NamedTuple):
    """Edges by partition, in canonical order within each."""

    starts: Bounds
    source: Array
    target: Array
    columns: Mapping[str, Column]


def joined(pieces: Sequence[PartitionSet]) -> PartitionSet:
    """Joins slices of disjoint partitions of one graph. Raises `BadGraph` for any others."""
    first = pieces[0]
    shapes = {(p.node_count, p.edge_count, p.partition_count, p.directed, *_types(p)) for p in pieces}
    if len(shapes) > 1:
        raise BadGraph("these are slices of different graphs")
    if len(pieces) == 1:
        return first
    places = sorted((partition, i, k) for i, piece in enumerate(pieces) for k, partition in enumerate(piece.partitions))
    if len({partition for partition, _, _ in places}) < len(places):
        raise BadGraph("a partition occurs twice")
    return _picked(pieces, [(i, k) for _, i, k in places])


def build(
    graph: str, slices: PartitionSet | Uncut, partition_table: Array, placement: Placement, shard: int
) -> ShardGraph:
    """Builds a shard's part from the slices of its partitions in the placement. Raises `BadGraph`."""
    mine = slices.select(placement.partitions(shard))
    out, into = mine.out, mine.into
    elsewhere = (placement.holder != shard)[taken(partition_table, into.source)] if len(into) else np.empty(0, bool)
    crossing = np.flatnonzero(elsewhere)
    source, target = (
        np.concatenate([ours, theirs[crossing]]) if len(crossing) else ours
        for ours, theirs in ((out.source, into.source), (out.target, into.target))
    )
    columns = dict(out.columns)
    if len(crossing):
        columns = {name: col.joined([c, col.take(into.columns[name], crossing)]) for name, c in columns.items()}
    return build_part(
        graph,
        shard,
        placement,
        partition_table,
        source,
        target,
        edge_count=mine.edge_count,
        directed=mine.directed,
        ids=mine.ids,
        node_columns=mine.node_columns,
        edge_columns=columns,
    )


def part_of(graph: str, data: GraphData, placement: Placement, shard: int) -> ShardGraph:
    """Builds a shard's part directly from the whole graph, without slices and without sorting."""
    own = own_ordinals(data.partition, placement, shard)
    here = (placement.holder == shard)[data.partition]
    edges = np.flatnonzero(here[data.source] | here[data.target])
    return build_part(
        graph,
        shard,
        placement,
        data.partition,
        data.source[edges],
        data.target[edges],
        edge_count=data.edge_count,
        directed=data.directed,
        ids=col.take(data.ids, own),
        node_columns={name: col.take(column, own) for name, column in data.node_columns.items()},
        edge_columns={name: col.take(column, edges) for name, column in data.edge_columns.items()},
    )


# -- runs of rows ------------------------------------------------------------------------------------------------------


def _stretch(starts: Bounds, partitions: Iterable[int]) -> list[tuple[int, slice]]:
    return _runs((0, starts[p : p + 2]) for p in partitions)


def _runs(stretches: Iterable[tuple[int, Array]]) -> list[tuple[int, slice]]:
    """Merges rows of pieces, given as (piece, first row, end), so that adjacent ones are moved together."""
    runs: list[tuple[int, slice]] = []
    for piece, (first, end) in stretches:
        if runs and runs[-1][0] == piece and runs[-1][1].stop == first:
            runs[-1] = (piece, slice(runs[-1][1].start, int(end)))
        else:
            runs.append((piece, slice(int(first), int(end))))
    return runs or [(0, slice(0, 0))]


def _rows(columns: Sequence[Column], runs: Sequence[tuple[int, slice]]) -> Column:
    return col.joined([columns[piece][run] for piece, run in runs])


def _moved(column: Column, runs: Sequence[tuple[int, slice]]) -> Column:
    return col.slim(_rows([column], runs))


def _strewn(column: Column, runs: Sequence[tuple[int, slice]]) -> Column:
    return _moved(column, runs) if col.is_string(column) else _Strewn([column[run] for _, run in runs])


def _ends_of(counts: Array) -> Bounds:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _picked(pieces: Sequence[PartitionSet], places: Sequence[tuple[int, int]]) -> PartitionSet:
    """Selects the partitions at these ascending places (piece, position in it)."""
    first = pieces[0]

    def bounds(name: str) -> tuple[Bounds, list[tuple[int, slice]]]:
        stretches = [(i, getattr(pieces[i], name)[k : k + 2]) for i, k in places]
        return _ends_of(np.array([end - begin for _, (begin, end) in stretches], np.int64)), _runs(stretches)

    def columns(groups: Sequence[Mapping[str, Column]], runs: Sequence[tuple[int, slice]]) -> dict[str, Column]:
        return {name: col.slim(_rows([group[name] for group in groups], runs)) for name in groups[0]}

    def edges(each: Sequence[Edges], runs: Sequence[tuple[int, slice]]) -> Edges:
        source, target = _rows([e.source for e in each], runs), _rows([e.target for e in each], runs)
        return Edges(source, target, columns([e.columns for e in each], runs))

    (node_bounds, nodes), (out_bounds, out), (in_bounds, into) = map(bounds, ("node_bounds", "out_bounds", "in_bounds"))
    return PartitionSet(
        node_count=first.node_count,
        edge_count=first.edge_count,
        partition_count=first.partition_count,
        partitions=tuple(pieces[i].partitions[k] for i, k in places),
        node_bounds=node_bounds,
        out_bounds=out_bounds,
        in_bounds=in_bounds,
        ids=_rows([piece.ids for piece in pieces], nodes),
        node_columns=columns([piece.node_columns for piece in pieces], nodes),
        out=edges([piece.out for piece in pieces], out),
        into=edges([piece.into for piece in pieces], into),
        directed=first.directed,
    )


def _types(slices: PartitionSet) -> tuple[Any, ...]:
    groups = (slices.node_columns, slices.out.columns, slices.into.columns)
    return col.type_name(slices.ids), *(tuple((n, col.type_name(c)) for n, c in group.items()) for group in groups)


# -- input from elsewhere ----------------------------------------------------------------------------------------------


def _read_bounds(reader: col.FrameReader, spec: object, what: str, partitions: int) -> Bounds:
    bounds: Bounds = reader.numbers(spec, what, np.dtype(np.int64))
    if len(bounds) != partitions + 1 or bounds[0] != 0 or bool(np.any(bounds[:-1] > bounds[1:])):
        raise BadGraph(f"{what} of {partitions} partitions do not ascend from zero")
    return bounds


def _read_edges(reader: col.FrameReader, spec: object, what: str, nodes: int) -> Edges:
    kind = ordinal_type(nodes)
    source, target = (
        reader.numbers(col.field(spec, end, dict), f"{what}: {end}", kind) for end in ("source", "target")
    )
    assert isinstance(spec, Mapping)
    edges = Edges(source, target, reader.columns(named_specs(spec, "columns")))
    if len(source) != len(target):
        raise BadGraph(f"{what}: there are {len(source)} sources and {len(target)} targets")
    for ends in (source, target):
        if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < nodes:
            raise BadGraph(f"{what}: an edge ends at a node that is not one of {nodes}")
    return edges

"""One shard's part of a graph: its own nodes, the ghosts at its boundary, and every edge that touches it.

Local indices number the shard's own nodes first and the ghosts after them, so a kernel can use one array of `size +
ghosts` values directly::

    own nodes, by (partition, ordinal)          ghosts, by (owner, side, ordinal)
    [ partition 3 | partition 7 | ... ]         [ owner A: source-only, both, target-only | owner B: ... ]

Owner and holder sort a boundary the same way, each from its own edges, so values are sent as a bare slice, and no index
is ever exchanged. The order of the three sides makes the nodes whose values an in-edge reads (source-only and both),
and those that an out-edge reads (both and target-only), one contiguous slice each.

The in-edges of a node are in the order of their sources' ordinals, own nodes and ghosts alike, and parallel edges in
the order of the input. A reduction over them adds the same numbers in the same order on any shard, which makes results
bit-identical.

An undirected graph is held as arcs, two for each edge and one for a loop (`shoal.graph.graph_data`); then "edge" here
means arc, except in the counts `edge_count`, `held_edges` and `cross_edges`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from shoal.kernels.reductions import Kernel

Index: TypeAlias = NDArray[np.int32]
Array: TypeAlias = NDArray[Any]


class Direction(StrEnum):
    """The edges along which a node reads: incoming, outgoing, or both."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Boundary:
    """Nodes that two shards share: ghosts for their holder, own nodes for their owner.

    `nodes` are local indices sorted by (side, ordinal); the sides end at `source_only_end` and `both_end`.
    """

    nodes: NDArray[np.intp]
    source_only_end: int
    both_end: int

    def bounds(self, direction: Direction) -> slice:
        """Returns the part of the boundary whose values the holder's edges of `direction` read."""
        match direction:
            case Direction.IN:
                return slice(0, self.both_end)
            case Direction.OUT:
                return slice(self.source_only_end, len(self.nodes))
            case Direction.BOTH:
                return slice(0, len(self.nodes))
            case _:
                assert_never(direction)


@dataclass(frozen=True, slots=True)
class Adjacency:
    """Compressed rows, one per own node: the local indices of its neighbours and the edges that lead there."""

    indptr: NDArray[Any]
    neighbours: Index
    edges: Index

    @property
    def degree(self) -> NDArray[np.int64]:
        """The number of edges of each own node in this direction, counting parallel edges."""
        return np.diff(self.indptr).astype(np.int64)


@dataclass(frozen=True)
class ShardGraph:
    """One shard's part of one graph; immutable, shared by all runs on it.

    `ordinals` and `starts` describe the own nodes: their global ordinals, and where each of `partitions` begins (one
    entry more than there are partitions). `ghosts` maps a peer to the nodes that it owns and this shard reads, `sends`
    to the own nodes that the peer reads.
    """

    graph: str
    node_count: int
    edge_count: int
    partition_count: int
    shard: str
    peers: tuple[str, ...]
    partitions: tuple[int, ...]
    starts: NDArray[np.int64]
    ordinals: NDArray[np.int64]
    ghost_ordinals: NDArray[np.int64]
    ghosts: Mapping[str, Boundary]
    sends: Mapping[str, Boundary]
    in_edges: Adjacency
    out_edges: Adjacency
    cross_edges: int
    ids: Any = None
    node_columns: Mapping[str, Any] = field(default_factory=dict)
    edge_columns: Mapping[str, Any] = field(default_factory=dict)
    peer_partitions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    partition_table: Any = None
    directed: bool = True

    @property
    def size(self) -> int:
        """The number of own nodes."""
        return len(self.ordinals)

    @property
    def ghost_count(self) -> int:
        """The number of copies of other shards' nodes."""
        return len(self.ghost_ordinals)

    @property
    def held_edges(self) -> int:
        """The number of edges with an end here; one with both ends here counts once."""
        held = len(self.in_edges.edges) + len(self.out_edges.edges) - self.inner_arcs
        return held if self.directed else (held + self._loop_count) // 2

    @cached_property
    def own_edges(self) -> float:
        """The number of edges that leave an own node; an undirected one counts half at each end. The sum over all parts
        is the graph's.
        """
        arcs = len(self.out_edges.edges)
        return arcs if self.directed else (arcs + self._loop_count) / 2

    @property
    def loops(self) -> NDArray[np.int64]:
        """The number of edges from each own node to itself."""
        rows = np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.out_edges.indptr))
        return np.bincount(rows[rows == self.out_edges.neighbours], minlength=self.size)

    @cached_property
    def _loop_count(self) -> int:
        return int(self.loops.sum())

    @property
    def inner_arcs(self) -> int:
        """The number of arcs with both ends here."""
        return int(np.count_nonzero(self.in_edges.neighbours < self.size))

    @property
    def nbytes(self) -> int:
        """The bytes held. Kernels hold nothing of their own: their rows are the adjacencies'."""
        arrays: list[Any] = [self.ordinals, self.ghost_ordinals, self.starts, self.ids]
        for adjacency in (self.in_edges, self.out_edges):
            arrays += [adjacency.indptr, adjacency.neighbours, adjacency.edges]
        arrays += [boundary.nodes for side in (self.ghosts, self.sends) for boundary in side.values()]
        arrays += [*self.node_columns.values(), *self.edge_columns.values()]
        arrays.append(self.__dict__.get("_places"))  # if it was needed
        return sum(int(a.nbytes) for a in arrays if a is not None)

    @cached_property
    def in_degree(self) -> NDArray[np.int64]:
        """The number of incoming edges of each own node."""
        return self.in_edges.degree

    @cached_property
    def out_degree(self) -> NDArray[np.int64]:
        """The number of outgoing edges of each own node."""
        return self.out_edges.degree

    @cached_property
    def in_kernel(self) -> Kernel:
        """Reductions over the in-edges of every own node."""
        return Kernel(self.in_edges.indptr, self.in_edges.neighbours, self.size + self.ghost_count)

    @cached_property
    def out_kernel(self) -> Kernel:
        """Reductions over the out-edges of every own node."""
        return Kernel(self.out_edges.indptr, self.out_edges.neighbours, self.size + self.ghost_count)

    @cached_property
    def by_ordinal(self) -> NDArray[np.intp]:
        """The own nodes in ordinal order, for reading results."""
        return np.argsort(self.ordinals, kind="stable")

    @cached_property
    def owner_of_partition(self) -> NDArray[np.int16]:
        """For each partition, 0 if it is here, else its holder's position among `peers`, counted from 1."""
        owners = np.zeros(self.partition_count, np.int16)
        for i, peer in enumerate(self.peers, start=1):
            owners[list(self.peer_partitions[peer])] = i
        return owners

    @property
    def ordinal_type(self) -> type[np.int32] | type[np.int64]:
        """The type that holds any node's ordinal."""
        return np.int32 if self.node_count < 1 << 31 else np.int64

    def local_of(self, ordinals: Array) -> NDArray[np.int64]:
        """Returns the local indices of own nodes, by ordinal; -1 for any other number."""
        if not self.size or not len(ordinals):
            return np.full(len(ordinals), -1, np.int64)
        local = self._places.take(ordinals, mode="clip").astype(np.int64)
        if ordinals.min() < 0 or ordinals.max() >= self.node_count:
            local[(ordinals < 0) | (ordinals >= self.node_count)] = -1
        return local

    @cached_property
    def _places(self) -> NDArray[np.int32]:
        """Maps an ordinal to the local index of an own node, else -1: four bytes per node, built on first use.

        A search among the own ordinals takes ten times as long, and every delivered message needs one lookup.
        """
        places = np.full(self.node_count, -1, np.int32)
        places[self.ordinals] = np.arange(self.size, dtype=np.int32)
        return places

    def all_ordinals(self) -> NDArray[np.int64]:
        """Returns ordinals by local index: own nodes, then ghosts."""
        return np.concatenate([self.ordinals, self.ghost_ordinals])


@dataclass(frozen=True, slots=True)
class Placement:
    """Which shard holds which partition: the shards in order, and the index of the holder of each partition."""

    shards: tuple[str, ...]
    holder: NDArray[np.int16]

    @classmethod
    def of(cls, owners: Sequence[str], shards: Sequence[str]) -> Placement:
        """Creates a placement from the primary of each partition."""
        index = {name: i for i, name in enumerate(shards)}
        return cls(tuple(shards), np.array([index[name] for name in owners], dtype=np.int16))

    def partitions(self, shard: int) -> tuple[int, ...]:
        """Returns the partitions that a shard holds, in order."""
        return tuple(int(p) for p in np.flatnonzero(self.holder == shard))

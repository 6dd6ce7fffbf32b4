"""Builds a part from the edges that touch a shard: its rows, its ghosts, and what it sends to its peers.

    edges (ordinals) --count--> ghosts --> local indices --group--> rows by target and by source
                     --mark, a row of marks a peer--> sends

Everything is linear in the edges: counting the nodes at both ends finds the ghosts, one pass per direction finds what a
peer sees, and counting sorts build the rows. Nothing is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph.shard_graph import Adjacency, Boundary, Placement, ShardGraph
from shoal.kernels import _native
from shoal.kernels.grouping import Grouping, taken

Array = NDArray[Any]

AS_SOURCE, AS_TARGET = 1, 2
SIDES = np.array([0, 0, 2, 1], np.int16)
"""By how a peer sees a node (the bits above): a boundary has source-only, both and target-only in this order."""


def own_ordinals(partition: Array, placement: Placement, shard: int) -> NDArray[np.int64]:
    """Returns the ordinals of a shard's nodes in local order: by partition, then by ordinal."""
    mine = np.flatnonzero((placement.holder == shard)[partition])
    return mine[np.argsort(partition[mine], kind="stable")]


def build_part(
    graph: str,
    shard: int,
    placement: Placement,
    partition: Array,
    source: Array,
    target: Array,
    *,
    edge_count: int,
    directed: bool = True,
    ids: Any = None,
    node_columns: Mapping[str, Any] | None = None,
    edge_columns: Mapping[str, Any] | None = None,
) -> ShardGraph:
    """Builds a shard's part from the partition of every node and the edges that touch the shard.

    `source` and `target` are ordinals; `edge_columns` go with them, `node_columns` with the own nodes in local order.
    Edges that share an own end are in canonical order if they have the same source; otherwise their order does not
    matter.
    """
    own = own_ordinals(partition, placement, shard)
    holder = placement.holder[partition]
    by_source, by_target = Grouping(source, len(partition)), Grouping(target, len(partition))
    ghost_ordinals, ghosts = _ghosts(shard, placement, holder, by_source, by_target, len(own))
    local = np.full(len(partition), -1, dtype=np.int32)
    local[own] = np.arange(len(own), dtype=np.int32)
    local[ghost_ordinals] = np.arange(len(own), len(own) + len(ghost_ordinals), dtype=np.int32)
    sends = _sends(shard, placement, holder, local, source, target, len(own))
    in_edges, out_edges, cross_edges = _rows(local, by_source, by_target, len(own), directed)
    partitions = placement.partitions(shard)
    counts = np.bincount(partition[own], minlength=len(placement.holder))[list(partitions)]
    return ShardGraph(
        graph=graph,
        node_count=len(partition),
        edge_count=edge_count,
        partition_count=len(placement.holder),
        shard=placement.shards[shard],
        peers=tuple(name for name in placement.shards if name != placement.shards[shard]),
        partitions=partitions,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        ordinals=own,
        ghost_ordinals=ghost_ordinals,
        ghosts=ghosts,
        sends=sends,
        in_edges=in_edges,
        out_edges=out_edges,
        cross_edges=cross_edges,
        ids=ids,
        node_columns=dict(node_columns or {}),
        edge_columns=dict(edge_columns or {}),
        peer_partitions={name: placement.partitions(i) for i, name in enumerate(placement.shards)},
        partition_table=partition,
        directed=directed,
    )


def _rows(
    local: Array, by_source: Grouping, by_target: Grouping, size: int, directed: bool
) -> tuple[Adjacency, Adjacency, int]:
    """Returns the edges by own target, by own source, and how many of them lead to other shards.

    Ghosts have indices above the own nodes and therefore no row; dealing edges in the order of their sources keeps that
    order.
    """
    source, target = by_source.keys, by_target.keys
    rows, columns = taken(local, source), taken(local, target)
    leaving = Grouping(rows, size)
    out_edges = Adjacency(_indptr(leaving), leaving.deal(columns), leaving.order())
    coming = Grouping(columns, size)
    ascend = bool(np.all(source[:-1] <= source[1:]))
    edges = coming.order(None if ascend else by_source.order())
    in_edges = Adjacency(_indptr(coming), taken(rows, edges), edges)
    if directed:
        return in_edges, out_edges, int(np.count_nonzero(out_edges.neighbours >= size))
    # Either shard holds both arcs; the one that the shard of the lesser end owns represents the edge.
    return in_edges, out_edges, int(np.count_nonzero((rows < size) & (columns >= size) & (source < target)))


def _indptr(grouping: Grouping) -> NDArray[Any]:
    return grouping.starts.astype(np.int32 if len(grouping) < 1 << 31 else np.int64)


def _ghosts(
    shard: int, placement: Placement, holder: Array, by_source: Grouping, by_target: Grouping, own: int
) -> tuple[NDArray[np.int64], dict[str, Boundary]]:
    """Returns the ordinals of nodes that others hold, by (owner, side, ordinal), and each owner's boundary."""
    seen = AS_SOURCE * (np.diff(by_source.starts) > 0) + AS_TARGET * (np.diff(by_target.starts) > 0)
    seen[holder == shard] = 0
    touched = np.flatnonzero(seen)
    key = holder[touched].astype(np.int32) * 3 + SIDES[seen[touched]]
    grouping = Grouping(key, 3 * len(placement.shards))
    ends = grouping.starts
    ghosts = {}
    for i, name in enumerate(placement.shards):
        if i == shard:
            continue
        first, both, target_only, end = (int(ends[3 * i + k]) for k in range(4))
        nodes = np.arange(own + first, own + end, dtype=np.intp)
        ghosts[name] = Boundary(nodes, both - first, target_only - first)
    return grouping.deal(touched), ghosts


def _sends(
    shard: int, placement: Placement, holder: Array, local: Array, source: Array, target: Array, size: int
) -> dict[str, Boundary]:
    """Returns what each peer holds as ghosts of this shard, computed from our own mirror of the edges between us.

    Uses one row of marks per peer, with one column per own node in ordinal order: over all shards, about a byte per
    node.
    """
    mine = np.flatnonzero(holder == shard)
    rank = np.full(len(holder), -1, np.int32)
    rank[mine] = np.arange(size, dtype=np.int32)
    holders = holder.astype(np.int32)
    seen = np.zeros((len(placement.shards), size), np.uint8)
    _native.touch(seen.reshape(-1), source, target, holders, rank, size, AS_SOURCE)
    _native.touch(seen.reshape(-1), target, source, holders, rank, size, AS_TARGET)
    sends = {}
    for i, name in enumerate(placement.shards):
        if i == shard:
            continue
        touched = np.flatnonzero(seen[i])
        side = Grouping(SIDES[seen[i][touched]], 3)
        nodes = local[mine[side.deal(touched)]].astype(np.intp)
        sends[name] = Boundary(nodes, int(side.starts[1]), int(side.starts[2]))
    return sends

"""Edges between shards: their number depends on the placement, so they are counted on demand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.client.session import Run


def cross_shard_edges(run: Run) -> dict[str, int]:
    """Returns the number of a colony's edges from each shard to other shards, in the current placement.

    Each edge counts once, at the shard of its lesser end. The figures of the run have the edges between partitions,
    which do not depend on the placement.
    """
    ring = run.ring()
    found = Counter(dict.fromkeys(sorted(set(ring)), 0))
    for partition, other, edges in run.table_rows("crossings"):
        if ring[partition] != ring[other]:
            found[ring[partition]] += edges
    return dict(found)

"""Edges between shards: how many there are depends on the cut, so they are counted when somebody asks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.client.session import Run


def cross_shard_edges(run: Run) -> dict[str, int]:
    """Of a colony's run: how many edges lead from each shard to another one, in the present placement.

    An edge is counted once, at the shard where its lesser end is. Edges between partitions, which no placement changes,
    are among the figures of the run.
    """
    ring = run.ring()
    found = Counter(dict.fromkeys(sorted(set(ring)), 0))
    for partition, other, edges in run.table_rows("crossings"):
        if ring[partition] != ring[other]:
            found[ring[partition]] += edges
    return dict(found)

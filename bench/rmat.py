"""R-MAT graphs, the usual substitute for social networks and the web: few nodes with very many edges, many with few.

Each edge falls through `scale` levels of a recursively quartered adjacency matrix; at each it picks a quarter with
probabilities a, b, c and d (Chakrabarti, Zhan and Faloutsos, "R-MAT: A Recursive Model for Graph Mining", SDM 2004).
The parameters are those of Graph500 (specification 2.0, section 4.1): a = 0.57, b = c = 0.19, d = 0.05, 16 edges per
node. Node numbers are shuffled, as there, so that a node's degree does not follow from its number. Self-loops are
removed, and so are duplicates: at scale 18 about 3.9 million of 4.2 million edges remain.

    python bench/rmat.py 18 rmat18.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

A, B, C = 0.57, 0.19, 0.19


def rmat(
    scale: int, edge_factor: int = 16, seed: int = 1, *, distinct: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns sources and targets of an R-MAT graph of 2**scale nodes, in random order; the same for the same seed."""
    random = np.random.default_rng(seed)
    count = edge_factor << scale
    source, target = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for _ in range(scale):
        draw = random.random(count, dtype=np.float32)
        lower = draw >= A + B  # a, b, c and d divide the line from 0 to 1 in this order
        right = ((draw >= A) & ~lower) | (draw >= A + B + C)
        source += source + lower
        target += target + right
    shuffled = random.permutation(1 << scale)
    source, target = shuffled[source], shuffled[target]
    keep = source != target
    source, target = source[keep], target[keep]
    if distinct:
        key = np.sort((source << scale) | target)
        key = key[np.concatenate([[True], key[1:] != key[:-1]])]  # ten times as fast as np.unique, which hashes
        random.shuffle(key)
        source, target = key >> scale, key & ((1 << scale) - 1)
    return source, target


def write_parquet(path: Path | str, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
    """Writes an edge file for `shoal.graph.sources.read_graph`."""
    pq.write_table(pa.table({"source": source, "target": target}), path)


if __name__ == "__main__":
    write_parquet(sys.argv[2], *rmat(int(sys.argv[1])))

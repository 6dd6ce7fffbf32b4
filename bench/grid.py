"""A thinned grid, a substitute for road networks: few edges per node, and a large diameter.

Each node of a square grid is joined to its right and its lower neighbour with probability `keep`. Above one half (the
threshold of bond percolation on the square lattice, Kesten, "The critical probability of bond percolation on the square
lattice equals 1/2", Comm. Math. Phys. 74, 1980) nearly all nodes are connected; slightly above it the paths around
holes are long. Every edge is written in both directions with the same weight, so that algorithms for directed and for
undirected graphs give the same results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grid(
    side: int, keep: float = 0.6, seed: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Returns sources, targets and weights of a grid of side * side nodes; the same for the same seed.

    >>> source, target, weight = grid(2, keep=1.0)
    >>> sorted(zip(source.tolist(), target.tolist()))
    [(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 3), (3, 1), (3, 2)]
    """
    random = np.random.default_rng(seed)
    node = np.arange(side * side, dtype=np.int64).reshape(side, side)
    here = np.concatenate([node[:, :-1].ravel(), node[:-1, :].ravel()])
    there = np.concatenate([node[:, 1:].ravel(), node[1:, :].ravel()])
    kept = random.random(len(here)) < keep
    here, there = here[kept], there[kept]
    weight = 1.0 - random.random(len(here))
    source, target = np.concatenate([here, there]), np.concatenate([there, here])
    order = np.lexsort((target, source))
    return source[order], target[order], np.concatenate([weight, weight])[order]

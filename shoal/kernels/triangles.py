"""Triangles, and what the local clustering coefficient needs: sets of neighbours, and the arcs between them.

Each neighbour counts once, whatever the direction and number of edges; `arcs` says whether they lead one way (1) or
both (2). Of two neighbours, the one with fewer neighbours keeps the other (`Sets.oriented`), so hubs keep few. A
triangle is found from its lowest corner, at that node's owner, which needs its neighbours' sets::

    sets = neighbour_sets(out, into)           own nodes' neighbours, by local index
    upper = sets.oriented(degree, ordinals)    after the ghosts' degrees have come
    corner_arcs(upper, size)                   after the ghosts' sets have come: one row for each own node and ghost

All results are counts, so the order of the work changes nothing. The loops are compiled (`shoal/native`:
neighbourhoods, triangles).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native
from shoal.kernels.reductions import Kernel

Array = NDArray[Any]

BLOCKS_A_THREAD = 8
"""Blocks with equal numbers of members may differ in work, so each thread takes more than one."""


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """Row i holds the distinct local indices `members[starts[i]:starts[i + 1]]`, each with its number of arcs."""

    starts: NDArray[np.int64]
    members: NDArray[np.int32]
    arcs: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of members of each row; for whole sets, the nodes' degrees."""
        return np.diff(self.starts)

    @property
    def nbytes(self) -> int:
        """The bytes held."""
        return self.starts.nbytes + self.members.nbytes + self.arcs.nbytes

    def oriented(self, degree: NDArray[np.int64], ordinals: NDArray[np.int64]) -> Sets:
        """Returns the members with a greater (degree, ordinal) than their row's; both by local index, with ghosts."""
        _native.check_rows(self.starts, self.members, len(degree))
        starts, members, arcs = np.empty_like(self.starts), np.empty_like(self.members), np.empty_like(self.arcs)
        rows = self.starts, self.members, self.arcs
        count = _native.oriented(*rows, degree, ordinals, starts, members, arcs, len(degree))
        return Sets(starts, members[:count].copy(), arcs[:count].copy())


def neighbour_sets(out: Kernel, into: Kernel) -> Sets:
    """Returns every own node's distinct neighbours except itself, in its edges' order, out-edges first."""
    if (out.rows, out.width) != (into.rows, into.width):
        raise ValueError("the rows of both directions have to be the same nodes")
    room = len(out.neighbours) + len(into.neighbours)
    starts, members, arcs = np.empty(out.rows + 1, np.int64), np.empty(room, np.int32), np.empty(room, np.uint8)
    rows = out.indptr, out.neighbours, into.indptr, into.neighbours
    count = _native.neighbourhoods(*rows, starts, members, arcs, out.width)
    return Sets(starts, members[:count].copy(), arcs[:count].copy())


def corner_arcs(upper: Sets, own: int, pool: ThreadPoolExecutor | None = None, threads: int = 1) -> NDArray[np.int64]:
    """Returns, for every local index, the sum of arcs between the other two corners of its triangles.

    `upper` has a row for every local index, oriented; the triangles are those whose lowest corner is one of the first
    `own` rows. Exactly one shard finds each, so the shards' sums for a node add up to the whole.
    """
    width = len(upper)
    if not 0 <= own <= width or width > 2**30:
        raise ValueError(f"{own} rows of {width} can't be counted from")
    _native.check_rows(upper.starts, upper.members, width)
    row_of = np.argsort(np.bincount(upper.members, minlength=width), kind="stable").astype(np.int32)[::-1].copy()
    rank_of = np.empty(width, np.int32)
    rank_of[row_of] = np.arange(width, dtype=np.int32)
    entries = rank_of[upper.members]
    entries <<= 1
    entries |= upper.arcs == 2
    credits = np.zeros(width, np.int64)

    def block(span: tuple[int, int]) -> None:
        _native.triangles(upper.starts, entries, row_of, rank_of, credits, *span)

    for _ in map(block, [(0, own)]) if pool is None else pool.map(block, _spans(upper, own, threads)):
        pass
    return credits[rank_of]


def _spans(upper: Sets, own: int, threads: int) -> list[tuple[int, int]]:
    """Returns blocks of own rows with about as many members each."""
    marks = np.linspace(0, int(upper.starts[own]), threads * BLOCKS_A_THREAD + 1)[1:-1]
    return list(pairwise([0, *np.searchsorted(upper.starts[: own + 1], marks).tolist(), own]))

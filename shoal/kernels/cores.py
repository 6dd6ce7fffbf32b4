"""Core numbers within one shard's part, given the current numbers of its ghosts.

The first call computes them by peeling. Later calls look only at nodes that depend on ghosts whose numbers have fallen,
so an exchange costs as much as it changes. The loops are compiled (`shoal/native`: cores).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.kernels import _native
from shoal.kernels.grouping import Grouping
from shoal.kernels.triangles import Sets

Array = NDArray[Any]

LOOKS_A_MEMBER = 4
"""If lowering numbers takes more looks than this for each entry of the rows, it stops, and all is peeled again: it may
visit a node many times, while peeling visits it once. For R-MAT 18 on four shards, no tick takes three looks.
"""


class Cores:
    """The numbers of own nodes: the greatest k such that k neighbours have a number of at least k.

    `sets` are own nodes' neighbours, ghosts among them. Ghosts' numbers may fall from call to call, but never rise.
    """

    def __init__(self, sets: Sets, ghosts: int) -> None:
        self._own = len(sets)
        self._degree = sets.lengths
        self._starts, self._members = _with_ghosts(sets, ghosts)
        self._keys: NDArray[np.int32] | None = None
        self._support = np.empty(self._own, np.int32)

    def given(self, ghosts: Array) -> NDArray[np.int32]:
        """Returns the own nodes' numbers for these numbers of ghosts (by local index); valid until the next call."""
        if self._keys is None or not self._fallen(self._keys, ghosts):
            self._keys = np.concatenate([self._degree, ghosts]).astype(np.int32)
            _native.cores(self._starts, self._members, self._keys, self._support, self._own)
        return self._keys[: self._own]

    def _fallen(self, keys: NDArray[np.int32], ghosts: Array) -> bool:
        fallen = self._own + np.flatnonzero(ghosts < keys[self._own :]).astype(np.int32)
        before = keys[fallen]
        keys[fallen] = ghosts[fallen - self._own]
        looks = LOOKS_A_MEMBER * len(self._members)
        rows = self._starts, self._members
        return _native.fallen_cores(*rows, keys, self._support, fallen, before, self._own, looks)


def _with_ghosts(sets: Sets, ghosts: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Returns the sets of own nodes, followed, for each ghost, by the own nodes that hold it."""
    _native.check_rows(sets.starts, sets.members, len(sets) + ghosts)
    if not ghosts:
        return sets.starts, sets.members
    holders = Grouping(sets.members - np.int32(len(sets)), ghosts)  # own nodes belong to no pile
    own: NDArray[np.int32] = np.repeat(np.arange(len(sets), dtype=np.int32), sets.lengths)
    starts = np.concatenate([sets.starts, sets.starts[-1] + holders.starts[1:]])
    return starts, np.concatenate([sets.members, holders.deal(own)])

"""The compiled loops of `shoal.kernels.reductions`; what each does is said beside it in native/*.c.

All of them check the types and lengths of their arrays (`TypeError`, `ValueError`), trust the indices of rows that
have been through `check_rows`, and release the GIL.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Starts: TypeAlias = NDArray[np.int32] | NDArray[np.int64]
Index: TypeAlias = NDArray[np.int32]
Numbers: TypeAlias = NDArray[np.float64] | NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_] | NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[Any]

def check_rows(indptr: Starts, neighbours: Index, width: int, /) -> None: ...
def gather(
    indptr: Starts,
    neighbours: Index,
    values: Numbers,
    weights: Numbers | None,
    out: Numbers,
    merge: int,
    width: int,
    first: int,
    last: int,
    /,
) -> None: ...
def count(
    indptr: Starts, neighbours: Index, values: Numbers | Flags, out: Integers, width: int, first: int, last: int, /
) -> None: ...
def rank_step(
    indptr: Starts,
    neighbours: Index,
    share: Floats,
    per_edge: Floats,
    rank: Floats,
    next: Floats,
    damping: float,
    base: float,
    width: int,
    first: int,
    last: int,
    /,
) -> None: ...
def sum_all(values: Floats, /) -> float: ...
def sum_rows(values: Floats, starts: NDArray[np.int64], sums: Floats, /) -> None: ...
def mode(
    indptr: Starts,
    neighbours: Index,
    more_indptr: Starts | None,
    more_neighbours: Index | None,
    labels: Index,
    out: Index,
    bound: int,
    width: int,
    first: int,
    last: int,
    /,
) -> None: ...
def tally(keys: Keys, starts: Integers, /) -> None: ...
def deal(keys: Keys, starts: Integers, values: NDArray[Any], out: NDArray[Any], /) -> None: ...
def order(keys: Keys, starts: Integers, through: Index | None, out: Index, /) -> None: ...
def touch(
    marks: NDArray[np.uint8],
    near: Starts,
    far: Starts,
    holders: Index,
    places: Index,
    width: int,
    mark: int,
    /,
) -> None: ...
def components(
    out_indptr: Starts, out_neighbours: Index, in_indptr: Starts, in_neighbours: Index, labels: Index, width: int, /
) -> int: ...
def breadth_first(
    out_indptr: Starts,
    out_neighbours: Index,
    in_indptr: Starts | None,
    in_neighbours: Index | None,
    depth: Integers,
    given: Index,
    given_depth: Integers,
    reached: Index,
    waiting: Flags,
    width: int,
    limit: int,
    /,
) -> int: ...
def shortest_paths(
    out_indptr: Starts,
    out_neighbours: Index,
    weights: Floats,
    distance: Floats,
    given: Index,
    changed: Index,
    waiting: Flags,
    width: int,
    limit: float,
    /,
) -> int: ...
def neighbourhoods(
    out_indptr: Starts,
    out_neighbours: Index,
    in_indptr: Starts,
    in_neighbours: Index,
    starts: Integers,
    members: Index,
    arcs: Flags,
    width: int,
    /,
) -> int: ...
def oriented(
    starts: Integers,
    members: Index,
    arcs: Flags,
    degree: Integers,
    ordinal: Integers,
    kept_starts: Integers,
    kept_members: Index,
    kept_arcs: Flags,
    width: int,
    /,
) -> int: ...
def triangles(
    starts: Integers, entries: Index, row_of: Index, rank_of: Index, credits: Integers, first: int, last: int, /
) -> None: ...
def cores(starts: Integers, members: Index, keys: Index, support: Index, own: int, /) -> None: ...
def fallen_cores(
    starts: Integers,
    members: Index,
    keys: Index,
    support: Index,
    fallen: Index,
    before: Index,
    own: int,
    looks: int,
    /,
) -> bool: ...
def plain(
    dicts: list[dict[Any, Any]], held: int, skip: str | None, tuples: bool, shared: bool, /
) -> tuple[int, str, str, object] | None: ...

"""Gathers: what every node reads of its neighbours, by kind of reduction and direction of edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoal.declarations import Merge
from shoal.errors import UnknownColumn, did_you_mean
from shoal.kernels import Kernel
from shoal.part import Direction

if TYPE_CHECKING:
    from shoal.workspace import Workspace

Array = NDArray[Any]


def gather(
    ws: Workspace,
    values: Array,
    merge: Merge | np.ufunc,
    direction: Direction,
    weight: str | None,
    identity: float | int | None,
) -> Array:
    """Reduce `values` (by local index: own nodes, then ghosts) over the neighbours of every own node."""
    if isinstance(merge, np.ufunc):
        return _fold(ws, values, merge, direction, identity)
    if merge is Merge.MODE:
        return _mode(ws, values, direction)
    if merge is Merge.COUNT:
        return gather(ws, (values != 0).astype(np.int64), Merge.SUM, direction, weight, identity)
    if direction is Direction.BOTH:
        sides = (gather(ws, values, merge, side, weight, identity) for side in (Direction.IN, Direction.OUT))
        return merge.ufunc(*sides)  # type: ignore[no-any-return]
    return _merged(ws, values, merge, direction, weight)


def _merged(ws: Workspace, values: Array, merge: Merge, direction: Direction, weight: str | None) -> Array:
    kernel = _kernel(ws, direction)
    if weight is None:
        if merge is Merge.SUM:
            return kernel.sum(values, ws.pool, ws.threads)
        return kernel.reduce(merge.ufunc, values, merge.identity(values.dtype))
    weights = edge_values(ws, weight, direction)
    read = values[kernel.neighbours]
    read = read * weights if merge is Merge.SUM else read + weights
    return _reduced(kernel, merge.ufunc, read, merge.identity(read.dtype))


def edge_values(ws: Workspace, name: str, direction: Direction) -> Array:
    """A numeric edge column in the order in which the rows of that direction have their edges."""
    columns = ws.part.edge_columns
    if name not in columns:
        raise UnknownColumn(
            f"the graph's edges have no column '{name}'{did_you_mean(name, columns)}; they have: {', '.join(columns)}"
        )
    column = columns[name]
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "if":
        raise UnknownColumn(f"the edges' column '{name}' does not hold numbers")
    adjacency = ws.part.in_edges if direction is Direction.IN else ws.part.out_edges
    return column[adjacency.edges]


def _fold(ws: Workspace, values: Array, ufunc: np.ufunc, direction: Direction, identity: float | int | None) -> Array:
    if identity is None:
        identity = ufunc.identity
    if identity is None:
        raise ValueError(f"what a node without neighbours gets of '{ufunc.__name__}' has to be said: identity=...")
    if direction is Direction.BOTH:
        raise ValueError("a ufunc reduces in one direction: gather twice, and say how the two become one")
    kernel = _kernel(ws, direction)
    return _reduced(kernel, ufunc, values[kernel.neighbours], values.dtype.type(identity))


def _reduced(kernel: Kernel, ufunc: np.ufunc, read: Array, identity: Any) -> Array:
    """Reduce values that stand by edge, row by row. `reduceat` takes no empty rows."""
    result = np.full(kernel.rows, identity, dtype=read.dtype)
    filled = np.flatnonzero(np.diff(kernel.indptr))
    if len(filled):
        result[filled] = ufunc.reduceat(read, kernel.indptr[filled])
    return result


def _mode(ws: Workspace, values: Array, direction: Direction) -> Array:
    """The most frequent value of each row, the least of several; the greatest of its type where there is none."""
    sides = (Direction.IN, Direction.OUT) if direction is Direction.BOTH else (direction,)
    kernels = [_kernel(ws, side) for side in sides]
    rows = np.concatenate([np.repeat(np.arange(k.rows), np.diff(k.indptr)) for k in kernels])
    read = np.concatenate([values[k.neighbours] for k in kernels])
    result = np.full(ws.part.size, Merge.MODE.identity(values.dtype), values.dtype)
    if not len(rows):
        return result
    order = np.lexsort((read, rows))
    rows, read = rows[order], read[order]
    starts = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]) | (read[1:] != read[:-1])]))
    counts = np.diff(np.append(starts, len(rows)))
    best = np.lexsort((read[starts], -counts, rows[starts]))
    found, first = np.unique(rows[starts][best], return_index=True)
    result[found] = read[starts][best][first]
    return result


def _kernel(ws: Workspace, direction: Direction) -> Kernel:
    return ws.part.in_kernel if direction is Direction.IN else ws.part.out_kernel

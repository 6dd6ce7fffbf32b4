"""Gathers: reductions over every node's neighbours, by kind of reduction and direction of edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn
from shoal.graph.shard_graph import Direction
from shoal.kernels.reductions import Kernel
from shoal.program.declarations import Merge

if TYPE_CHECKING:
    from shoal.engine.workspace import Workspace

Array = NDArray[Any]


def gather(
    ws: Workspace,
    values: Array,
    merge: Merge | np.ufunc,
    direction: Direction,
    weight: str | None,
    identity: float | int | None,
) -> Array:
    """Reduces `values` (by local index: own nodes, then ghosts) over the neighbours of every own node."""
    if isinstance(merge, np.ufunc):
        return _fold(ws, values, merge, direction, identity)
    if merge is Merge.MODE:
        return _mode(ws, values, direction)
    if merge is Merge.COUNT:
        return _count(ws, values, direction, weight)
    if direction is Direction.BOTH:
        sides = (gather(ws, values, merge, side, weight, identity) for side in (Direction.IN, Direction.OUT))
        return merge.ufunc(*sides)  # type: ignore[no-any-return]
    return _merged(ws, values, merge, direction, weight)


def _merged(ws: Workspace, values: Array, merge: Merge, direction: Direction, weight: str | None) -> Array:
    weights = None if weight is None else edge_values(ws, weight, direction, values.dtype)
    identity = merge.identity(values.dtype if weights is None else weights.dtype)
    return _kernel(ws, direction).reduce(merge.ufunc, values, identity, ws.pool, ws.threads, weights=weights)


def _count(ws: Workspace, values: Array, direction: Direction, weight: str | None) -> Array:
    some = values != 0
    if weight is not None:
        return gather(ws, some.astype(np.int64), Merge.SUM, direction, weight, None)
    sides = (Direction.IN, Direction.OUT) if direction is Direction.BOTH else (direction,)
    first, *more = (_kernel(ws, side).count(some, ws.pool, ws.threads) for side in sides)
    return first + more[0] if more else first


def edge_values(ws: Workspace, name: str, direction: Direction, beside: np.dtype[Any]) -> Array:
    """Returns a numeric edge column in the order in which that direction's rows have their edges.

    The values have the result type of the column and `beside`. A graph does not change during a run, so the result is
    computed once and kept while the run is here, which costs one value per edge that this shard holds.
    """
    key = name, direction, beside.char
    if key not in ws.edge_values:
        column = _numbers(ws, name)
        adjacency = ws.part.in_edges if direction is Direction.IN else ws.part.out_edges
        values = column[adjacency.edges].astype(np.result_type(column, beside), copy=False)
        values.flags.writeable = False
        ws.edge_values[key] = values
    return ws.edge_values[key]


def _numbers(ws: Workspace, name: str) -> Array:
    columns = ws.part.edge_columns
    if name not in columns:
        raise UnknownColumn.of_graph("edge", name, columns)
    column = columns[name]
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "if":
        raise UnknownColumn(f"the edges' column '{name}' does not hold numbers")
    return column


def _fold(ws: Workspace, values: Array, ufunc: np.ufunc, direction: Direction, identity: float | int | None) -> Array:
    if identity is None:
        identity = ufunc.identity
    if identity is None:
        raise ValueError(f"give the value of '{ufunc.__name__}' for a node without neighbours: identity=...")
    if direction is Direction.BOTH:
        raise ValueError("a ufunc reduces in one direction: gather twice and combine the two results")
    return _kernel(ws, direction).reduce(ufunc, values, values.dtype.type(identity), ws.pool, ws.threads)


def _mode(ws: Workspace, values: Array, direction: Direction) -> Array:
    """Returns each row's most frequent value, the least if several are; the greatest value of the type for an empty
    row.
    """
    if direction is Direction.BOTH:
        kernel, also = ws.part.out_kernel, ws.part.in_kernel
    else:
        kernel, also = _kernel(ws, direction), None
    return kernel.mode(values, Merge.MODE.identity(values.dtype), also, ws.pool, ws.threads)


def _kernel(ws: Workspace, direction: Direction) -> Kernel:
    return ws.part.in_kernel if direction is Direction.IN else ws.part.out_kernel

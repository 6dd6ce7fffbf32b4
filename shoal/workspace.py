"""One shard's share of one run, as its program sees it: columns, gathers, aggregates and channels.

A column has two states side by side: the committed one of the last tick, which is all that a program reads, and the
working one of this tick, which it writes. A tick can so be dropped whole. Both are arrays over own nodes and ghosts,
and they change places when the tick is committed; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.errors import UnknownColumn, did_you_mean
from shoal.part import Direction, Part
from shoal.program import Aggregate, Channel, Merge, Program

Array = NDArray[Any]


@dataclass(slots=True)
class Posted:
    """What was posted on one channel in this tick: local indices of senders and targets, and a value each."""

    senders: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)


class Workspace:
    """What a program works on. Arrays are over the shard's own nodes, in local order; see `shoal.part`."""

    def __init__(self, part: Part, program: Program, pool: ThreadPoolExecutor | None = None, threads: int = 1) -> None:
        self.part = part
        self.tick = 0
        self._pool, self._threads = pool, threads
        self._declared = {column.name: column for column in program.columns}
        self._aggregates = {aggregate.name: aggregate for aggregate in program.aggregates}
        self._channels = {channel.name: channel for channel in program.channels}
        width = part.size + part.ghost_count
        self.committed: dict[str, Array] = {c.name: np.zeros(width, dtype=c.dtype) for c in program.columns}
        self.working: dict[str, Array] = {c.name: np.zeros(width, dtype=c.dtype) for c in program.columns}
        self.written: set[str] = set()
        self.partials: dict[str, Array] = {}
        self.totals: dict[str, Any] = {a.name: a.merge.identity(np.dtype(a.dtype)) for a in program.aggregates}
        self.posted: dict[str, Posted] = {}
        self.inbox: dict[str, tuple[Array, Array]] = {}

    # -- columns ---------------------------------------------------------------------------------------------------

    def column(self, name: str) -> Array:
        """The committed values of a column, read-only."""
        values = self.committed[self._known(name, self._declared, "column")][: self.part.size]
        values.flags.writeable = False
        return values

    def fresh(self, name: str) -> Array:
        """The array to write this tick's values of a column into, every one of them."""
        self.written.add(self._known(name, self._declared, "column"))
        return self.working[name][: self.part.size]

    def set(self, name: str, values: Array | float | int) -> None:
        """Set this tick's values of a column."""
        self.fresh(name)[:] = values

    def pending(self, name: str) -> Array:
        """The values that this tick has set so far; the committed ones if it has set none."""
        return self.working[name][: self.part.size] if name in self.written else self.column(name)

    # -- neighbours ------------------------------------------------------------------------------------------------

    def gather(self, name: str, merge: Merge = Merge.SUM, direction: Direction = Direction.IN) -> Array:
        """Reduce the committed values of every node's neighbours, in canonical order; parallel edges count each.

        The column must be declared with ghosts in that direction (or in both): else there would be holes.
        """
        column = self._declared[self._known(name, self._declared, "column")]
        if column.ghosts not in (direction, Direction.BOTH):
            raise UnknownColumn(f"column '{name}' is not declared with ghosts in direction '{direction}'")
        values = self.committed[name]
        if direction is Direction.BOTH:
            return merge.ufunc(  # type: ignore[no-any-return]
                self._reduce(values, merge, Direction.IN), self._reduce(values, merge, Direction.OUT)
            )
        return self._reduce(values, merge, direction)

    def with_ghosts(self, name: str) -> Array:
        """The committed values over own nodes and ghosts, by local index, read-only."""
        values = self.committed[self._known(name, self._declared, "column")][:]
        values.flags.writeable = False
        return values

    def _reduce(self, values: Array, merge: Merge, direction: Direction) -> Array:
        kernel = self.part.in_kernel if direction is Direction.IN else self.part.out_kernel
        if merge is Merge.SUM:
            return kernel.sum(values, self._pool, self._threads)
        return kernel.reduce(merge.ufunc, values, merge.identity(values.dtype))

    # -- aggregates ------------------------------------------------------------------------------------------------

    def contribute(self, name: str, values: Array, nodes: Array | None = None) -> None:
        """Give the values that an aggregate merges: one an own node, or one for each of `nodes` (ascending).

        They are merged a partition at a time, and every shard then merges all partitions in their order, so the result
        does not depend on who holds which.
        """
        aggregate = self._aggregates[self._known(name, self._aggregates, "aggregate")]
        starts = self.part.starts if nodes is None else np.searchsorted(nodes, self.part.starts)
        self.partials[name] = _by_partition(aggregate, np.asarray(values, dtype=aggregate.dtype), starts)

    def total(self, name: str) -> Any:
        """An aggregate over the whole graph as of the last tick (of this one, in `halted`)."""
        return self.totals[self._known(name, self._aggregates, "aggregate")]

    # -- channels --------------------------------------------------------------------------------------------------

    def post(self, name: str, senders: Array, targets: Array, values: Array) -> None:
        """In Act: send a value each from own nodes to own nodes or ghosts (local indices, as in `part.out_edges`)."""
        channel: Channel = self._channels[self._known(name, self._channels, "channel")]
        arrays = np.asarray(senders, np.int64), np.asarray(targets, np.int64), np.asarray(values, channel.dtype)
        _check_indices(arrays[0], self.part.size, f"channel '{name}': senders are own nodes, and")
        _check_indices(arrays[1], self.part.size + self.part.ghost_count, f"channel '{name}':")
        box = self.posted.setdefault(name, Posted())
        for kept, array in zip((box.senders, box.targets, box.values), arrays, strict=True):
            kept.append(array)

    def arrived(self, name: str) -> tuple[Array, Array]:
        """In Decay: own nodes (local indices) and what arrived there, by target, then by sender's ordinal."""
        channel = self._channels[self._known(name, self._channels, "channel")]
        nothing = (np.empty(0, dtype=np.int64), np.empty(0, dtype=channel.dtype))
        return self.inbox.get(name, nothing)

    def _known(self, name: str, declared: Mapping[str, Any], what: str) -> str:
        if name not in declared:
            raise UnknownColumn(f"the program declares no {what} '{name}'{did_you_mean(name, declared)}")
        return name


def _check_indices(indices: Array, end: int, what: str) -> None:
    """What is addressed to nowhere would be lost without a word."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < end:
        wrong = indices[(indices < 0) | (indices >= end)][0]
        raise IndexError(f"{what} {wrong} is no local index from 0 to {end - 1}")


def _by_partition(aggregate: Aggregate, values: Array, starts: Array) -> Array:
    """Merge values partition by partition; an empty one gets the identity. `reduceat` takes no empty ones."""
    partial = np.full(len(starts) - 1, aggregate.merge.identity(np.dtype(aggregate.dtype)), dtype=aggregate.dtype)
    filled = starts[:-1] < starts[1:]
    if filled.any():
        partial[filled] = aggregate.merge.ufunc.reduceat(values, starts[:-1][filled])
    return partial

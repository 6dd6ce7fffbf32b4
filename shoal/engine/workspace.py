"""A program's view of one shard's part of one run: columns, gathers, aggregates and channels.

A column has two states: the committed state of the last tick, which a program reads, and the working state of this
tick, which it writes. A tick can therefore be dropped as a whole. Both are arrays over own nodes and ghosts; a commit
swaps them without copying.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn, did_you_mean
from shoal.engine.exchange.carrier import Carrier
from shoal.engine.exchange.channels import ChannelCarrier, check_range
from shoal.engine.exchange.lists import ListCarrier
from shoal.engine.exchange.mail import MailCarrier, Records
from shoal.engine.gathers import gather
from shoal.graph.shard_graph import Adjacency, Direction, ShardGraph
from shoal.kernels.merging import merged_rows
from shoal.program.declarations import Aggregate, Merge
from shoal.program.program import Program
from shoal.program.ragged import Ragged, spread

Array = NDArray[Any]


class Workspace:
    """The data of a program. Arrays are over the shard's own nodes, in local order; see `shoal.graph.shard_graph`.

    Every method that takes a name raises `UnknownColumn` if the program does not declare it.
    """

    def __init__(
        self, part: ShardGraph, program: Program, pool: ThreadPoolExecutor | None = None, threads: int = 1
    ) -> None:
        self.part = part
        self.tick = 0
        self.pool, self.threads = pool, threads
        self._declared = {column.name: column for column in program.columns}
        self._aggregates = {aggregate.name: aggregate for aggregate in program.aggregates}
        self._lists = {lists.name: ListCarrier(part, lists) for lists in program.lists}
        self._channels = {channel.name: ChannelCarrier(part, channel) for channel in program.channels}
        self._mail = {mail.name: MailCarrier(part, mail) for mail in program.mail}
        declared: tuple[Carrier, ...] = (*self._lists.values(), *self._channels.values(), *self._mail.values())
        self.carriers: tuple[Carrier, ...] = (*declared, *program.carriers(part))
        width = part.size + part.ghost_count
        self.committed: dict[str, Array] = {c.name: np.zeros(width, dtype=c.dtype) for c in program.columns}
        self.working: dict[str, Array] = {c.name: np.zeros(width, dtype=c.dtype) for c in program.columns}
        self.written: set[str] = set()
        self.partials: dict[str, Array] = {}
        self.edge_values: dict[tuple[str, Direction, str], Array] = {}
        """Edge weights as gathers read them, by column, direction and type (`shoal.engine.gathers`)."""
        self.totals: dict[str, Any] = {a.name: a.merge.identity(np.dtype(a.dtype)) for a in program.aggregates}

    # -- columns ---------------------------------------------------------------------------------------------------

    def column(self, name: str) -> Array:
        """Returns the committed values of a column, read-only; shape (own nodes,)."""
        values = self.committed[self._known(name, self._declared, "column")][: self.part.size]
        values.flags.writeable = False
        return values

    def fresh(self, name: str) -> Array:
        """Returns the array to write this tick's values of a column into; write every element."""
        self.written.add(self._known(name, self._declared, "column"))
        return self.working[name][: self.part.size]

    def set(self, name: str, values: Array | float | int) -> None:
        """Sets this tick's values of a column, an array or one number. Raises `TypeError` for floats as integers."""
        into, given = self.fresh(name), np.asarray(values)
        if not np.can_cast(given.dtype, into.dtype, "same_kind"):
            raise TypeError(f"column '{name}' is {into.dtype} and can't hold {given.dtype}: convert the values first")
        into[:] = given

    def pending(self, name: str) -> Array:
        """Returns the values that this tick has set so far, or the committed ones if it has set none."""
        return self.working[name][: self.part.size] if name in self.written else self.column(name)

    # -- neighbours ------------------------------------------------------------------------------------------------

    def gather(
        self,
        name: str,
        merge: Merge | np.ufunc = Merge.SUM,
        direction: Direction = Direction.IN,
        *,
        weight: str | None = None,
        identity: float | int | None = None,
    ) -> Array:
        """Reduces the committed values of every node's neighbours, in canonical order; each parallel edge counts.

        Returns an array of shape (own nodes,). `weight` names an edge column: values are multiplied by it before a sum,
        or it is added to them before the least or greatest is taken. `Merge.COUNT` counts the values that are not zero;
        `Merge.MODE` returns the most frequent value, the least if several are. A ufunc of two arguments reduces each
        node's values from left to right, with `identity` for a node that has none. Raises `UnknownColumn` if the column
        is not declared with ghosts in that direction (or both), because the values of ghosts would be missing.
        """
        column = self._declared[self._known(name, self._declared, "column")]
        if column.ghosts not in (direction, Direction.BOTH):
            raise UnknownColumn(f"column '{name}' is not declared with ghosts in direction '{direction}'")
        return gather(self, self.committed[name], merge, direction, weight, identity)

    def with_ghosts(self, name: str) -> Array:
        """Returns the committed values by local index, read-only; shape (own nodes + ghosts,)."""
        values = self.committed[self._known(name, self._declared, "column")][:]
        values.flags.writeable = False
        return values

    @cached_property
    def _ordinals(self) -> Array:
        return self.part.all_ordinals()

    def _adjacency(self, direction: Direction) -> Adjacency:
        return self.part.in_edges if direction is Direction.IN else self.part.out_edges

    # -- aggregates ------------------------------------------------------------------------------------------------

    def contribute(self, name: str, values: Array, nodes: Array | None = None) -> None:
        """Contributes to an aggregate: one value for each own node, or for each of `nodes` (ascending local indices).

        Values are merged a partition at a time, and every shard then merges all partitions in order, so the result does
        not depend on the placement. Raises `ValueError` for a wrong number of values.
        """
        aggregate = self._aggregates[self._known(name, self._aggregates, "aggregate")]
        given = np.asarray(values, dtype=aggregate.dtype)
        due = self.part.size if nodes is None else len(nodes)
        if given.shape != (due,):  # otherwise the number might be right on one shard and wrong on another
            told = f"values of shape {given.shape}, but one for each of {due} nodes is due"
            raise ValueError(f"aggregate '{name}': {told}")
        starts = self.part.starts if nodes is None else np.searchsorted(nodes, self.part.starts)
        self.partials[name] = _by_partition(aggregate, given, starts)

    def contribute_by_partition(self, name: str, values: Array | Sequence[int] | Sequence[float]) -> None:
        """Contributes one value for each own partition, in order, for data that belongs to no node."""
        aggregate = self._aggregates[self._known(name, self._aggregates, "aggregate")]
        partial = np.array(values, dtype=aggregate.dtype)
        if partial.shape != (len(self.part.partitions),):
            raise ValueError(f"aggregate '{name}': {partial.size} values for {len(self.part.partitions)} partitions")
        self.partials[name] = partial

    def total(self, name: str) -> Any:
        """Returns an aggregate over the whole graph as of the last tick; in `halted`, of this tick."""
        return self.totals[self._known(name, self._aggregates, "aggregate")]

    # -- lists -----------------------------------------------------------------------------------------------------

    def rows(self, name: str) -> Ragged:
        """Returns the committed rows of a list, of own nodes and ghosts, by local index."""
        return self._lists[self._known(name, self._lists, "list")].rows

    def set_rows(self, name: str, rows: Ragged) -> None:
        """Sets this tick's rows of a list, of all own nodes."""
        self._lists[self._known(name, self._lists, "list")].set(rows)

    # -- channels and mail -----------------------------------------------------------------------------------------

    def post(self, name: str, senders: Array, targets: Array, values: Array) -> None:
        """Sends values from own nodes to own nodes or ghosts; all three arrays have one length.

        `senders` and `targets` are local indices, as in `part.out_edges`.
        """
        targets = np.asarray(targets, np.int64)
        check_range(
            targets, self.part.size + self.part.ghost_count, f"channel '{name}': targets are local indices, and"
        )
        self.post_to(name, senders, self._ordinals[targets], values)

    def post_to(self, name: str, senders: Array, ordinals: Array, values: Array) -> None:
        """Sends values from own nodes (local indices) to any nodes of the graph, by their ordinals."""
        carrier = self._channels[self._known(name, self._channels, "channel")]
        dtype = carrier.channel.dtype
        carrier.post(np.asarray(senders, np.int64), np.asarray(ordinals, np.int64), np.asarray(values, dtype))

    def scatter(
        self, name: str, values: Array, nodes: Array | None = None, direction: Direction = Direction.OUT
    ) -> None:
        """Sends each node's value along all its edges; `nodes` are local indices of own nodes, by default all."""
        senders = np.arange(self.part.size) if nodes is None else np.asarray(nodes, np.int64)
        if direction is Direction.BOTH:
            self.scatter(name, values, senders, Direction.OUT)
            self.scatter(name, values, senders, Direction.IN)
            return
        edges = self._adjacency(direction)
        degree = np.diff(edges.indptr)[senders].astype(np.int64)
        targets = edges.neighbours[spread(edges.indptr[:-1][senders].astype(np.int64), degree)]
        self.post(name, np.repeat(senders, degree), targets, np.repeat(np.asarray(values), degree))

    def arrived(self, name: str) -> tuple[Array, Array]:
        """Returns own nodes (local indices) and the values that arrived, by target, then by sender's ordinal.

        In Decay these are the values posted in Act; for a channel that is sent in Advance, those posted in the last
        tick.
        """
        return self._channels[self._known(name, self._channels, "channel")].arrived

    def send(self, name: str, senders: Array, partitions: Array, **fields: Any) -> None:
        """Sends records from own partitions to partitions; a field is an array or a list of byte strings."""
        self._mail[self._known(name, self._mail, "mail")].post(
            np.asarray(senders, np.int64), np.asarray(partitions, np.int64), fields
        )

    def received(self, name: str) -> Records:
        """Returns the records that arrived for own partitions, by partition, then by the sender's partition."""
        return self._mail[self._known(name, self._mail, "mail")].arrived

    def _known(self, name: str, declared: Mapping[str, Any], what: str) -> str:
        if name not in declared:
            raise UnknownColumn(f"the program declares no {what} '{name}'{did_you_mean(name, declared)}")
        return name


def _by_partition(aggregate: Aggregate, values: Array, starts: Array) -> Array:
    """Merges values by partition; an empty one gets the identity, because `reduceat` does not accept it."""
    partial = np.full(len(starts) - 1, aggregate.merge.identity(np.dtype(aggregate.dtype)), dtype=aggregate.dtype)
    filled = starts[:-1] < starts[1:]
    if filled.any():
        partial[filled] = merged_rows(aggregate.merge.ufunc, values, starts[:-1][filled])
    return partial

"""One shard's share of one run, as its program sees it: columns, gathers, aggregates and channels.

A column has two states side by side: the committed one of the last tick, which is all that a program reads, and the
working one of this tick, which it writes. A tick can so be dropped whole. Both are arrays over own nodes and ghosts,
and they change places when the tick is committed; nothing is copied.
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
from shoal.graph.shard_graph import Adjacency, Direction, ShardGraph
from shoal.kernels.merging import merged_rows
from shoal.program.declarations import Aggregate, Merge
from shoal.program.gathers import gather
from shoal.program.program import Program
from shoal.program.ragged import Ragged, spread

Array = NDArray[Any]


class Workspace:
    """What a program works on. Arrays are over the shard's own nodes, in local order; see `shoal.graph.shard_graph`."""

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
        """Weights of gathers as they are read, by column, direction and type (`shoal.program.gathers`)."""
        self.totals: dict[str, Any] = {a.name: a.merge.identity(np.dtype(a.dtype)) for a in program.aggregates}

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
        """Set this tick's values of a column. Raises TypeError for values that its type has no room for."""
        into, given = self.fresh(name), np.asarray(values)
        if not np.can_cast(given.dtype, into.dtype, "same_kind"):
            raise TypeError(f"column '{name}' is {into.dtype}, and {given.dtype} does not go into it: convert it first")
        into[:] = given

    def pending(self, name: str) -> Array:
        """The values that this tick has set so far; the committed ones if it has set none."""
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
        """Reduce the committed values of every node's neighbours, in canonical order; parallel edges count each.

        The column must be declared with ghosts in that direction (or in both): else there would be holes. `weight`
        names an edge column: values are multiplied by it before they are summed, or it is added to them before the
        least or greatest is taken. `Merge.COUNT` counts the values that are not zero; `Merge.MODE` takes the value that
        is there most often, the least of several. A ufunc of two arguments reduces each node's values from left to
        right, with `identity` for a node that has none.
        """
        column = self._declared[self._known(name, self._declared, "column")]
        if column.ghosts not in (direction, Direction.BOTH):
            raise UnknownColumn(f"column '{name}' is not declared with ghosts in direction '{direction}'")
        return gather(self, self.committed[name], merge, direction, weight, identity)

    def with_ghosts(self, name: str) -> Array:
        """The committed values over own nodes and ghosts, by local index, read-only."""
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
        """Give the values that an aggregate merges: one an own node, or one for each of `nodes` (ascending).

        They are merged a partition at a time, and every shard then merges all partitions in their order, so the result
        does not depend on who holds which.
        """
        aggregate = self._aggregates[self._known(name, self._aggregates, "aggregate")]
        given = np.asarray(values, dtype=aggregate.dtype)
        due = self.part.size if nodes is None else len(nodes)
        if given.shape != (due,):  # too few may happen to do on one shard, and not on another
            told = f"values of shape {given.shape}, and it takes one for each of {due} nodes"
            raise ValueError(f"aggregate '{name}': {told}")
        starts = self.part.starts if nodes is None else np.searchsorted(nodes, self.part.starts)
        self.partials[name] = _by_partition(aggregate, given, starts)

    def contribute_by_partition(self, name: str, values: Array | Sequence[int] | Sequence[float]) -> None:
        """The same, with one value an own partition, in their order: for what belongs to no node of it."""
        aggregate = self._aggregates[self._known(name, self._aggregates, "aggregate")]
        partial = np.array(values, dtype=aggregate.dtype)
        if partial.shape != (len(self.part.partitions),):
            raise ValueError(f"aggregate '{name}': {partial.size} values for {len(self.part.partitions)} partitions")
        self.partials[name] = partial

    def total(self, name: str) -> Any:
        """An aggregate over the whole graph as of the last tick (of this one, in `halted`)."""
        return self.totals[self._known(name, self._aggregates, "aggregate")]

    # -- lists -----------------------------------------------------------------------------------------------------

    def rows(self, name: str) -> Ragged:
        """The committed rows of a list, of own nodes and ghosts, by local index."""
        return self._lists[self._known(name, self._lists, "list")].rows

    def set_rows(self, name: str, rows: Ragged) -> None:
        """Set this tick's rows of a list, of all own nodes."""
        self._lists[self._known(name, self._lists, "list")].set(rows)

    # -- channels and mail -----------------------------------------------------------------------------------------

    def post(self, name: str, senders: Array, targets: Array, values: Array) -> None:
        """Send a value each from own nodes to own nodes or ghosts (local indices, as in `part.out_edges`)."""
        targets = np.asarray(targets, np.int64)
        check_range(
            targets, self.part.size + self.part.ghost_count, f"channel '{name}': targets are local indices, and"
        )
        self.post_to(name, senders, self._ordinals[targets], values)

    def post_to(self, name: str, senders: Array, ordinals: Array, values: Array) -> None:
        """Send a value each from own nodes (local indices) to any nodes of the graph, by their ordinals."""
        carrier = self._channels[self._known(name, self._channels, "channel")]
        dtype = carrier.channel.dtype
        carrier.post(np.asarray(senders, np.int64), np.asarray(ordinals, np.int64), np.asarray(values, dtype))

    def scatter(
        self, name: str, values: Array, nodes: Array | None = None, direction: Direction = Direction.OUT
    ) -> None:
        """Send each node's value along all its edges; `nodes` are local indices of own nodes, all without."""
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
        """Own nodes (local indices) and what arrived there, by target, then by sender's ordinal.

        In Decay, what was posted in Act; for a channel that is sent in Advance, what was posted in the last tick.
        """
        return self._channels[self._known(name, self._channels, "channel")].arrived

    def send(self, name: str, senders: Array, partitions: Array, **fields: Any) -> None:
        """Send records, each from an own partition to a partition; a field is an array or a list of byte strings."""
        self._mail[self._known(name, self._mail, "mail")].post(
            np.asarray(senders, np.int64), np.asarray(partitions, np.int64), fields
        )

    def received(self, name: str) -> Records:
        """The records that arrived for own partitions, by partition, then by the sender's partition."""
        return self._mail[self._known(name, self._mail, "mail")].arrived

    def _known(self, name: str, declared: Mapping[str, Any], what: str) -> str:
        if name not in declared:
            raise UnknownColumn(f"the program declares no {what} '{name}'{did_you_mean(name, declared)}")
        return name


def _by_partition(aggregate: Aggregate, values: Array, starts: Array) -> Array:
    """Merge values partition by partition; an empty one gets the identity. `reduceat` takes no empty ones."""
    partial = np.full(len(starts) - 1, aggregate.merge.identity(np.dtype(aggregate.dtype)), dtype=aggregate.dtype)
    filled = starts[:-1] < starts[1:]
    if filled.any():
        partial[filled] = merged_rows(aggregate.merge.ufunc, values, starts[:-1][filled])
    return partial

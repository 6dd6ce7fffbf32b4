"""Channels: values from node to node, sorted by owner when sent and into canonical order on arrival.

Values arrive by (target, sender's ordinal, order of posting). One shard posts all values of a sender, so the order is
the same on any cut. Values that combine exactly (minima, maxima, sums of integers) are combined before they are sent,
one per target and shard; sums of floats are combined only on arrival, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import BadExchange, BadState, Buffer, pack_arrays, read_frame, split_arrays
from shoal.graph.shard_graph import ShardGraph
from shoal.kernels.grouping import Grouping
from shoal.kernels.merging import merged_at, merged_rows
from shoal.program.declarations import Channel
from shoal.program.phase import Phase

Array = NDArray[Any]
DENSE = 16
"""A table over all nodes is faster than a sort if there is more than one value per this many nodes."""


class ChannelCarrier:
    """One channel of one run on one shard."""

    def __init__(self, part: ShardGraph, channel: Channel) -> None:
        self.channel, self.sent_in = channel, channel.sent_in
        self._part = part
        self._with_senders = not channel.combines_early
        self.frame_count = 3 if self._with_senders else 2
        self._posted: list[tuple[Array, Array, Array]] = []
        self._leaving = self._nothing()
        self._here: tuple[Array, Array, Array] = self._nothing()
        self.arrived: tuple[Array, Array] = (np.empty(0, np.int64), np.empty(0, channel.dtype))
        """Own nodes (local indices, ascending) and the values that arrived there."""

    def post(self, senders: Array, targets: Array, values: Array) -> None:
        """Posts from own nodes (local indices) to nodes by ordinal; all arrays have one length."""
        if not len(senders) == len(targets) == len(values):
            sizes = f"{len(senders)} senders, {len(targets)} targets and {len(values)} values"
            raise ValueError(f"channel '{self.channel.name}': {sizes}: there should be as many of each")
        check_range(senders, self._part.size, f"channel '{self.channel.name}': senders are own nodes, and")
        check_range(targets, self._part.node_count, f"channel '{self.channel.name}': targets are ordinals, and")
        self._posted.append((senders, targets, values))

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        senders, targets, values = self._leaving = self._take_posted()
        if not len(senders):
            return self._no_frames()
        marks = self._part.ordinals[senders]
        if not self._with_senders:
            targets, values = combined(targets, values, self.channel, self._part.node_count)
            marks = targets
        owners = Grouping(self._part.owner_of_partition[self._partition(targets)], len(self._part.peers) + 1)
        order, ends = owners.order(), owners.starts[1:]
        kind, frames = self._part.ordinal_type, {}
        for i, peer in enumerate(self._part.peers, start=1):
            rows = order[ends[i - 1] : ends[i]]
            sent = (targets[rows].astype(kind), values[rows])
            frames[peer] = (*sent, marks[rows].astype(kind)) if self._with_senders else sent
        mine = order[: ends[0]]
        self._here = (marks[mine], targets[mine], values[mine])
        return frames

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        marks, targets, values = self._read(frames)
        if not len(marks) == len(targets) == len(values):
            raise BadExchange(f"channel '{self.channel.name}': arrays that should be as long as each other are not")
        if len(targets) and not (self._part.local_of(targets) >= 0).all():
            raise BadExchange(f"channel '{self.channel.name}': a value is addressed to a node that is not here")

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        rows = [self._here, *(self._read(frames) for frames in incoming.values())]
        rows = [arrays for arrays in rows if len(arrays[0])]
        if not rows:
            self.arrived = (np.empty(0, np.int64), np.empty(0, self.channel.dtype))
            return
        marks, ordinals, values = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
        nodes = self._part.local_of(ordinals)
        self._here = self._nothing()
        if self.channel.combines_early:
            self.arrived = combined(nodes, values, self.channel, self._part.size)
            return
        order = np.lexsort((marks, nodes))
        nodes, values = nodes[order], values[order]
        self.arrived = (
            combined(nodes, values, self.channel, self._part.size) if self.channel.combine else (nodes, values)
        )

    def commit(self) -> None:
        if self.sent_in is not Phase.ADVANCE:
            self.arrived = (np.empty(0, np.int64), np.empty(0, self.channel.dtype))

    def capture(self) -> Mapping[int, bytes]:
        if self.sent_in is not Phase.ADVANCE:
            return {}
        senders, targets, values = self._leaving
        place = np.searchsorted(self._part.starts, senders, side="right") - 1
        order = np.argsort(place, kind="stable")
        ends = np.searchsorted(place[order], np.arange(len(self._part.partitions) + 1))
        states = {}
        for k, partition in enumerate(self._part.partitions):
            rows = order[ends[k] : ends[k + 1]]
            states[partition] = pack_arrays([self._part.ordinals[senders[rows]], targets[rows], values[rows]])
        return states

    def restore(self, states: Mapping[int, memoryview]) -> None:
        for state in states.values():
            ordinals, targets, values = split_arrays(state, (np.int64, np.int64, self.channel.dtype))
            senders = self._part.local_of(ordinals)
            if (senders < 0).any():
                raise BadState(f"channel '{self.channel.name}': what is under way comes from a node that is not here")
            try:
                self.post(senders, targets, values)
            except (ValueError, IndexError) as error:
                raise BadState(str(error)) from error

    def _nothing(self) -> tuple[Array, Array, Array]:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, self.channel.dtype)

    def _no_frames(self) -> Mapping[str, tuple[Array, ...]]:
        """Returns the frames of a tick in which nothing is sent."""
        self._here = self._nothing()
        ordinals, values = np.empty(0, self._part.ordinal_type), np.empty(0, self.channel.dtype)
        frames = (ordinals, values, ordinals) if self._with_senders else (ordinals, values)
        return dict.fromkeys(self._part.peers, frames)

    def _take_posted(self) -> tuple[Array, Array, Array]:
        posted, self._posted = [arrays for arrays in self._posted if len(arrays[0])], []
        if not posted:
            return self._nothing()
        senders, targets, values = (np.concatenate(arrays) for arrays in zip(*posted, strict=True))
        return senders, targets, values

    def _partition(self, ordinals: Array) -> Array:
        return np.asarray(self._part.partition_table)[ordinals]

    def _read(self, frames: Sequence[Buffer]) -> tuple[Array, Array, Array]:
        kind, what = self._part.ordinal_type, f"channel '{self.channel.name}'"
        targets, values = read_frame(frames[0], kind, what), read_frame(frames[1], self.channel.dtype, what)
        return read_frame(frames[2], kind, what) if self._with_senders else targets, targets, values


def combined(nodes: Array, values: Array, channel: Channel, bound: int) -> tuple[Array, Array]:
    """Returns one value per node (below `bound`), nodes ascending; combines each node's values in order, if order
    matters.
    """
    if not len(nodes):
        return nodes, values
    assert channel.combine is not None
    ufunc = channel.combine.ufunc
    if channel.combines_early and len(nodes) * DENSE > bound:
        table = merged_at(ufunc, channel.combine.identity(values.dtype), values, nodes, bound)
        some = np.zeros(bound, np.bool_)
        some[nodes] = True
        nodes = np.flatnonzero(some)
        return nodes, table[nodes]
    if (nodes[1:] < nodes[:-1]).any():
        order = np.argsort(nodes, kind=None if channel.combines_early else "stable")
        nodes, values = nodes[order], values[order]
    starts = np.flatnonzero(np.concatenate([[True], nodes[1:] != nodes[:-1]]))
    return nodes[starts], merged_rows(ufunc, values, starts)


def check_range(indices: Array, end: int, what: str) -> None:
    """Raises `IndexError` for an index out of range: its value would be lost silently."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < end:
        wrong = indices[(indices < 0) | (indices >= end)][0]
        raise IndexError(f"{what} {wrong} is none from 0 to {end - 1}")

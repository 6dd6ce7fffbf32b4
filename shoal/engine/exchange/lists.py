"""Lists: rows of any length, one per node, and copies of the neighbours' rows.

A peer's share has the lengths of the rows on its boundary and their values, or two empty frames if this tick did not
write the list; then the copies stay unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import BadExchange, BadState, Buffer, pack_arrays, read_frame, split_arrays
from shoal.graph.shard_graph import ShardGraph
from shoal.program.declarations import Lists
from shoal.program.phase import Phase
from shoal.program.ragged import Ragged

Array = NDArray[Any]


class ListCarrier:
    """One list of one run on one shard."""

    sent_in = Phase.ADVANCE
    frame_count = 2

    def __init__(self, part: ShardGraph, lists: Lists) -> None:
        self.lists, self._part = lists, part
        self._working: Ragged | None = None
        self._own = Ragged.empty(part.size, lists.dtype)
        self._copies = {peer: Ragged.empty(len(b.nodes), lists.dtype) for peer, b in part.ghosts.items()}
        self.rows = Ragged.empty(part.size + part.ghost_count, lists.dtype)
        """The committed rows of own nodes and ghosts, by local index."""
        self._captured = self._own

    def set(self, rows: Ragged) -> None:
        """Sets this tick's rows of all own nodes."""
        if len(rows) != self._part.size or rows.values.dtype != np.dtype(self.lists.dtype):
            raise ValueError(
                f"list '{self.lists.name}': {len(rows)} rows of {rows.values.dtype} where {self._part.size} "
                f"of {np.dtype(self.lists.dtype)} are due"
            )
        self._working = rows

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        working = self._captured = self._own if self._working is None else self._working
        if self._working is None or self.lists.ghosts is None:
            nothing = (np.empty(0, np.int32), np.empty(0, self.lists.dtype))
            return dict.fromkeys(self._part.peers, nothing)
        frames = {}
        for peer, boundary in self._part.sends.items():
            rows = working.take(boundary.nodes[boundary.bounds(self.lists.ghosts)])
            frames[peer] = (rows.lengths.astype(np.int32), rows.values)
        return frames

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        lengths, values = self._read(frames)
        due = self._bounds(peer)
        if len(lengths) not in (0, due.stop - due.start):
            raise BadExchange(f"list '{self.lists.name}': {len(lengths)} rows where {due.stop - due.start} were due")
        if (len(lengths) and int(lengths.min()) < 0) or int(lengths.sum(dtype=np.int64)) != len(values):
            raise BadExchange(f"list '{self.lists.name}': the lengths do not cut its {len(values)} values")

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        changed = self._working is not None
        for peer, frames in incoming.items():
            lengths, values = self._read(frames)
            if len(lengths):
                changed = True
                whole = np.zeros(len(self._part.ghosts[peer].nodes), np.int64)
                whole[self._bounds(peer)] = lengths
                self._copies[peer] = Ragged.of_lengths(whole, values)
        if self._working is not None:
            self._own, self._working = self._working, None
        if changed:
            self.rows = Ragged.concatenated([self._own, *self._copies.values()], self.lists.dtype)

    def commit(self) -> None:
        pass

    def capture(self) -> Mapping[int, bytes]:
        starts, states = self._part.starts.tolist(), {}
        for k, partition in enumerate(self._part.partitions):
            rows = self._captured.stretch(starts[k], starts[k + 1])
            states[partition] = pack_arrays([rows.lengths, rows.values])
        return states

    def restore(self, states: Mapping[int, memoryview]) -> None:
        pieces, starts = [], self._part.starts.tolist()
        for k, partition in enumerate(self._part.partitions):
            lengths, values = split_arrays(states[partition], (np.int64, self.lists.dtype))
            if len(lengths) != starts[k + 1] - starts[k] or (lengths < 0).any() or int(lengths.sum()) != len(values):
                raise BadState(f"list '{self.lists.name}': the rows are not those of partition {partition}")
            pieces.append(Ragged.of_lengths(lengths, values))
        self._working = Ragged.concatenated(pieces, self.lists.dtype)

    def _bounds(self, peer: str) -> slice:
        if self.lists.ghosts is None:
            return slice(0, 0)
        return self._part.ghosts[peer].bounds(self.lists.ghosts)

    def _read(self, frames: Sequence[Buffer]) -> tuple[Array, Array]:
        what = f"list '{self.lists.name}'"
        return read_frame(frames[0], np.int32, what), read_frame(frames[1], self.lists.dtype, what)

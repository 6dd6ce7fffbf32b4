"""Carries messages between shards, and into checkpoints.

Within a shard nothing is encoded. For each type of numbers, a peer receives one value per boundary node that sent a
message, however many edges lead to the peer, and the messages to single nodes. Both sides derive the position of a node
on their common boundary independently (`shoal.graph.shard_graph`). If all boundary nodes sent one message along all
their edges, only the values are sent.

The first share of a run also contains the ids of the boundary nodes, so that nodes can read the ids of their
neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import BadExchange, BadState, Buffer, pack_arrays, read_frame, split_arrays
from shoal.graph.ids import partition_of
from shoal.graph.shard_graph import Direction, ShardGraph
from shoal.kernels.merging import merged_rows
from shoal.messages.attribute import Combine
from shoal.messages.envelopes import (
    ALONG,
    EVERY_EDGE,
    MESSAGE,
    NAMED,
    Letter,
    Numbers,
    Sent,
    pack_letters,
    unpack_letters,
)
from shoal.messages.values import pack_message, unpack_message
from shoal.program.phase import Phase

Array = NDArray[Any]

DTYPES = (np.float64, np.int64)
STATE = (np.int64, np.int64, np.int64)


class MessageCarrier:
    """The carrier of one run's messages on one shard. `own` and `came` are the messages of the last tick."""

    sent_in = Phase.ADVANCE
    frame_count = 2 + 4 * len(DTYPES)

    def __init__(self, part: ShardGraph, combine: Combine | None) -> None:
        self._part, self._combine = part, combine
        self._leaving = Sent.nothing()
        self._told_ids = False
        self.arrived: list[Sent] = []
        """The messages of own nodes, and each peer's messages to own nodes."""
        self.ghost_ids: dict[str, tuple[Any, ...]] = {}
        """The ids of each peer's boundary nodes."""

    def leave(self, said: Sent) -> None:
        """Takes over what own nodes sent in this tick."""
        self._leaving = said

    # -- the carrier -----------------------------------------------------------------------------------------------

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        said = self._leaving
        letters = self._letters_by_peer(said.letters)
        frames = {}
        for index, peer in enumerate(self._part.peers, start=1):
            ids = b"" if self._told_ids else pack_message(self._boundary_ids(peer))
            numbers = [frame for each in (said.floats, said.ints) for frame in self._frames(index, peer, each)]
            frames[peer] = (_bytes(ids), *numbers, _bytes(pack_letters(letters[index])))
        self._told_ids = True
        return frames

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        self._read(peer, frames)

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        self.arrived = [self._leaving]
        for peer, frames in incoming.items():
            ids, said = self._read(peer, frames)
            self.arrived.append(said)
            if ids:
                self.ghost_ids[peer] = ids

    def commit(self) -> None:
        pass

    def capture(self) -> Mapping[int, bytes]:
        said, part = self._leaving, self._part
        letters: dict[int, list[Letter]] = {partition: [] for partition in part.partitions}
        for letter in said.letters:
            letters[self.partition_of_sender(letter.sender)].append(letter)
        cuts = [np.searchsorted(each.senders, part.starts) for each in (said.floats, said.ints)]
        states = {}
        for k, partition in enumerate(part.partitions):
            arrays: list[Array] = []
            for each, cut in zip((said.floats, said.ints), cuts, strict=True):
                rows = slice(int(cut[k]), int(cut[k + 1]))
                arrays += [part.ordinals[each.senders[rows]], each.seqs[rows], each.targets[rows], each.values[rows]]
            states[partition] = pack_arrays([*arrays, _bytes(pack_letters(letters[partition]))])
        return states

    def restore(self, states: Mapping[int, memoryview]) -> None:
        numbers: tuple[list[Numbers], list[Numbers]] = ([], [])
        letters: list[Letter] = []
        for partition in self._part.partitions:
            arrays = split_arrays(states[partition], (*STATE, DTYPES[0], *STATE, DTYPES[1], np.uint8))
            for pieces, at in zip(numbers, (0, 4), strict=True):
                pieces.append(self._kept(*arrays[at : at + 4]))
            letters += self._kept_letters(partition, arrays[8])
        floats, ints = (Numbers.joined(pieces, dtype) for pieces, dtype in zip(numbers, DTYPES, strict=True))
        self._leaving = Sent(floats, ints, tuple(letters))

    # -- who is who ------------------------------------------------------------------------------------------------

    def partition_of_sender(self, sender: int) -> int:
        """Returns the partition that a letter comes from."""
        return -1 - sender if sender < 0 else int(self._table[sender])

    @cached_property
    def _places(self) -> dict[str, Array]:
        """Returns, by peer, each own node's position on the boundary, or -1; the last entry is always -1."""
        places = {}
        for peer in self._part.peers:
            places[peer] = np.full(self._part.size + 1, -1, np.int32)
            nodes = self._part.sends[peer].nodes
            places[peer][nodes] = np.arange(len(nodes), dtype=np.int32)
        return places

    @cached_property
    def _table(self) -> Array:
        return np.asarray(self._part.partition_table)

    def _boundary_ids(self, peer: str) -> list[Any]:
        nodes, ids = self._part.sends[peer].nodes, self._part.ids
        if ids is None:
            return list(self._part.ordinals[nodes].tolist())
        return list(ids[nodes].tolist() if isinstance(ids, np.ndarray) else ids.take(nodes).to_pylist())

    # -- numbers ---------------------------------------------------------------------------------------------------

    def _frames(self, index: int, peer: str, numbers: Numbers) -> tuple[Array, ...]:
        """Returns places on the boundary, sequence numbers, targets and values, without those that are implied."""
        part, kind = self._part, self._part.ordinal_type
        nothing, no_targets = np.empty(0, np.int32), np.empty(0, kind)
        if numbers.once and not numbers.seqs.any():
            row = np.full(part.size, -1, np.int64)
            row[numbers.senders] = np.arange(len(numbers))
            rows = row[part.sends[peer].nodes[part.sends[peer].bounds(Direction.IN)]]
            if (rows >= 0).all():
                return nothing, nothing, no_targets, numbers.values[rows]
        places, far = self._places[peer][numbers.senders], numbers.targets >= 0
        owners = part.owner_of_partition[self._table[numbers.targets]] if far.any() else far
        rows = np.flatnonzero(np.where(far, owners == index, places >= 0))
        chosen = _combined(numbers.take(rows), self._combine)
        seqs = nothing if not chosen.seqs.any() else chosen.seqs.astype(np.int32)
        targets = no_targets if (chosen.targets == EVERY_EDGE).all() else chosen.targets.astype(kind)
        return self._places[peer][chosen.senders], seqs, targets, chosen.values

    def _numbers(self, peer: str, frames: Sequence[Buffer], dtype: Any) -> Numbers:
        part, kind = self._part, self._part.ordinal_type
        types = (np.int32, np.int32, kind, dtype)
        found = [read_frame(frame, each, "messages") for frame, each in zip(frames, types, strict=True)]
        places, seqs, targets, values = found
        boundary, count = part.ghosts[peer], len(values)
        if not len(places):
            places = np.arange(boundary.both_end)  # the senders whose edges lead here
        if count not in (0, len(places)) or (not count and len(found[0])) or len(seqs) not in (0, count):
            raise BadExchange(f"{count} messages of {len(places)} senders in {len(seqs)} places")
        if not count:
            return Numbers.none(dtype)
        if len(targets) not in (0, count) or int(places.min()) < 0 or int(places.max()) >= len(boundary.nodes):
            raise BadExchange(f"{len(targets)} targets of {count} messages, or a sender that is not on the boundary")
        whole = targets.astype(np.int64) if len(targets) else np.full(count, EVERY_EDGE, np.int64)
        if ((whole != EVERY_EDGE) & (part.local_of(whole) < 0)).any() or (len(seqs) and int(seqs.min()) < 0):
            raise BadExchange("a message is addressed to a node that is not here")
        return Numbers(boundary.nodes[places], seqs if len(seqs) else np.zeros(count, np.int64), whole, values)

    def _kept(self, ordinals: Array, seqs: Array, targets: Array, values: Array) -> Numbers:
        senders = self._part.local_of(ordinals)
        whole = len(ordinals) == len(seqs) == len(targets) == len(values)
        if not whole or (senders < 0).any() or (senders[1:] < senders[:-1]).any():
            raise BadState("messages under way do not come from the nodes of this partition")
        if len(targets) and not -1 <= targets.min() <= targets.max() < self._part.node_count:
            raise BadState("a message under way is addressed to no node")
        return Numbers(senders, seqs, targets, values)

    # -- letters ---------------------------------------------------------------------------------------------------

    def _letters_by_peer(self, letters: Sequence[Letter]) -> list[list[Letter]]:
        """Returns the letters for each peer by its place from 1; index 0 is empty, as own nodes need none."""
        part = self._part
        sorted_out: list[list[Letter]] = [[] for _ in range(len(part.peers) + 1)]
        if not part.peers or not letters:
            return sorted_out
        own = part.local_of(np.array([letter.sender for letter in letters], np.int64))
        places = [self._places[peer][own] >= 0 for peer in part.peers]
        near = [[i for i, there in enumerate(each, start=1) if there] for each in zip(*places, strict=True)]
        for letter, neighbours in zip(letters, near, strict=True):
            address = letter.address
            if address is None:
                indices: Sequence[int] = range(1, len(sorted_out))
            elif isinstance(address, int):
                indices = [part.owner_of_partition[self._table[address]]]
            elif address[0] == ALONG:
                indices = neighbours
            else:
                indices = [part.owner_of_partition[partition_of(address[1], part.partition_count)]]
            for index in indices:
                if index:
                    sorted_out[index].append(letter)
        return sorted_out

    def _read(self, peer: str, frames: Sequence[Buffer]) -> tuple[tuple[Any, ...], Sent]:
        """Decodes a peer's share. Raises `BadExchange`."""
        numbers = [self._numbers(peer, frames[1 + 4 * i : 5 + 4 * i], dtype) for i, dtype in enumerate(DTYPES)]
        try:
            ids = unpack_message(frames[0]) if memoryview(frames[0]).nbytes else ()
            letters = unpack_letters(frames[-1])
        except ValueError as error:
            raise BadExchange(str(error)) from error
        due = len(self._part.ghosts[peer].nodes)
        if not isinstance(ids, tuple) or len(ids) not in (0, due) or not all(type(i) in (int, str) for i in ids):
            raise BadExchange(f"ids of {due} ghosts were due")
        if letters:
            self._check_letters(letters, 1 + self._part.peers.index(peer))
        return ids, Sent(numbers[0], numbers[1], letters)

    def _check_letters(self, letters: Sequence[Letter], index: int) -> None:
        """Checks that letters come from that peer and are for this shard. Raises `BadExchange`."""
        part = self._part
        senders = _int64([letter.sender for letter in letters])
        if senders.min() < -part.partition_count or senders.max() >= part.node_count:
            raise BadExchange("a letter from nowhere")
        left = np.where(senders < 0, -1 - senders, self._table[np.maximum(senders, 0)] if part.node_count else 0)
        if (part.owner_of_partition[left] != index).any():
            raise BadExchange("a letter from somebody who is not with that peer")
        ways = [letter.address[0] if isinstance(letter.address, tuple) else 0 for letter in letters]
        if not np.isin(senders[np.array(ways) == ALONG], part.ghost_ordinals).all():
            raise BadExchange("a letter goes along the edges of a node that has none to here")
        if (part.local_of(_int64([x.address for x in letters if isinstance(x.address, int)])) < 0).any():
            raise BadExchange("a letter is addressed to a node that is not here")
        for letter, way in zip(letters, ways, strict=True):
            if way == NAMED and not self._is_named_here(letter.address):
                raise BadExchange("a letter is for somebody whose place is not here")
            self._check_combined(letter)

    def _is_named_here(self, address: Any) -> bool:
        """Returns whether a node with the id in the address would be here."""
        partition = partition_of(address[1], self._part.partition_count)
        return not self._part.owner_of_partition[partition]

    def _check_combined(self, letter: Letter) -> None:
        if self._combine is not None and letter.kind == MESSAGE and type(letter.value) is not self._combine.kind:
            raise BadExchange(f"{letter.value!r} is not to be combined as {self._combine.kind.__name__}")

    def _kept_letters(self, partition: int, data: Array) -> tuple[Letter, ...]:
        try:
            letters = unpack_letters(data)
            for letter in letters:
                if not -self._part.partition_count <= letter.sender < self._part.node_count:
                    raise BadState(f"a letter comes from {letter.sender}")
                if self.partition_of_sender(letter.sender) != partition:
                    raise BadState(f"a letter in partition {partition} comes from elsewhere")
                if isinstance(letter.address, int) and letter.address >= self._part.node_count:
                    raise BadState("a letter is addressed to no node")
                self._check_combined(letter)
        except BadState:
            raise
        except ValueError as error:
            raise BadState(str(error)) from error
        return letters


def _combined(numbers: Numbers, combine: Combine | None) -> Numbers:
    """Combines letters to single nodes into one per node where the order does not matter; any of the senders stands for
    all.
    """
    if combine is None or not combine.exact or not (numbers.targets >= 0).any():
        return numbers
    far = np.flatnonzero(numbers.targets >= 0)
    order = far[np.argsort(numbers.targets[far], kind="stable")]
    targets = numbers.targets[order]
    starts = np.flatnonzero(np.concatenate([[True], targets[1:] != targets[:-1]]))
    one = numbers.take(order[starts])
    values = merged_rows(combine.merge.ufunc, numbers.values[order], starts)
    along = numbers.take(np.flatnonzero(numbers.targets < 0))
    return Numbers.joined([along, Numbers(one.senders, one.seqs, one.targets, values)], values.dtype)


def _bytes(data: bytes) -> Array:
    return np.frombuffer(data, np.uint8)


def _int64(values: list[Any]) -> Array:
    """Returns values as int64. Raises `BadExchange` if they don't fit."""
    try:
        return np.array(values, np.int64)
    except OverflowError as error:
        raise BadExchange(str(error)) from error

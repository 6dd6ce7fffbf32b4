"""Mail: records between partitions, in an order that does not depend on the cut.

Records arrive by (receiving partition, sending partition, order of posting). If a program posts a partition's records
in an order that it determines itself, they are read in the same order on any number of shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import BadExchange, BadState, Buffer, pack_arrays, read_frame, split_arrays
from shoal.engine.exchange.channels import check_range
from shoal.graph.shard_graph import ShardGraph
from shoal.program.declarations import Mail
from shoal.program.phase import Phase
from shoal.program.ragged import Ragged

Array = NDArray[Any]
Field: TypeAlias = "Array | Ragged"


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Records: the partition that each is for, the one that it comes from, and its fields by name.

    A field of numbers is an array, a field of byte strings a `Ragged` of uint8.
    """

    partitions: Array
    senders: Array
    fields: Mapping[str, Field]

    def __len__(self) -> int:
        return len(self.partitions)

    def take(self, rows: Array) -> Records:
        """Returns these records, in this order."""
        fields = {
            name: field.take(rows) if isinstance(field, Ragged) else field[rows] for name, field in self.fields.items()
        }
        return Records(self.partitions[rows], self.senders[rows], fields)


class MailCarrier:
    """One kind of mail of one run on one shard."""

    def __init__(self, part: ShardGraph, mail: Mail) -> None:
        self.mail, self.sent_in, self._part = mail, mail.sent_in, part
        self._dtypes: list[Any] = [np.int32, np.int32]
        for _, kind in mail.fields:
            self._dtypes += [np.int32, np.uint8] if kind is bytes else [kind]
        self.frame_count = len(self._dtypes)
        self._posted: list[Records] = []
        self._leaving = self._here = self.arrived = self._nothing()

    def post(self, senders: Array, partitions: Array, fields: Mapping[str, Any]) -> None:
        """Posts from own partitions to partitions. A field is an array, or for byte strings a list of them or a
        `Ragged`.
        """
        if fields.keys() != dict(self.mail.fields).keys():
            raise ValueError(f"mail '{self.mail.name}' has the fields {', '.join(dict(self.mail.fields))}")
        given: dict[str, Field] = {}
        for name, kind in self.mail.fields:
            value = fields[name]
            if kind is bytes:
                given[name] = value if isinstance(value, Ragged) else Ragged.of_bytes(value)
            else:
                given[name] = np.asarray(value, kind)
            if len(given[name]) != len(partitions):
                raise ValueError(
                    f"mail '{self.mail.name}': {len(given[name])} of '{name}' for {len(partitions)} records"
                )
        check_range(partitions, self._part.partition_count, f"mail '{self.mail.name}': partition")
        if len(senders) != len(partitions) or self._part.owner_of_partition[senders].any():
            raise ValueError(f"mail '{self.mail.name}': each record comes from a partition of this shard")
        self._posted.append(Records(np.asarray(partitions, np.int32), np.asarray(senders, np.int32), given))

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        leaving = self._leaving = self._joined(self._posted)
        self._posted = []
        owner = self._part.owner_of_partition[leaving.partitions]
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(len(self._part.peers) + 2))
        self._here = leaving.take(order[: ends[1]])
        return {
            peer: self._frames(leaving.take(order[ends[i] : ends[i + 1]]))
            for i, peer in enumerate(self._part.peers, start=1)
        }

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        records = self._read(frames)
        owners = self._part.owner_of_partition
        for what, partitions, owner in (
            ("for", records.partitions, 0),
            ("from", records.senders, 1 + self._part.peers.index(peer)),
        ):
            known = len(partitions) == 0 or 0 <= partitions.min() <= partitions.max() < len(owners)
            if not known or (owners[partitions] != owner).any():
                raise BadExchange(f"mail '{self.mail.name}': a record is {what} a partition that is elsewhere")

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        records = self._joined([self._here, *(self._read(frames) for frames in incoming.values())])
        self.arrived = records.take(np.lexsort((records.senders, records.partitions)))
        self._here = self._nothing()

    def commit(self) -> None:
        if self.sent_in is not Phase.ADVANCE:
            self.arrived = self._nothing()

    def capture(self) -> Mapping[int, bytes]:
        if self.sent_in is not Phase.ADVANCE:
            return {}
        order = np.argsort(self._leaving.senders, kind="stable")
        own = np.array(self._part.partitions, np.int32)
        senders = self._leaving.senders[order]
        first, last = np.searchsorted(senders, own), np.searchsorted(senders, own, side="right")
        return {
            partition: pack_arrays(self._frames(self._leaving.take(order[a:b])))
            for partition, a, b in zip(self._part.partitions, first, last, strict=True)
        }

    def restore(self, states: Mapping[int, memoryview]) -> None:
        for state in states.values():
            try:
                records = self._read(split_arrays(state, self._dtypes))
                self.post(records.senders, records.partitions, records.fields)
            except (ValueError, IndexError) as error:
                raise BadState(str(error)) from error

    def _nothing(self) -> Records:
        none = np.empty(0, np.int32)
        fields: dict[str, Field] = {}
        for name, kind in self.mail.fields:
            fields[name] = Ragged.empty(0, np.uint8) if kind is bytes else np.empty(0, kind)
        return Records(none, none, fields)

    def _joined(self, pieces: Sequence[Records]) -> Records:
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            return self._nothing()
        fields: dict[str, Field] = {}
        for name, kind in self.mail.fields:
            columns: list[Any] = [piece.fields[name] for piece in pieces]
            fields[name] = Ragged.concatenated(columns, np.uint8) if kind is bytes else np.concatenate(columns)
        partitions = np.concatenate([piece.partitions for piece in pieces])
        return Records(partitions, np.concatenate([piece.senders for piece in pieces]), fields)

    def _frames(self, records: Records) -> tuple[Array, ...]:
        frames = [records.partitions, records.senders]
        for field in records.fields.values():
            frames += [field.lengths.astype(np.int32), field.values] if isinstance(field, Ragged) else [field]
        return tuple(frames)

    def _read(self, frames: Sequence[Buffer]) -> Records:
        what = f"mail '{self.mail.name}'"
        arrays = iter([read_frame(frame, dtype, what) for frame, dtype in zip(frames, self._dtypes, strict=True)])
        partitions, senders = next(arrays), next(arrays)
        fields: dict[str, Field] = {}
        try:
            for name, kind in self.mail.fields:
                fields[name] = _ragged(next(arrays), next(arrays)) if kind is bytes else next(arrays)
        except ValueError as error:
            raise BadExchange(f"{what}: {error}") from error
        if any(len(column) != len(partitions) for column in (senders, *fields.values())):
            raise BadExchange(f"{what}: fields that should be as long as each other are not")
        return Records(partitions, senders, fields)


def _ragged(lengths: Array, values: Array) -> Ragged:
    if len(lengths) and int(lengths.min()) < 0:
        raise ValueError("a length is negative")
    return Ragged.of_lengths(lengths, values)

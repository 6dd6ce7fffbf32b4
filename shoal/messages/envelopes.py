"""Messages in flight between nodes: numbers in arrays, and everything else as letters.

`Numbers` are messages that are all float or all int, each sent along all out-edges of its sender or to one node.
`Letter`s are the rest: other values, other addresses, requests, replies and undeliverable messages. A message is
identified by its sender's ordinal and its position among the sender's messages of the tick (`seq`), which is also the
canonical order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.messages.values import frozen, pack_message, unpack_message

Array = NDArray[Any]

MESSAGE, REQUEST, REPLY, RETURNED = range(4)
"""The kind of a letter. A returned letter could not be delivered."""

ALONG, NAMED = 1, 2
Address: TypeAlias = "int | tuple[Any, ...] | None"
"""The receivers of a letter: a node by its ordinal; `(ALONG, direction, types or None)`, all edges of the sender in
that direction; `(NAMED, id, id of the sender)`, the node with that id, if it exists; None, every node of the graph.
"""
IN, OUT, BOTH = range(3)

EVERY_EDGE = -1


class Letter(NamedTuple):
    """One letter. `sender` is an ordinal, or, for a returned letter, -1 - the partition of the missing node.

    `note` is, of a reply, the request's `seq` and the id of who answers; of what is returned, the `seq` that it had,
    the id that nobody has, and whether it was a request.
    """

    sender: int
    seq: int
    kind: int
    address: Address
    value: Any
    note: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Messages of one type. Senders are local indices; a target is an ordinal, or EVERY_EDGE."""

    senders: Array
    seqs: Array
    targets: Array
    values: Array

    @classmethod
    def none(cls, dtype: Any) -> Numbers:
        """Returns an empty sequence of that type."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing, np.empty(0, dtype))

    @classmethod
    def joined(cls, pieces: Sequence[Numbers], dtype: Any) -> Numbers:
        """Concatenates several of one type."""
        filled = [piece for piece in pieces if len(piece)]
        if len(filled) < 2:
            return filled[0] if filled else cls.none(dtype)
        columns = zip(*((p.senders, p.seqs, p.targets, p.values) for p in filled), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Array) -> Numbers:
        """Returns these rows, in this order."""
        return Numbers(self.senders[rows], self.seqs[rows], self.targets[rows], self.values[rows])

    @property
    def once(self) -> bool:
        """Whether every sender sends at most one message, along all its edges; then order does not matter."""
        said = np.bincount(self.senders) if len(self) else np.zeros(1)
        return bool((self.targets == EVERY_EDGE).all()) and int(said.max()) <= 1


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """All that own nodes said in a tick, by sender and then as they said it."""

    floats: Numbers
    ints: Numbers
    letters: tuple[Letter, ...] = ()

    @classmethod
    def nothing(cls) -> Sent:
        """Returns an empty `Sent`."""
        return cls(Numbers.none(np.float64), Numbers.none(np.int64))


def pack_letters(letters: Iterable[Letter]) -> bytes:
    """Returns letters as bytes; no bytes for none."""
    kept = list(letters)
    return pack_message(kept) if kept else b""


def unpack_letters(data: Any) -> tuple[Letter, ...]:
    """Returns letters from bytes, each checked. Raises `ValueError`."""
    if not memoryview(data).nbytes:
        return ()
    found = unpack_message(data)
    if not isinstance(found, tuple):
        raise ValueError("letters are not a list")
    return tuple([_checked(entry) for entry in found])


def _checked(entry: Any) -> Letter:
    if type(entry) is not tuple or len(entry) != 6:
        raise ValueError("a letter does not have its six parts")
    letter = Letter(*entry)
    if type(letter.sender) is not int or type(letter.seq) is not int or letter.kind not in (0, 1, 2, 3):
        raise ValueError(f"a letter of {letter.sender!r}, {letter.seq!r}, of kind {letter.kind!r}")
    if (letter.sender < 0) != (letter.kind == RETURNED):
        raise ValueError("nodes send, and partitions return")
    _check_address(letter.address)
    note = letter.note
    due: tuple[Any, ...] = {REPLY: (int, (int, str)), RETURNED: (int, (int, str), bool)}.get(letter.kind, ())
    if len(note or ()) != len(due) or not all(isinstance(n, kind) for n, kind in zip(note or (), due, strict=True)):
        raise ValueError(f"a letter of kind {letter.kind} with the note {note!r}")
    try:
        frozen(letter.value)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return letter


def _check_address(address: Any) -> None:
    match address:
        case None:
            return
        case int() if type(address) is int and address >= 0:
            return
        case (1, int(direction), None) if IN <= direction <= BOTH:
            return
        case (1, int(direction), tuple(types)) if IN <= direction <= BOTH:
            if all(type(kind) in (int, str) for kind in types):
                return
        case (2, int() | str(), int() | str()):
            return
    raise ValueError(f"the address {address!r} is none")

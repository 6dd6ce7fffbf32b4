"""The operators' wire: a stream of bytes each way, cut into ZeroMQ messages that never overfill a queue.

What goes through is the very protocol of the admin socket (`daemon.admin.server`), byte for byte; this file knows
nothing of it. Why there is anything between the two at all: ZeroMQ brings encryption and keys (CURVE), and it has
messages, no streams. It drops what does not fit a queue (ROUTER), and a queue is bounded in messages, not in bytes. So
both ends count: each may have `WINDOW` on its way that the other has not used up yet, and is told with `CREDIT` how
much has been. A message is charged `MESSAGE_COST` beside its bytes, so that a window has a bounded number of messages,
too: one that is full of single bytes still fits a queue of `QUEUE_MESSAGES`.

A message is a header, a kind and a number, and for `DATA` a body:

    OPEN   version     to the daemon: begin; back: begun (another version than was asked for: refused)
    DATA   sequence    bytes of the stream, `CHUNK` at most
    CREDIT amount      so much of the window has been used up
    END    0           to the client: nothing more comes. A client hangs up by closing its connection

Both sides are pure: `Sending` and `Receiving` say what may be done, their owner has the socket. Anything else than what
they expect is a `BadMessage`, after which nothing on that stream could be told apart, and it ends.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Body = bytes | bytearray | memoryview

VERSION: Final = 1
HEADER: Final = struct.Struct("!BI")
OPEN, DATA, CREDIT, END = 1, 2, 3, 4
CHUNK: Final = 64 * 1024
"""Of 16, 64 and 256 KiB none was clearly faster: encryption is what takes the time."""
MESSAGE_COST: Final = 1024
WINDOW: Final = 1024 * 1024
"""What a connection of 1 Gbit/s with a round trip of 8 ms has on its way."""
CREDIT_AT: Final = WINDOW // 4
QUEUE_MESSAGES: Final = 2048
"""More than a window of single bytes and the credits of the other one."""
SEQUENCES: Final = 1 << 32


class BadMessage(Exception):
    """Not what this protocol says comes now."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, of a known kind and of the right shape."""

    kind: int
    number: int
    body: memoryview


def header(kind: int, number: int = 0) -> bytes:
    """The first part of a message."""
    return HEADER.pack(kind, number)


def parsed(parts: Sequence[Body]) -> Message:
    """A message from its parts. Raises `BadMessage`."""
    if not 1 <= len(parts) <= 2 or len(parts[0]) != HEADER.size:
        raise BadMessage("not a header and at most one body")
    kind, number = HEADER.unpack(parts[0])
    if not OPEN <= kind <= END:
        raise BadMessage("no such kind of message")
    if (len(parts) == 2) != (kind == DATA):
        raise BadMessage("only DATA has a body")
    body = memoryview(parts[1] if len(parts) == 2 else b"").cast("B")
    if kind == DATA and not 1 <= len(body) <= CHUNK:
        raise BadMessage("DATA has a body of another size")
    return Message(kind, number, body)


def cost(length: int) -> int:
    """What a body of that length takes of a window."""
    return length + MESSAGE_COST


class Sending:
    """One direction, at its sender."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._sequence = 0

    @property
    def room(self) -> int:
        """How long the next body may be; 0: none now, not before there is credit."""
        return max(0, min(CHUNK, self._left - MESSAGE_COST))

    def sent(self, length: int) -> bytes:
        """Take note of a body that goes out now; the header to put before it."""
        assert 0 < length <= self.room, (length, self._left)
        self._left -= cost(length)
        sequence, self._sequence = self._sequence, (self._sequence + 1) % SEQUENCES
        return header(DATA, sequence)

    def credited(self, amount: int) -> None:
        """The other side has used up so much. Raises `BadMessage` where that is more than it was sent."""
        if not 0 < amount <= WINDOW - self._left:
            raise BadMessage("credit for more than was sent")
        self._left += amount


class Receiving:
    """One direction, at its receiver."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._sequence = 0
        self._owed = 0

    def took(self, message: Message) -> None:
        """A body has come. Raises `BadMessage` where one is missing before it, or it is more than there is room for."""
        if message.number != self._sequence:
            raise BadMessage("a message is missing")
        if cost(len(message.body)) > self._left:
            raise BadMessage("more than the window")
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._left -= cost(len(message.body))

    def used_up(self, length: int) -> bytes | None:
        """A body of that length has been passed on; the message that is due for it, if one is."""
        self._owed += cost(length)
        if self._owed < CREDIT_AT:
            return None
        amount, self._owed = self._owed, 0
        self._left += amount
        return header(CREDIT, amount)

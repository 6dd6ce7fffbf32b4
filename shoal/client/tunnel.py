"""The operators' tunnel: a byte stream each way, cut into ZeroMQ messages that never overfill a queue.

It carries the protocol of the admin socket (`daemon.admin.server`) byte for byte, without knowing it. The tunnel is
needed because ZeroMQ, which provides encryption and keys (CURVE), has messages and not streams. It drops messages that
do not fit a queue (ROUTER), and bounds a queue in messages, not in bytes. So both ends use flow control: each may have
`WINDOW` in transit that the other has not consumed yet, and `CREDIT` tells it how much was consumed. A message costs
`MESSAGE_COST` in addition to its bytes, which also bounds the number of messages in a window: one full of single bytes
still fits a queue of `QUEUE_MESSAGES`.

A message is a header (a kind and a number) and, for `DATA`, a body:

    OPEN   version     to the daemon: begin; back: begun (another version than was asked for: refused)
    DATA   sequence    bytes of the stream, `CHUNK` at most
    CREDIT amount      so much of the window has been used up
    END    0           to the client: nothing more comes. A client hangs up by closing its connection

Both sides are pure: `Sending` and `Receiving` keep the state, their owner has the socket. Anything unexpected raises
`BadMessage`, which ends the stream.
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
"""Of 16, 64 and 256 KiB none was clearly faster: encryption dominates the time."""
MESSAGE_COST: Final = 1024
WINDOW: Final = 1024 * 1024
"""What a connection of 1 Gbit/s with a round trip of 8 ms has in transit."""
CREDIT_AT: Final = WINDOW // 4
QUEUE_MESSAGES: Final = 2048
"""More than a window of single bytes plus the credits of the other direction."""
SEQUENCES: Final = 1 << 32


class BadMessage(Exception):
    """Raised for a message that the protocol does not allow now."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, of a known kind and well-formed."""

    kind: int
    number: int
    body: memoryview


def header(kind: int, number: int = 0) -> bytes:
    """Returns the first part of a message."""
    return HEADER.pack(kind, number)


def parsed(parts: Sequence[Body]) -> Message:
    """Parses a message from its parts. Raises `BadMessage`."""
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
    """Returns how much of a window a body of that length takes."""
    return length + MESSAGE_COST


class Sending:
    """The sender of one direction."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._sequence = 0

    @property
    def room(self) -> int:
        """The maximum length of the next body; 0 means none before there is credit."""
        return max(0, min(CHUNK, self._left - MESSAGE_COST))

    def sent(self, length: int) -> bytes:
        """Counts a body that is sent now; returns the header that precedes it."""
        assert 0 < length <= self.room, (length, self._left)
        self._left -= cost(length)
        sequence, self._sequence = self._sequence, (self._sequence + 1) % SEQUENCES
        return header(DATA, sequence)

    def credited(self, amount: int) -> None:
        """Counts `amount` as consumed by the other side. Raises `BadMessage` if it was never sent that much."""
        if not 0 < amount <= WINDOW - self._left:
            raise BadMessage("credit for more than was sent")
        self._left += amount


class Receiving:
    """The receiver of one direction."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._sequence = 0
        self._owed = 0

    def took(self, message: Message) -> None:
        """Counts a received body. Raises `BadMessage` if an earlier one is missing, or if it exceeds the window."""
        if message.number != self._sequence:
            raise BadMessage("a message is missing")
        if cost(len(message.body)) > self._left:
            raise BadMessage("more than the window")
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._left -= cost(len(message.body))

    def used_up(self, length: int) -> bytes | None:
        """Counts a body of that length as consumed; returns the credit message to send, if one is due."""
        self._owed += cost(length)
        if self._owed < CREDIT_AT:
            return None
        amount, self._owed = self._owed, 0
        self._left += amount
        return header(CREDIT, amount)

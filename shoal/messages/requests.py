"""Requests: what is asked in one tick is answered in the next, and in the one after all replies are there.

A tick is a tick everywhere, so nobody has to wait for anybody: whoever was asked in tick t answers in t + 1, a node
that does not exist is found missing in t + 1, and in t + 2 the node that asked has a reply of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shoal.messages.envelopes import REPLY, Letter

TICKS = 2


class Asked(NamedTuple):
    """A request that is out: the tick its replies are due in, the seqs of its letters, and what was asked."""

    due: int
    seq: int
    letters: int
    value: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What one node answered; a node that does not exist is `missing` and answers None."""

    node: int | str
    value: Any
    missing: bool = False


class Replies(Sequence[Reply]):
    """All replies to one request, by the ordinal of who answered, missing ones last. `request` is what was asked."""

    __slots__ = ("_replies", "request")

    def __init__(self, request: Any, replies: Sequence[Reply]) -> None:
        self.request, self._replies = request, tuple(replies)

    def __len__(self) -> int:
        return len(self._replies)

    def __getitem__(self, index: Any) -> Any:
        return self._replies[index]

    def __iter__(self) -> Iterator[Reply]:
        return iter(self._replies)

    def __repr__(self) -> str:
        return f"Replies({self.request!r}, {list(self._replies)})"

    @property
    def values(self) -> list[Any]:
        """What was answered, without those who are missing."""
        return [reply.value for reply in self._replies if not reply.missing]

    @property
    def missing(self) -> list[int | str]:
        """The ids of nodes that were asked and do not exist."""
        return [reply.node for reply in self._replies if reply.missing]


def replies_to(asked: Asked, letters: Sequence[Letter]) -> Replies:
    """The replies to a request among what came to the node that asked, in canonical order."""
    found, missing = [], []
    for letter in letters:
        if letter.note is None or not asked.seq <= letter.note[0] < asked.seq + asked.letters:
            continue
        if letter.kind == REPLY:
            found.append(Reply(letter.note[1], letter.value))
        elif letter.note[2]:
            missing.append(Reply(letter.note[1], None, missing=True))
    return Replies(asked.value, [*found, *missing])

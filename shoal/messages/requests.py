"""Requests: a request of one tick is answered in the next, and all replies arrive in the one after.

Ticks are in lockstep, so no node has to wait for another: a receiver of tick t answers in t + 1, a node that does not
exist is found missing in t + 1, and in t + 2 the requesting node has a reply from each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shoal.messages.envelopes import REPLY, Letter

TICKS = 2


class Asked(NamedTuple):
    """A pending request: the tick in which replies are due, the seqs of its letters, and the request's value."""

    due: int
    seq: int
    letters: int
    value: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of one node; for a node that does not exist, `missing` is true and `value` is None."""

    node: int | str
    value: Any
    missing: bool = False


class Replies(Sequence[Reply]):
    """All replies to one request, by the ordinal of the replying node, missing ones last; `request` is its value."""

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
        """The values of the replies, without missing nodes."""
        return [reply.value for reply in self._replies if not reply.missing]

    @property
    def missing(self) -> list[int | str]:
        """The ids of receivers that do not exist."""
        return [reply.node for reply in self._replies if reply.missing]


def replies_to(asked: Asked, letters: Sequence[Letter]) -> Replies:
    """Returns the replies to a request among the letters of the requesting node, in canonical order."""
    found, missing = [], []
    for letter in letters:
        if letter.note is None or not asked.seq <= letter.note[0] < asked.seq + asked.letters:
            continue
        if letter.kind == REPLY:
            found.append(Reply(letter.note[1], letter.value))
        elif letter.note[2]:
            missing.append(Reply(letter.note[1], None, missing=True))
    return Replies(asked.value, [*found, *missing])

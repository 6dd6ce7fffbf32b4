"""What each server has said that it will never forget, and whether it has.

Purpose: Raft takes it for granted that a disk keeps what it was given. One that goes back to an earlier state (the
snapshot of a virtual machine is restored, a write-ahead log is lost) makes a server of it that votes again in a term
in which it has voted, and lacks entries that a leader counts as held by it. It can't know. The others can.

Intuition: whatever a server says rests on its disk ("persist before you speak"), so each of its messages is a promise.
Its term never falls, and in one term what it has acknowledged is never truncated: there is one leader a term, and that
one's log only grows (thesis, figure 3.2, Leader Append-Only). So what a server promises rises in the order of (term,
index), and when it starts again it must begin at the highest promise of its former lives, or above::

    promised   AppendReply(term 5, accepted, index 90)     (5, 90)
    restarts   with term 5 and a log that ends at 93       (5, 93)   it kept its word
               with term 6 and a log that ends at 40       (6, 40)   so it did: a later leader may have cut its log
               with term 5 and a log that ends at 88       (5, 88)   it forgot
               with term 4                                 (4, ...)  it forgot

Left out: what a server forgot between two promises, and what it promised to those who have started again since.

>>> promises = Promises()
>>> promises.note("b", AppendReply(5, accepted=True, index=90))
>>> promises.started_again("b", term=5, last_index=93)
>>> promises.started_again("b", term=5, last_index=88)
Forgot(server='b', term=5, last_index=88, promised_term=5, promised_index=90)
>>> promises.are_void("b")
True
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, assert_never

from consensus.effects import Forgot
from consensus.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    PreVoteRequest,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

STRANGERS_KEPT: Final = 64
"""Forgetful ones that are no servers of ours, perhaps not yet."""


class Promise(NamedTuple):
    """A server's term, and up to where its log in that term is held for good."""

    term: int
    entry: int


class Promises:
    """As one server has heard them from the others. `forgetful` are those who have broken theirs, for good."""

    def __init__(self) -> None:
        self.forgetful: dict[str, None] = {}
        self._highest: dict[str, Promise] = {}

    def note(self, server: str, message: Message) -> None:
        """A server has said something."""
        promise = promised(message)
        if promise is not None:
            self._highest[server] = max(promise, self._highest.get(server, promise))

    def started_again(self, server: str, term: int, last_index: int) -> Forgot | None:
        """A server has started again with this on its disk; what it must have forgotten, if it has and that is new."""
        promise = self._highest.get(server)
        if promise is None or (term, last_index) >= promise or self.are_void(server):
            return None
        self.distrust(server)
        return Forgot(server, term, last_index, *promise)

    def distrust(self, server: str) -> None:
        """Somebody knows that a server has forgotten something."""
        self.forgetful[server] = None

    def are_void(self, server: str) -> bool:
        """Whether nothing that a server says counts any more."""
        return server in self.forgetful

    def keep_only(self, servers: Collection[str]) -> None:
        """Forget what others have promised, and of those who broke their promises all but the last few."""
        self._highest = {server: promise for server, promise in self._highest.items() if server in servers}
        for stranger in [server for server in self.forgetful if server not in servers][:-STRANGERS_KEPT]:
            del self.forgetful[stranger]


def promised(message: Message) -> Promise | None:
    """What a message says of its sender's own disk; None if it says nothing of it."""
    match message:
        case PreVoteRequest(term=term):
            return Promise(term - 1, 0)
        case PreVoteReply(term=term, granted=granted):
            return None if granted else Promise(term, 0)  # granted, it is the asker's term
        case VoteRequest(term=term) | VoteReply(term=term) | SnapshotReply(term=term) | TimeoutNow(term=term):
            return Promise(term, 0)
        case Append(term=term, prev_index=prev_index, entries=entries):
            return Promise(term, prev_index + len(entries))
        case AppendReply(term=term, accepted=accepted, index=index):
            return Promise(term, index if accepted else 0)
        case InstallSnapshot(term=term, header=header):
            return Promise(term, header.index)
        case _:
            assert_never(message)

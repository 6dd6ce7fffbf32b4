"""Tracks what each server has promised never to forget, and detects when it has.

Purpose: Raft assumes that a disk keeps what it was given. If a disk goes back to an earlier state (somebody restores
the snapshot of a virtual machine, a write-ahead log is lost), its server may vote a second time in a term, and lacks
entries that a leader counts as held by it. The server can't know that. Its peers can.

Intuition: a server persists before it speaks, so each of its messages is a promise. Its term never falls, and within a
term it never truncates what it has acknowledged: each term has one leader, whose log only grows (thesis, figure 3.2,
Leader Append-Only). So its promises rise in the order of (term, index), and when it restarts it must begin at or above
the highest promise of its former lives::

    promised   AppendReply(term 5, accepted, index 90)     (5, 90)
    restarts   with term 5 and a log that ends at 93       (5, 93)   it kept its word
               with term 6 and a log that ends at 40       (6, 40)   so it did: a later leader may have cut its log
               with term 5 and a log that ends at 88       (5, 88)   it forgot
               with term 4                                 (4, ...)  it forgot

Left out: what a server forgot between two promises, and what it promised to peers that have restarted since.

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
"""How many forgetful servers outside the configuration are remembered; they may join it later."""


class Promise(NamedTuple):
    """A server's term, and up to which index its log in that term is durable."""

    term: int
    entry: int


class Promises:
    """The promises that one server has heard from its peers. `forgetful` servers have broken theirs, for good."""

    def __init__(self) -> None:
        self.forgetful: dict[str, None] = {}
        self._highest: dict[str, Promise] = {}

    def note(self, server: str, message: Message) -> None:
        """Notes the promise in a server's message."""
        promise = promised(message)
        if promise is not None:
            self._highest[server] = max(promise, self._highest.get(server, promise))

    def started_again(self, server: str, term: int, last_index: int) -> Forgot | None:
        """Checks what a restarted server has on its disk; returns ``Forgot`` if this newly shows a loss."""
        promise = self._highest.get(server)
        if promise is None or (term, last_index) >= promise or self.are_void(server):
            return None
        self.distrust(server)
        return Forgot(server, term, last_index, *promise)

    def distrust(self, server: str) -> None:
        """Marks a server as forgetful, on the word of a host that knows."""
        self.forgetful[server] = None

    def are_void(self, server: str) -> bool:
        """Whether all that a server says is ignored."""
        return server in self.forgetful

    def keep_only(self, servers: Collection[str]) -> None:
        """Drops the promises of all other servers, and all but the last few of the forgetful ones among them."""
        self._highest = {server: promise for server, promise in self._highest.items() if server in servers}
        for stranger in [server for server in self.forgetful if server not in servers][:-STRANGERS_KEPT]:
            del self.forgetful[stranger]


def promised(message: Message) -> Promise | None:
    """Returns what a message promises about its sender's own disk; None if nothing."""
    match message:
        case PreVoteRequest(term=term):
            return Promise(term - 1, 0)
        case PreVoteReply(term=term, granted=granted):
            return None if granted else Promise(term, 0)  # if granted, the term is the asker's
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

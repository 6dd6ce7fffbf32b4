"""Handles committed data that can't be decoded: from another version of Shoal, or damaged.

A shard that skipped such a command would continue with a registry that differs from the others', and report that all is
well. So it stops there: it applies the log up to the command, nothing from it on, and keeps its log on disk for a
version that can read it.

*An entry* counts once consensus reports it as committed. For *a snapshot*, a shard has only its sender's word that it
is committed. One member that forges a term and sends nonsense must not stop the others, so an unreadable snapshot is
not enough, nor is it that the sender leads at the moment: a leader without a majority is replaced within an election
timeout or two, by one of a later term. A shard gives up when a leader has led for longer than that, in one
term, without any sign that this shard's log is as long as the leader's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consensus import AppendReply, Entry, Snapshot
from daemon.control.versions import Version, told
from daemon.state.envelope import CommandUnreadable
from daemon.wire import Rejected

ELECTION_TIMEOUTS: Final = 4
"""Each wait for a leader takes one to two of them, and an election may be split."""


class RefusedSnapshots:
    """Tracks since when a leader has been sending unreadable snapshots."""

    def __init__(self, election_timeout_ns: int) -> None:
        self._patience_ns = ELECTION_TIMEOUTS * election_timeout_ns
        self._sender: tuple[str, int] | None = None
        self._since_ns = 0

    def refuse(self, leader: str, term: int, now: int) -> bool:
        """Notes one from the leader that this shard follows; returns whether it is that leader's first in its term."""
        if self._sender == (leader, term):
            return False
        self._sender, self._since_ns = (leader, term), now
        return True

    def said(self, message: object) -> None:
        """Takes note of this shard's own reply, such as an acceptance: its log then matches the leader's."""
        if isinstance(message, AppendReply) and message.accepted:
            self._sender = None

    def are_for_good(self, now: int) -> bool:
        """Whether that leader has led for so long that a majority must follow it."""
        return self._sender is not None and now - self._since_ns >= self._patience_ns


def why_of_command(entry: Entry, unreadable: CommandUnreadable, versions: Mapping[str, Version | None]) -> str:
    """Describes a committed entry that can't be applied, and what to do."""
    return (
        f"entry {entry.index} of the log (term {entry.term}) is committed, and this shard can't read it: {unreadable}. "
        f"Neither it nor any later entry is applied here. {_what_to_do(versions)} Only if no version can read the"
        " entry: stop all daemons, inspect it with `shoalctl log show --data DIR`, and remove it with `shoalctl log"
        " skip` on every shard that has it"
    )


def why_of_snapshot(snapshot: Snapshot, mistake: Rejected, versions: Mapping[str, Version | None], where: str) -> str:
    """Describes a snapshot that can't be restored, and what to do."""
    return (
        f"the log's snapshot up to entry {snapshot.index} (term {snapshot.term}) {where}, can't be read: {mistake}. "
        f"It is not installed. {_what_to_do(versions)}"
    )


def why_not_proposed(unreadable: CommandUnreadable) -> str:
    """Tells the asker why the leader did not propose its command."""
    if unreadable.is_later:
        return (
            "the tick leader runs an older version that does not know this command: upgrade it, too (`shoalctl members`"
            f" shows each one's version); {unreadable}"
        )
    return f"the tick leader can't read this command: {unreadable}"


def _what_to_do(versions: Mapping[str, Version | None]) -> str:
    who = f"({told(versions)})" if versions else "(this shard does not see them yet)"
    return f"Install the version that the others run, which `shoalctl members` on one of them shows {who}."

"""The follower's side of replication: checks whether the leader's entries continue its log.

Source: thesis figure 3.1 (AppendEntries, receiver), 3.5 (log matching), and the end of 3.5 for the back-off: a
rejection names the follower's term at the leader's position and the index where that term begins, so that a leader
skips back a term per round trip instead of an entry.
"""

from __future__ import annotations

from consensus.limits import INDEX_LEAP_MAX
from consensus.log import Log
from consensus.messages import Append, AppendReply
from consensus.stored import SnapshotHeader


def follow(log: Log, commit: int, message: Append) -> AppendReply:
    """Merges the entries if they continue the log, and replies up to where the log now agrees with the leader's."""
    if message.prev_index < commit:
        # A late or repeated message. Every later leader agrees with what is committed (3.6.3), so acknowledge that
        # much.
        return AppendReply(message.term, accepted=True, index=commit)
    found = log.term_at(message.prev_index)
    if found != message.prev_term:
        return _rejection(log, commit, message, found)
    log.merge(message.entries)
    return AppendReply(message.term, accepted=True, index=message.prev_index + len(message.entries))


def makes_sense(header: SnapshotHeader, log: Log, commit: int) -> bool:
    """Whether a leader can have made this header: its term is not below the committed one, nor is it too far ahead."""
    is_older = header.index > commit and header.term < (log.term_at(commit) or 0)
    return not is_older and header.index <= log.last_index + INDEX_LEAP_MAX


def _rejection(log: Log, commit: int, message: Append, found: int | None) -> AppendReply:
    """Tells the leader where to try next, never at or before the commit index: nothing committed is in conflict."""
    conflict_term, conflict_index = 0, log.last_index + 1
    if found is not None:
        conflict_term = found
        conflict_index = max(log.first_index_of_term(message.prev_index), commit + 1)
    return AppendReply(message.term, False, message.prev_index, conflict_term, conflict_index)

"""The follower's side of replication: does what the leader sent continue my log?

Source: thesis figure 3.1 (AppendEntries, receiver), 3.5 (log matching), and its last paragraphs for the
back-off: a rejection says which term stands where the leader's would, and where that term begins, so that a
leader skips a term a round trip and not an entry.
"""

from __future__ import annotations

from consensus.limits import INDEX_LEAP_MAX
from consensus.log import Log
from consensus.messages import Append, AppendReply
from consensus.stored import SnapshotHeader


def follow(log: Log, commit: int, message: Append) -> AppendReply:
    """Merge the entries into the log if they continue it, and say up to where it now agrees with the leader's."""
    if message.prev_index < commit:
        # A late or repeated message. What is committed agrees with every later leader (3.6.3), so say that much.
        return AppendReply(message.term, accepted=True, index=commit)
    found = log.term_at(message.prev_index)
    if found != message.prev_term:
        return _rejection(log, commit, message, found)
    log.merge(message.entries)
    return AppendReply(message.term, accepted=True, index=message.prev_index + len(message.entries))


def makes_sense(header: SnapshotHeader, log: Log, commit: int) -> bool:
    """Whether a leader can have made it: terms never fall behind what is committed, and no log is that much longer."""
    is_older = header.index > commit and header.term < (log.term_at(commit) or 0)
    return not is_older and header.index <= log.last_index + INDEX_LEAP_MAX


def _rejection(log: Log, commit: int, message: Append, found: int | None) -> AppendReply:
    """Where the leader should try next. What is committed is never in conflict, so never before that."""
    conflict_term, conflict_index = 0, log.last_index + 1
    if found is not None:
        conflict_term = found
        conflict_index = max(log.first_index_of_term(message.prev_index), commit + 1)
    return AppendReply(message.term, False, message.prev_index, conflict_term, conflict_index)

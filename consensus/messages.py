"""The messages between servers, and checks of whether they make sense.

Names follow the thesis (figure 3.1, sections 3.10, 4.1, 5.1 and 9.6). Every message has a ``term``; the transport names
the sender, so the message does not. The host encodes messages: fields are only int, bool, str, bytes, tuples and the
frozen types of stored.py and configuration.py.

    PreVoteRequest  -> PreVoteReply      would you vote for me?          term: the one the sender would campaign in
    VoteRequest     -> VoteReply         vote for me
    Append          -> AppendReply       entries, heartbeat, commit index
    InstallSnapshot -> SnapshotReply     a chunk, for a follower that lacks entries which the log no longer holds
                    -> AppendReply       instead, once the follower holds all that the snapshot covers
    TimeoutNow                           leadership transfer: stand for election at once

A snapshot of any size travels in chunks, with few in flight at a time, so that no message is long (5.1; chunks are
numbered, where the thesis has byte offsets).
"""

from __future__ import annotations

from typing import assert_never

from consensus.limits import INDEX_MAX, TERM_MAX
from consensus.stored import CHUNK_BYTES_MAX, CHUNKS_MAX, DIGEST_BYTES, Entry, SnapshotHeader
from consensus.struct import Number, Struct


class PreVoteRequest(Struct):
    """Thesis 9.6: asks without raising any server's term. ``term`` is the one that the sender would campaign in."""

    term: Number
    last_index: Number
    last_term: Number


class PreVoteReply(Struct):
    """``term`` is the request's if granted, otherwise the replier's own."""

    term: Number
    granted: bool


class VoteRequest(Struct):
    """``transfer``: the leader itself asked for this election, so hearing from it is no reason to refuse (3.10)."""

    term: Number
    last_index: Number
    last_term: Number
    transfer: bool = False


class VoteReply(Struct):
    term: Number
    granted: bool


class Append(Struct):
    """Entries that follow (prev_index, prev_term); without entries, a heartbeat, which also detects a lost Append.

    The reply repeats ``round``, and so proves that it answers a message sent since that round began (6.4).
    """

    term: Number
    prev_index: Number
    prev_term: Number
    entries: tuple[Entry, ...]
    commit: Number
    round: Number = 0


class AppendReply(Struct):
    """Accepted: the logs agree up to ``index``. Rejected: they don't agree at ``index``, the request's prev_index.

    The back-off of section 3.5: ``conflict_term`` is the term of the follower's entry at ``index`` (0: its log is
    shorter), ``conflict_index`` the first index it holds of that term (or the first that it lacks).
    """

    term: Number
    accepted: bool
    index: Number
    conflict_term: Number = 0
    conflict_index: Number = 0
    round: Number = 0


class InstallSnapshot(Struct):
    """Chunk ``number``, from 0. One message with an empty chunk announces a snapshot that has no chunks."""

    term: Number
    header: SnapshotHeader
    number: Number
    chunk: bytes


class SnapshotReply(Struct):
    """The follower holds this many chunks, from the first, of the snapshot with that ``index`` and digest."""

    term: Number
    index: Number
    digest: bytes
    held: Number


class TimeoutNow(Struct):
    term: Number


Message = (
    PreVoteRequest
    | PreVoteReply
    | VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
)


def is_sensible(message: Message) -> bool:
    """Whether a correct server could have sent the message; the codec has checked the types."""
    if not 1 <= message.term <= TERM_MAX:
        return False
    match message:
        case PreVoteRequest() | VoteRequest():
            return 0 <= message.last_term < message.term and 0 <= message.last_index <= INDEX_MAX
        case Append():
            return _is_sensible_append(message)
        case AppendReply():
            said = (message.index, message.conflict_index, message.round)
            return min(said) >= 0 and max(said) <= INDEX_MAX and 0 <= message.conflict_term <= message.term
        case InstallSnapshot():
            return _is_sensible_chunk(message)
        case SnapshotReply():
            return 1 <= message.index <= INDEX_MAX and 0 <= message.held <= CHUNKS_MAX
        case PreVoteReply() | VoteReply() | TimeoutNow():
            return True
        case _:
            assert_never(message)


def _is_sensible_append(message: Append) -> bool:
    """Requires contiguous entries, terms that never fall or exceed the sender's, and sound configurations."""
    said = (message.prev_index, message.commit, message.round)
    if min(said) < 0 or max(said) > INDEX_MAX or not 0 <= message.prev_term <= message.term:
        return False
    if (message.prev_index == 0) != (message.prev_term == 0):
        return False
    index, term = message.prev_index, message.prev_term
    for entry in message.entries:
        if entry.index != index + 1 or not max(term, 1) <= entry.term <= message.term:
            return False
        if entry.configuration is not None and (entry.data or not entry.configuration.is_sound):
            return False
        index, term = entry.index, entry.term
    return True


def _is_sensible_chunk(message: InstallSnapshot) -> bool:
    header, size = message.header, len(message.chunk)
    return (
        1 <= header.index <= INDEX_MAX
        and 1 <= header.term <= message.term
        and header.configuration.is_sound
        and len(header.digest) == DIGEST_BYTES
        and header.count <= CHUNKS_MAX
        and (0 <= message.number < header.count or message.number == header.count == 0)
        and (1 <= size <= CHUNK_BYTES_MAX if header.count else size == 0)
    )


def answer_to_old(message: Message, term: int) -> Message | None:
    """Returns a reply that tells a sender the newer term, so that a candidate catches up and a leader steps down."""
    match message:
        case PreVoteRequest():
            return PreVoteReply(term, granted=False)
        case VoteRequest():
            return VoteReply(term, granted=False)
        case Append() | InstallSnapshot():
            return AppendReply(term, accepted=False, index=0)
        case PreVoteReply() | VoteReply() | AppendReply() | SnapshotReply() | TimeoutNow():
            return None
        case _:
            assert_never(message)

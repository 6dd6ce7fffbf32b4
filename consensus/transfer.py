"""Both ends of a snapshot transfer: in chunks, few in flight, resumed from where it was when one gets lost.

Source: thesis 5.1 (InstallSnapshot), with numbered chunks instead of byte offsets. ::

    leader                                                follower
      chunks 0 1 2 3           ------------------------>    holds 0 1, then 2 was lost
      held 2                   <------------------------
      ... chunks 2 3 4 5       ------------------------>    holds all; the digest is right
      accepted up to index     <------------------------    the host can read it: installed

A header with a digest over all chunks identifies a snapshot. Servers that have applied the same entries hold the same
bytes, so a transfer resumes under the next leader if it has the same snapshot, and starts over otherwise. The follower
keeps the chunks in memory: it starts over after a restart, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.messages import InstallSnapshot
from consensus.stored import Snapshot, SnapshotHeader, add_to_digest, begun_digest


@dataclass(slots=True)
class Outgoing:
    """One snapshot in flight to one follower."""

    header: SnapshotHeader
    acked: int = 0
    sent: int = 0

    def next(self, term: int, snapshot: Snapshot, inflight_max: int) -> InstallSnapshot | None:
        """Returns the next chunk; None if the maximum is in flight."""
        if self.sent >= min(self.acked + inflight_max, max(self.header.count, 1)):
            return None
        number, self.sent = self.sent, self.sent + 1
        return InstallSnapshot(term, self.header, number, snapshot.chunks[number] if self.header.count else b"")

    def held(self, count: int) -> bool:
        """Notes how many chunks the follower holds; returns whether that is progress. A lower count is an old message,
        unless it is 0: then the follower has started over.
        """
        count = min(count, self.header.count)
        is_progress = count > self.acked
        if is_progress:
            self.acked, self.sent = count, max(self.sent, count)
        elif self.acked and not count:
            self.acked = self.sent = 0
        return is_progress

    def again(self) -> None:
        """Resends unacknowledged chunks; if there are none, the last one, because the snapshot is unacknowledged."""
        self.sent = min(self.acked, max(self.header.count - 1, 0))


class Incoming:
    """The chunks received of a leader's snapshot, at most one."""

    def __init__(self) -> None:
        self.whole: Snapshot | None = None
        self._header: SnapshotHeader | None = None
        self._chunks: list[bytes] = []
        self._digest = begun_digest()

    def clear(self) -> None:
        """Drops all chunks."""
        self.whole, self._header, self._chunks, self._digest = None, None, [], begun_digest()

    def take(self, message: InstallSnapshot) -> int:
        """Takes a chunk if it is the next one; returns how many are held. Sets ``whole`` once all are."""
        if message.header != self._header:
            if message.number:
                return 0  # it may be a late chunk of an earlier snapshot
            self.clear()
            self._header = message.header
        if message.number == len(self._chunks) and message.chunk:
            self._chunks.append(message.chunk)
            add_to_digest(self._digest, message.chunk)
        if self.whole is None and len(self._chunks) == message.header.count:
            self._complete(message.header)
        return len(self._chunks)

    def _complete(self, header: SnapshotHeader) -> None:
        if self._digest.digest() == header.digest:
            self.whole = Snapshot(header.index, header.term, header.configuration, tuple(self._chunks))
        else:
            self.clear()

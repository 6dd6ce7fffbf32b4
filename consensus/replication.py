"""The leader's side of replication: tracks each follower's log, and decides what to send next.

Source: thesis 3.5, 5.1 (when to send a snapshot), 10.2.2 (batching and pipelining); the three paces are those
of etcd-io/raft's tracker. ::

              accepted                        log no longer reaches back
    PROBE  ------------->  STREAM     PROBE, STREAM  --------->  SNAPSHOT
      ^                      |                                      |
      +------- rejected -----+               STREAM  <-- accepted --+

PROBE: one Append at a time until the leader knows where the logs agree; until the follower replies, heartbeats without
entries. If one of those is accepted first, the Append got lost. STREAM: Appends leave without waiting for earlier
replies, at most ``inflight_max`` in flight. The next heartbeat names the end of what was sent, and so is rejected if
one got lost. SNAPSHOT: chunks, few at a time (transfer.py), and heartbeats, until the follower has installed it.

Invariant: ``match_index < next_index <= last_index + 1``; everything up to ``match_index`` is on the follower's disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from consensus.effects import Readable
from consensus.limits import Limits
from consensus.log import Log
from consensus.messages import Append, AppendReply, Message, SnapshotReply
from consensus.quorum import agreed
from consensus.read_index import Reads
from consensus.stored import Snapshot, SnapshotHeader
from consensus.transfer import Outgoing

NEVER_NS = 1 << 62
SNAPSHOT_DOUBLINGS_MAX = 4


class Pace(StrEnum):
    """How a follower is sent entries."""

    PROBE = "probe"
    STREAM = "stream"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Removal:
    """The entry that removed a server; the leader replicates to the server until then, since nobody else tells it."""

    index: int
    until_ns: int


@dataclass(slots=True)
class Progress:
    """The leader's view of one follower."""

    next_index: int
    heard_at_ns: int
    match_index: int = 0
    round: int = 0
    pace: Pace = Pace.PROBE
    commit_told: int = 0
    is_waiting: bool = False
    inflight: deque[int] = field(default_factory=deque)
    snapshot: Outgoing | None = None
    snapshot_heard_ns: int = 0
    """When chunks were last acknowledged or sent again."""
    snapshots_overdue: int = 0
    """How often in a row they were sent again: the link may be slow, and each chunk queues behind the earlier ones."""
    removed: Removal | None = None

    def turn(self, pace: Pace, next_index: int) -> None:
        """Changes pace; nothing in flight counts any more, except how much of a snapshot the follower holds."""
        self.pace = pace
        self.next_index = next_index
        self.is_waiting = False
        self.inflight.clear()


class Replication:
    """All followers of one leader in one term, which begins with the next entry of its log."""

    def __init__(self, name: str, limits: Limits, log: Log, term: int, forgetful: Collection[str] = ()) -> None:
        """`forgetful` servers receive nothing and never count, whatever they had acknowledged before."""
        self._forgetful = forgetful
        self.reads = Reads(log.last_index + 1)
        self._name = name
        self._limits = limits
        self._log = log
        self._term = term
        self._followers: dict[str, Progress] = {}
        self._header: SnapshotHeader | None = None

    @property
    def peers(self) -> list[str]:
        """The servers to send to, in order of name."""
        return sorted(peer for peer in self._followers if peer not in self._forgetful)

    def add(self, peers: Iterable[str], now: int) -> None:
        """Begins sending to new peers; a new one counts as just heard."""
        for peer in peers:
            if peer not in self._followers or self._followers[peer].removed:
                self._followers[peer] = Progress(self._log.last_index + 1, now)

    def mark_removed(self, members: Collection[str], index: int, now: int) -> None:
        """Marks the followers that are no longer in `members`, by the committed entry at `index`."""
        until_ns = now + self._limits.election_timeout_ns
        for peer, progress in self._followers.items():
            if peer not in members and progress.removed is None:
                progress.removed = Removal(index, until_ns)

    def forget_removed(self, now: int) -> None:
        """Drops the removed servers that have acknowledged their removal, or whose time to do so is up."""
        for peer, progress in list(self._followers.items()):
            if (gone := progress.removed) and (progress.match_index >= gone.index or now >= gone.until_ns):
                del self._followers[peer]

    def match_index(self, peer: str) -> int:
        """Up to where a follower's log is known to agree; 0 for an unknown or forgetful one."""
        progress = self._counted(peer)
        return progress.match_index if progress is not None else 0

    def _counted(self, peer: str) -> Progress | None:
        """Returns a follower whose replies count, or None."""
        return None if peer in self._forgetful else self._followers.get(peer)

    def agreed_index(self, voters: Collection[str], saved_index: int) -> int:
        """Up to where a majority holds the log, counting the leader up to ``saved_index``."""
        return agreed([saved_index if v == self._name else self.match_index(v) for v in voters])

    def quorum_heard_ns(self, voters: Collection[str]) -> int:
        """When a majority was last heard; a leader always hears itself."""
        return agreed([NEVER_NS if v == self._name else self._heard_at_ns(v) for v in voters])

    def tend_reads(self, voters: Collection[str], commit: int) -> tuple[list[Readable], list[tuple[str, Message]]]:
        """Returns reads whose round a majority has answered, and the next round's heartbeats if a read waits for it
        (6.4).

        The heartbeats carry no entries: the next periodic heartbeat retransmits what was lost before.
        """
        if not self.reads:
            return [], []
        done = self.reads.take(self._agreed_round(voters))
        if not self.reads.begins():
            return done, []
        others = [peer for peer in self.peers if peer in voters]
        heartbeats = [(v, self._heartbeat(self._followers[v], commit)) for v in others]
        # A single voter has a majority as soon as the round begins.
        return done + self.reads.take(self._agreed_round(voters)), heartbeats

    def are_majority(self, follower: str | None, voters: Collection[str]) -> bool:
        """Whether the leader and that follower are a majority."""
        counted = {self._name, follower}.difference(self._forgetful)
        return agreed([int(voter in counted) for voter in voters]) == 1

    def _agreed_round(self, voters: Collection[str]) -> int:
        return agreed([self.reads.round if v == self._name else self._round(v) for v in voters])

    def _round(self, voter: str) -> int:
        progress = self._counted(voter)
        return progress.round if progress is not None else 0

    def _heard_at_ns(self, voter: str) -> int:
        progress = self._counted(voter)
        return progress.heard_at_ns if progress is not None else 0

    def most_advanced(self, voters: Collection[str]) -> str:
        """Returns the voter with the longest known log; among equals, the last by name."""
        return max(voters, key=lambda voter: (self.match_index(voter), voter))

    def outgoing(self, peer: str, commit: int, now: int) -> list[Message]:
        """Returns all that may be sent now; if that is nothing, a heartbeat if the follower lacks the commit index."""
        progress = self._followers[peer]
        messages: list[Message] = []
        while (message := self._next(progress, commit, now)) is not None:
            messages.append(message)
        if not messages and progress.pace is Pace.STREAM and progress.commit_told < commit:
            messages.append(self._heartbeat(progress, commit))
        return messages

    def heartbeat(self, peer: str, commit: int, now: int) -> list[Message]:
        """Returns at least one message, whatever was lost before."""
        progress = self._followers[peer]
        return self.outgoing(peer, commit, now) or [self._heartbeat(progress, commit)]

    def reconnected(self, peer: str) -> None:
        """Resets a follower that has restarted: a snapshot in flight to its former life will not be acknowledged."""
        progress = self._followers.get(peer)
        if progress is not None and progress.pace is Pace.SNAPSHOT:
            progress.snapshot = None
            progress.turn(Pace.PROBE, progress.match_index + 1)

    def take_reply(self, peer: str, reply: AppendReply, now: int) -> None:
        """Updates a follower from its reply in the current term."""
        progress = self._followers[peer]
        progress.heard_at_ns = now
        progress.round = max(progress.round, reply.round)
        if reply.accepted:
            progress.snapshots_overdue = 0
            self._take_acceptance(progress, reply.index)
        else:
            self._take_rejection(progress, reply)

    def take_snapshot_reply(self, peer: str, reply: SnapshotReply, now: int) -> None:
        """Updates how much of a snapshot a follower holds."""
        progress = self._followers[peer]
        progress.heard_at_ns = now
        sent = progress.snapshot
        if sent is None or (sent.header.index, sent.header.digest) != (reply.index, reply.digest):
            return
        if sent.held(reply.held):
            progress.snapshot_heard_ns, progress.snapshots_overdue = now, 0

    def is_sending_snapshot(self, now: int) -> bool:
        """Whether a follower is receiving a snapshot and makes progress: a new snapshot would make it start over."""
        patience_ns = self._limits.snapshot_timeout_ns
        return any(
            progress.pace is Pace.SNAPSHOT and now - progress.snapshot_heard_ns < patience_ns
            for progress in self._followers.values()
        )

    def _next(self, progress: Progress, commit: int, now: int) -> Message | None:
        """Returns the next message with entries or a chunk, or None."""
        prev_index = progress.next_index - 1
        if progress.pace is Pace.SNAPSHOT or prev_index < self._log.snapshot.index:
            return self._chunk(progress, now)
        if progress.is_waiting or len(progress.inflight) >= self._limits.inflight_max:
            return None
        if progress.next_index > self._log.last_index:
            return None
        prev_term = self._log.term_at(prev_index)
        assert prev_term is not None, (progress, prev_index)
        entries = self._log.batch(
            progress.next_index, self._limits.entries_per_message_max, self._limits.bytes_per_message_max
        )
        if progress.pace is Pace.PROBE:
            progress.is_waiting = True
        else:
            progress.next_index = entries[-1].index + 1
            progress.inflight.append(entries[-1].index)
        progress.commit_told = commit
        return Append(self._term, prev_index, prev_term, entries, commit, self.reads.round)

    def _heartbeat(self, progress: Progress, commit: int) -> Message:
        """Returns an Append without entries at the end of what was sent: rejected if an earlier message got lost."""
        prev_index = progress.next_index - 1
        if progress.pace is Pace.SNAPSHOT or prev_index < self._log.snapshot.index:
            prev_index = self._log.snapshot.index  # the log no longer knows the terms before that
        prev_term = self._log.term_at(prev_index)
        assert prev_term is not None, (progress, prev_index)
        if progress.pace is Pace.PROBE:
            progress.is_waiting = True
        progress.commit_told = commit
        return Append(self._term, prev_index, prev_term, (), commit, self.reads.round)

    def _chunk(self, progress: Progress, now: int) -> Message | None:
        """Returns the next chunk of the log's snapshot; begins with the first if another snapshot was in flight."""
        snapshot = self._log.snapshot
        if progress.pace is not Pace.SNAPSHOT:
            progress.turn(Pace.SNAPSHOT, snapshot.index + 1)
        if progress.snapshot is None or progress.snapshot.header.index != snapshot.index:
            progress.snapshot, progress.snapshots_overdue = Outgoing(self._header_of(snapshot)), 0
            progress.snapshot_heard_ns = now
        elif now - progress.snapshot_heard_ns >= self._limits.snapshot_timeout_ns << progress.snapshots_overdue:
            progress.snapshots_overdue = min(progress.snapshots_overdue + 1, SNAPSHOT_DOUBLINGS_MAX)
            progress.snapshot_heard_ns = now
            progress.snapshot.again()
        return progress.snapshot.next(self._term, snapshot, self._limits.chunks_inflight_max)

    def _header_of(self, snapshot: Snapshot) -> SnapshotHeader:
        """Computed once for all followers, because it reads the whole snapshot."""
        if self._header is None or self._header.index != snapshot.index:
            self._header = snapshot.header
        return self._header

    def _take_acceptance(self, progress: Progress, index: int) -> None:
        is_news = index >= progress.match_index
        progress.match_index = max(progress.match_index, index)
        while progress.inflight and progress.inflight[0] <= index:
            progress.inflight.popleft()
        is_found = progress.pace is Pace.PROBE and is_news
        sent = progress.snapshot
        is_restored = progress.pace is Pace.SNAPSHOT and sent is not None and index >= sent.header.index
        if is_found or is_restored:
            progress.snapshot = None
            progress.turn(Pace.STREAM, progress.match_index + 1)
        progress.next_index = max(progress.next_index, progress.match_index + 1)

    def _take_rejection(self, progress: Progress, reply: AppendReply) -> None:
        """Goes back to where the logs may agree; ignores a reply to an older message."""
        is_stale = reply.index <= progress.match_index
        if progress.pace is Pace.PROBE:
            is_stale = is_stale or reply.index != progress.next_index - 1
        if is_stale or progress.pace is Pace.SNAPSHOT:
            return
        next_index = reply.conflict_index
        if reply.conflict_term:
            ours = self._log.last_index_up_to_term(reply.conflict_term, reply.index)
            next_index = next_index if ours is None else ours + 1
        progress.turn(Pace.PROBE, max(progress.match_index + 1, min(next_index, reply.index)))

    def validate(self) -> None:
        """Checks the invariant at the top, and the bound on messages in flight."""
        for peer in self.peers:
            progress = self._followers[peer]
            assert progress.match_index < progress.next_index <= self._log.last_index + 1, (peer, progress)
            assert len(progress.inflight) <= self._limits.inflight_max, (peer, progress)
            assert progress.round <= self.reads.round, (peer, progress)
        self.reads.validate()

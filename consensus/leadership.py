"""The leader's volatile state: heartbeats, check-quorum, pending reads and leadership transfer.

Source: thesis 3.5 (heartbeats), 6.2 (a leader that hears no majority for an election timeout steps down), 6.4 (reads),
3.10 (leadership transfer). `replication` tracks the followers; `raft` decides what is committed and who leads.

Invariant: a server has this state exactly while it leads.
"""

from __future__ import annotations

from collections.abc import Collection

from consensus.limits import Limits
from consensus.log import Log
from consensus.messages import TimeoutNow
from consensus.outbox import EffectOutbox
from consensus.replication import NEVER_NS, Replication
from consensus.stored import Entry


class Leadership:
    """One leader's state for one term, which begins with the next entry of its log."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        log: Log,
        term: int,
        outbox: EffectOutbox,
        now: int,
        *,
        forgetful: Collection[str] = (),
    ) -> None:
        self.followers = Replication(name, limits, log, term, forgetful)
        self.saved_index = 0
        """Up to where the leader's own log is durable; 0 until it has persisted an entry of its own term."""
        self.transfer_target: str | None = None
        """The server that is to lead next, or None; while set, the leader accepts no proposals."""
        self._limits = limits
        self._log = log
        self._term = term
        self._outbox = outbox
        self._heartbeat_ns = now + limits.heartbeat_interval_ns
        self._transfer_ns = now

    @property
    def deadline(self) -> int:
        """When the leader next has to act, or to step down."""
        transfer_ns = NEVER_NS if self.transfer_target is None else self._transfer_ns
        return min(self._heartbeat_ns, self.quorum_lost_ns, transfer_ns)

    @property
    def quorum_lost_ns(self) -> int:
        """When the leader steps down unless a majority is heard: an election timeout after the last time (6.2)."""
        return self.followers.quorum_heard_ns(self._log.configuration.voters) + self._limits.election_timeout_ns

    def wake(self, commit_index: int, now: int) -> None:
        """Abandons a transfer that takes too long, and sends the heartbeats that are due."""
        if self.transfer_target is not None and now >= self._transfer_ns:
            self.transfer_target = None
        if now < self._heartbeat_ns:
            return
        self._heartbeat_ns = now + self._limits.heartbeat_interval_ns
        self.followers.reads.begins(again=True)
        self.followers.forget_removed(now)
        for peer in self.followers.peers:
            for message in self.followers.heartbeat(peer, commit_index, now):
                self._outbox.send(peer, message)

    @property
    def is_saving(self) -> bool:
        """Whether entries of this leader wait for its own disk."""
        return self.saved_index < self._log.last_index

    def saved(self, entry: Entry) -> None:
        """Notes that the log is durable up to an entry; one of an earlier term may have been truncated since."""
        if entry.term == self._term:
            self.saved_index = max(self.saved_index, entry.index)

    def agreed_index(self) -> int:
        """Up to where a majority holds the log on disk; the leader itself counts only if it votes (4.2.2)."""
        return self.followers.agreed_index(self._log.configuration.voters, self.saved_index)

    def replicate(self, commit_index: int, now: int) -> None:
        """Sends every follower what it lacks."""
        for peer in self.followers.peers:
            self.replicate_to(peer, commit_index, now)

    def replicate_to(self, peer: str, commit_index: int, now: int) -> None:
        """Sends one follower what it lacks."""
        for message in self.followers.outgoing(peer, commit_index, now):
            self._outbox.send(peer, message)

    def tend_reads(self, commit_index: int) -> None:
        """Answers the reads whose round a majority has acknowledged, and starts the next round if needed (6.4)."""
        readable, heartbeats = self.followers.tend_reads(self._log.configuration.voters, commit_index)
        self._outbox.readable(readable)
        for voter, message in heartbeats:
            self._outbox.send(voter, message)

    def transfer(self, to: str, now: int) -> None:
        """Hands leadership to a voter once it has the whole log; gives up after an election timeout (3.10)."""
        self.transfer_target = to
        self._transfer_ns = now + self._limits.election_timeout_ns
        self.hand_over_when_ready()

    def hand_over_when_ready(self) -> None:
        """Tells the target to campaign; repeats it at each of its replies, because the message may be lost."""
        target = self.transfer_target
        if target is not None and self.followers.match_index(target) == self._log.last_index:
            self._outbox.send(target, TimeoutNow(self._term))

    def resign(self) -> None:
        """Tells the most advanced voter to campaign, which spares the cluster an election timeout."""
        heir = self.followers.most_advanced(self._log.configuration.voters)
        self._outbox.send(heir, TimeoutNow(self._term))

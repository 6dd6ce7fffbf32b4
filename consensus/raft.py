"""Raft-lite: one server of a replicated log, as a pure state machine.

Purpose: puts cluster decisions (views, runs, locks, programs) into one order that every server agrees on and that
survives the crash of any minority. Source: Diego Ongaro, "Consensus: Bridging Theory and Practice" (Stanford, 2014);
the shape (a message or the time in, effects out) is etcd-io/raft's. Where each section is implemented:

    3.4, 3.6, 9.6   election.py       votes, pre-vote, randomized timeouts;   terms.py   terms
    3.5, 5.1, 10.2  replication.py    leader: back-off, pipelining;   log_matching.py   follower
    4               membership.py     one server at a time, in force when appended, with the correction of 2015
    6.2, 3.10       leadership.py     a leader that hears no majority for an election timeout steps down; transfer
    6.4             read_index.py     reads that see all that was committed before they were asked
    3.8             promises.py       ignores servers whose disk has gone back
    5.1             transfer.py       snapshots, chunk by chunk

Left out: joint consensus, reads through a leader's lease (6.4.1), a witness.

Invariants: commit_index <= last_index; nothing committed is ever truncated; term and vote are persisted before
a message that relies on them leaves; a leader appends at most one configuration beyond commit_index. A message
that no correct server could have sent is dropped and counted, and never breaks an assertion.

>>> alone = Stored.bootstrap(Configuration.of(["a"]))
>>> raft = Raft("a", alone, Limits(), Random(1), now=0)
>>> noop, announced = raft.wake(raft.deadline)
>>> type(noop).__name__, type(announced).__name__
('Persist', 'BecameLeader')
>>> [type(effect).__name__ for effect in raft.persisted(noop, now=3_000_000_000)]
['Committed']
>>> (batch,) = raft.propose([b"x", b"y"], now=3_000_000_000)
>>> [effect.entries == batch.entries for effect in raft.persisted(batch, now=3_000_000_000)]
[True]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import assert_never

from msgspec.structs import replace

from consensus.configuration import Configuration
from consensus.effects import Effect, Persist
from consensus.election import Ballot, Role, election_deadline, is_up_to_date, may_campaign
from consensus.leadership import Leadership
from consensus.limits import TERM_MAX, Limits
from consensus.log_matching import follow, makes_sense
from consensus.membership import reason_against, reason_against_heir
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
    answer_to_old,
    is_sensible,
)
from consensus.quorum import Outcome
from consensus.refusal import Reason, Refused
from consensus.server import Server
from consensus.stored import CHUNK_BYTES_MAX, Entry, HardState, Snapshot, Stored
from consensus.terms import Leaps
from consensus.transfer import Incoming


class Raft(Server):
    """Doors: ``step``, ``wake``, ``persisted``, ``deadline``; orders: the methods that may raise ``Refused``."""

    def __init__(self, name: str, stored: Stored, limits: Limits, random: Random, now: int) -> None:
        super().__init__(name, stored, limits)
        self._random = random
        self._leader_heard_ns = now
        self._election_ns = election_deadline(random, now, limits.election_timeout_ns)
        self._leaps = Leaps(limits.election_timeout_ns, now)
        self._ballot = Ballot(self.term)
        self._incoming = Incoming()

    # Doors

    @property
    def deadline(self) -> int | None:
        """When ``wake`` has something to do; None for a server that can't campaign and waits for a leader."""
        if self._leadership is not None:
            return self._leadership.deadline
        return self._election_ns if self._may_campaign() else None

    def step(self, sender: str, message: Message, now: int) -> list[Effect]:
        """Takes one message from the transport, which vouches for the sender's name."""
        if sender in ("", self.name) or self.promises.are_void(sender) or not is_sensible(message):
            self.dropped += 1
            return []
        if sender in self.configuration.members:
            self.promises.note(sender, message)
        if self._enter_term(sender, message, now):
            self._take(sender, message, now)
        return self._effects()

    def wake(self, now: int) -> list[Effect]:
        """Does what is due by now; does nothing if called early or twice."""
        if self._leadership is None:
            if now >= self._election_ns and self._may_campaign():
                self._ask_around(now)
        elif now >= self._leadership.quorum_lost_ns:
            # Check-quorum (6.2): a leader that is cut off must not keep its clients waiting.
            self._follow(self.term, None, now)
        else:
            self._leadership.wake(self.commit_index, now)
        return self._effects()

    def persisted(self, persist: Persist, now: int) -> list[Effect]:
        """Takes note that a ``Persist``, or several merged into one, is durable; the host calls it in their order."""
        if self._leadership is not None and persist.entries:
            self._leadership.saved(persist.entries[-1])
            self._commit(now)
        return self._effects()

    def reconnected(self, server: str) -> None:
        """Notes that a server is reachable (again): a snapshot in flight to it is lost, and is sent anew."""
        if self._leadership is not None:
            self._leadership.followers.reconnected(server)

    def started_again(self, server: str, term: int, last_index: int) -> list[Effect]:
        """Checks whether a server that restarts with this on its disk, and has sent nothing yet, forgot a promise."""
        self.promises.keep_only(self.configuration.members)
        forgot = self.promises.started_again(server, term, last_index)
        if forgot is not None:
            self._outbox.forgot(forgot)
        return self._effects()

    # Orders

    def propose(self, commands: Sequence[bytes], now: int) -> list[Effect]:
        """Appends commands, all or none: one ``Persist``, and one ``Append`` to each follower if they fit into it.

        They end at ``last_index``. Each may be lost until ``Committed`` shows an entry at its index with this term.
        """
        self._require_leader()
        reason = self._limits.reason_against(commands, self.last_index - self.commit_index)
        if reason is not None:
            raise Refused(reason, self.leader)
        first = self.last_index + 1
        self._append([Entry(index, self.term, data) for index, data in enumerate(commands, first)], now)
        return self._effects()

    def read(self, asker: str, request: str, now: int, follower: str | None = None) -> list[Effect]:
        """Requests a ``Readable`` with the read index; ask again if none comes. ``follower`` follows this leader."""
        if self._leadership is None:
            raise Refused(Reason.NOT_LEADER, self.leader)
        followers = self._leadership.followers
        if len(followers.reads) >= self._limits.reads_max:
            raise Refused(Reason.TOO_MANY_READS, self.leader)
        is_followed = followers.are_majority(follower, self.configuration.voters)
        followers.reads.ask(asker, request, self.commit_index, is_followed)
        self._leadership.tend_reads(self.commit_index)
        return self._effects()

    def add_server(self, name: str, voter: bool, now: int) -> list[Effect]:
        """Adds a server, promotes a learner or demotes a voter. Safest: learner first, voter once caught up (4.2.1)."""
        self._require_leader()
        return self._change(self.configuration.with_server(name, voter), now)

    def remove_server(self, name: str, now: int) -> list[Effect]:
        """Removes a server; a leader that removes itself leads until that is committed (4.2.2)."""
        self._require_leader()
        if name not in self.configuration.members:
            raise Refused(Reason.UNKNOWN_SERVER, self.leader)
        return self._change(self.configuration.without(name), now)

    def transfer_leadership(self, to: str, now: int) -> list[Effect]:
        """Brings a voter up to date and makes it campaign at once; gives up after an election timeout (3.10)."""
        self._require_leader()
        reason = reason_against_heir(to, self.name, self.configuration)
        if reason is not None:
            raise Refused(reason, self.leader)
        self._leading.transfer(to, now)
        return self._effects()

    def campaign(self, now: int) -> list[Effect]:
        """Campaigns without waiting for the timeout; the pre-vote still decides."""
        if self.role is Role.LEADER:
            raise Refused(Reason.ALREADY_LEADER, self.leader)
        if not self._may_campaign():
            raise Refused(Reason.NOT_VOTER, self.leader)
        self._ask_around(now)
        return self._effects()

    def compact(self, index: int, chunks: Iterable[bytes]) -> list[Effect]:
        """Replaces the log up to ``index`` by the host's state after applying it (5.1); at any server."""
        if not self.log.snapshot.index < index <= self.commit_index:
            raise Refused(Reason.OUT_OF_RANGE, self.leader)
        kept = tuple(chunks)
        assert all(0 < len(chunk) <= CHUNK_BYTES_MAX for chunk in kept), [len(chunk) for chunk in kept]
        self.log.compact(index, kept)
        return self._effects()

    def install(self, snapshot: Snapshot) -> list[Effect]:
        """Installs a ``Received`` snapshot that the host can read: it replaces the log and the state up to it (5.1)."""
        if self._incoming.whole is snapshot and self.leader is not None and not self.is_leader:
            self._install(snapshot, self.leader)
        return self._effects()

    def _require_leader(self) -> None:
        if self._leadership is None:
            raise Refused(Reason.NOT_LEADER, self.leader)
        if self._leadership.transfer_target is not None:
            raise Refused(Reason.TRANSFER_IN_PROGRESS, self._leadership.transfer_target)

    def _change(self, changed: Configuration, now: int) -> list[Effect]:
        reason = reason_against(changed, self.log, self.commit_index, self.term, self._limits)
        if reason is not None:
            raise Refused(reason, self.leader)
        self._append([Entry(self.last_index + 1, self.term, configuration=changed)], now)
        return self._effects()

    # Terms

    def _enter_term(self, sender: str, message: Message, now: int) -> bool:
        """Applies the rules on terms that all messages share (3.3); returns whether to process the message."""
        if message.term < self.term:
            answer = answer_to_old(message, self.term)
            if answer is not None:
                self._send(sender, answer)
            return False
        match message:
            case PreVoteRequest():
                return not self._hears_a_leader(now)
            case PreVoteReply(granted=True):
                return True
            case _ if message.term == self.term:
                return True
            case VoteRequest(transfer=transfer):
                # Not even the term: "if a server receives a RequestVote request within the minimum election timeout
                # of hearing from a current leader, it does not update its term or grant its vote" (4.2.3).
                if self._hears_a_leader(now) and not transfer:
                    return False
                return self._rise(message.term, None, now)
            case Append() | TimeoutNow():
                return self._rise(message.term, sender, now)
            case InstallSnapshot():
                return False  # the leader of a later term says so itself by an Append, at every heartbeat
            case PreVoteReply() | VoteReply() | AppendReply() | SnapshotReply():
                # A server that was removed, or never added, has no say in who leads.
                if sender not in self.configuration.members:
                    self.dropped += 1
                    return False
                return self._rise(message.term, None, now)
            case _:
                assert_never(message)

    def _rise(self, term: int, leader: str | None, now: int) -> bool:
        """Enters a later term, or goes as far towards it as `terms` permits; returns whether it got there."""
        reached = self._leaps.reach(self.term, term, now)
        if reached is None:
            self.dropped += 1
            return False
        self._follow(reached, leader if reached == term else None, now)
        return reached == term

    def _follow(self, term: int, leader: str | None, now: int) -> None:
        """Becomes, or stays, a follower in this term."""
        if term > self.term:
            self.term = term
            self.vote = None
        if self.role is Role.LEADER:
            self._await_election(now)
        self.role = Role.FOLLOWER
        self.leader = leader
        self._leadership = None

    def _hears_a_leader(self, now: int) -> bool:
        """Whether a leader seems to be alive, so that no election is needed (4.2.3, 9.6)."""
        if self._leadership is not None:
            return now < self._leadership.quorum_lost_ns
        return self.leader is not None and now - self._leader_heard_ns < self._limits.election_timeout_ns

    def _take(self, sender: str, message: Message, now: int) -> None:
        """Processes a message of this server's term, or a pre-vote message."""
        match message:
            case PreVoteRequest():
                granted = message.term > self.term and is_up_to_date(self.log, message.last_term, message.last_index)
                self._send(sender, PreVoteReply(message.term if granted else self.term, granted))
            case PreVoteReply():
                if self.role is Role.PRE_CANDIDATE and message.term == self.term + message.granted:
                    self._count(sender, message.granted, now)
            case VoteRequest():
                self._take_vote_request(sender, message, now)
            case VoteReply():
                if self.role is Role.CANDIDATE:
                    self._count(sender, message.granted, now)
            case Append():
                self._take_append(sender, message, now)
            case AppendReply():
                self._take_append_reply(sender, message, now)
            case InstallSnapshot():
                self._take_chunk(sender, message, now)
            case SnapshotReply():
                if self._leadership is not None and sender in self._leadership.followers.peers:
                    self._leadership.followers.take_snapshot_reply(sender, message, now)
                    self._leadership.replicate_to(sender, self.commit_index, now)
            case TimeoutNow():
                if sender == self.leader and self._may_campaign():
                    self._campaign(now, transfer=True)
            case _:
                assert_never(message)

    # Elections

    def _may_campaign(self) -> bool:
        return self.term < TERM_MAX and may_campaign(self.name, self.log, self.commit_index)

    def _await_election(self, now: int) -> None:
        self._election_ns = election_deadline(self._random, now, self._limits.election_timeout_ns)

    def _ask_around(self, now: int) -> None:
        """Starts a pre-vote (9.6): would a majority vote for me?"""
        self.role = Role.PRE_CANDIDATE
        self.leader = None
        self._await_election(now)
        self._ballot = Ballot(self.term + 1)
        request = PreVoteRequest(self._ballot.term, self.log.last_index, self.log.last_term)
        self._poll(request, now)

    def _campaign(self, now: int, transfer: bool = False) -> None:
        """Campaigns in a new term (3.4)."""
        self.term += 1
        self.vote = self.name
        self.role = Role.CANDIDATE
        self.leader = None
        self._await_election(now)
        self._ballot = Ballot(self.term)
        self._poll(VoteRequest(self.term, self.log.last_index, self.log.last_term, transfer), now)

    def _poll(self, request: Message, now: int) -> None:
        for voter in self.configuration.voters:
            if voter != self.name:
                self._send(voter, request)
        self._count(self.name, True, now)

    def _count(self, voter: str, granted: bool, now: int) -> None:
        self._ballot.record(voter, granted)
        match self._ballot.outcome(self.configuration):
            case Outcome.WON if self.role is Role.PRE_CANDIDATE:
                self._campaign(now)
            case Outcome.WON:
                self._lead(now)
            case Outcome.LOST:
                self._follow(self.term, None, now)
            case Outcome.OPEN:
                pass
            case outcome:
                assert_never(outcome)

    def _take_vote_request(self, sender: str, request: VoteRequest, now: int) -> None:
        """Grants one vote a term, first come, to a log at least as good as its own (3.4, 3.6.1)."""
        is_free = self.vote == sender or (self.vote is None and self.leader is None)
        granted = is_free and is_up_to_date(self.log, request.last_term, request.last_index)
        if granted:
            self.vote = sender
            self._await_election(now)
        self._send(sender, VoteReply(self.term, granted))

    # Following

    def _accept_leader(self, sender: str, now: int) -> bool:
        """Whether the sender leads this term; a term has one leader, so a second is dropped."""
        if self.role is Role.LEADER or self.leader not in (None, sender):
            self.dropped += 1
            return False
        self._follow(self.term, sender, now)
        self._leader_heard_ns = now
        self._await_election(now)
        return True

    def _take_append(self, sender: str, message: Append, now: int) -> None:
        if not self._accept_leader(sender, now):
            return
        reply = follow(self.log, self.commit_index, message)
        if reply.accepted:
            self.commit_index = max(self.commit_index, min(message.commit, reply.index))
        self._send(sender, replace(reply, round=message.round))

    def _take_chunk(self, sender: str, message: InstallSnapshot, now: int) -> None:
        """Gathers a new chunk; if the log already holds the snapshot's last entry, only the commit index is new (5.1).

        Accepts chunks only from a server whose heartbeats have shown that it leads: unread chunks prove nothing.
        """
        header = message.header
        if sender != self.leader or not makes_sense(header, self.log, self.commit_index):
            self.dropped += 1
            return
        self._accept_leader(sender, now)
        if self.log.term_at(header.index) == header.term:
            self.commit_index = max(self.commit_index, header.index)
        if header.index <= self.commit_index:
            self._incoming.clear()
            self._send(sender, AppendReply(self.term, accepted=True, index=self.commit_index))
            return
        held = self._incoming.take(message)
        self._send(sender, SnapshotReply(self.term, header.index, header.digest, held))
        if self._incoming.whole is not None:
            self._outbox.received(self._incoming.whole)

    def _install(self, snapshot: Snapshot, leader: str) -> None:
        self._incoming.clear()
        if snapshot.index > self.commit_index:
            self.log.restore(snapshot)
            self._outbox.restore(snapshot)
            self.commit_index = snapshot.index
        self._send(leader, AppendReply(self.term, accepted=True, index=self.commit_index))

    # Leading

    @property
    def _leading(self) -> Leadership:
        assert self._leadership is not None, self.role
        return self._leadership

    def _lead(self, now: int) -> None:
        """Begins with an entry of its own term, which alone, once committed, commits those of earlier terms (3.6.2)."""
        self.role = Role.LEADER
        self.leader = self.name
        self._leadership = Leadership(
            self.name, self._limits, self.log, self.term, self._outbox, now, forgetful=self.promises.forgetful
        )
        self._append([Entry(self.last_index + 1, self.term)], now)

    def _append(self, entries: Sequence[Entry], now: int) -> None:
        # Followers first: a new one starts where the log ends before the entries, and so receives them at once.
        members = (entries[0].configuration or self.configuration).members
        self._leading.followers.add((peer for peer in members if peer != self.name), now)
        for entry in entries:
            self.log.append(entry)
        self._replicate(now)
        self._commit(now)

    def _replicate(self, now: int) -> None:
        self._leading.replicate(self.commit_index, now)

    def _take_append_reply(self, sender: str, reply: AppendReply, now: int) -> None:
        if reply.index > self.last_index:
            self.dropped += 1
            return
        leading = self._leadership
        if leading is None or sender not in leading.followers.peers:
            # The reply is to a message from before we stepped down, or from before the sender's removal was committed.
            return
        if reply.round > leading.followers.reads.round:
            self.dropped += 1
            return
        leading.followers.take_reply(sender, reply, now)
        leading.tend_reads(self.commit_index)
        self._commit(now)
        if self._leadership is leading and sender in leading.followers.peers:
            leading.replicate_to(sender, self.commit_index, now)
            if sender == leading.transfer_target:
                leading.hand_over_when_ready()

    def _commit(self, now: int) -> None:
        """Commits what a majority holds, if its last entry is of this term; all before it is committed too (3.6.2)."""
        index = self._leading.agreed_index()
        if index <= self.commit_index or self.log.term_at(index) != self.term:
            return
        was_pending = self.log.configuration_index > self.commit_index
        self.commit_index = index
        self._replicate(now)
        if was_pending and self.log.configuration_index <= index:
            self._settle_configuration(now)

    def _settle_configuration(self, now: int) -> None:
        """Ends a committed change: a leader that it removed steps down (4.2.2); removed followers still receive it."""
        self._leading.followers.mark_removed(self.configuration.members, self.log.configuration_index, now)
        if self.name in self.configuration.voters:
            return
        self._leading.resign()
        self._follow(self.term, None, now)

    # Effects

    def _send(self, to: str, message: Message) -> None:
        self._outbox.send(to, message)

    def _effects(self) -> list[Effect]:
        hard_state = HardState(self.term, self.vote)
        return self._outbox.news(hard_state, self.leader, self.is_leader, self.log, self.commit_index)

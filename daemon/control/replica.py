"""This shard's replica of the log: its consensus server, the log's input and its output.

    proposals, ours and others' -> raft -> committed -> the replicated state -> its announcements
    reads, ours and others'     -> raft -> an index -> applied -> answered

It does not know what follows from an announcement: `plane` routes announcements and the replica's own events
(`events`). While this shard's server leads, it also adds and removes servers (`control/seat`).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from functools import partial
from random import Random
from typing import Any, assert_never

import consensus
from consensus import Persist, Raft, Refused, Snapshot, Stored
from daemon.control.effects import (
    Answered,
    KeepVersion,
    LogUnreadable,
    ReadSnapshot,
    Send,
    SnapshotRefused,
    TakeSnapshot,
)
from daemon.control.events import LeadershipChanged, OwnRefused, StateReplaced, TagsChanged, Told
from daemon.control.gathering import Gathered
from daemon.control.log_time import LogTime
from daemon.control.messages import (
    ClockReply,
    ClockRequest,
    Proposal,
    ProposalRefused,
    ReadIndexReply,
    ReadIndexRequest,
)
from daemon.control.read_index import Reads
from daemon.control.seat import Seat, has_disk_of, server_at
from daemon.control.settings import ShardSettings
from daemon.control.snapshots import SnapshotSchedule
from daemon.control.trust import Trust
from daemon.control.unreadable import RefusedSnapshots, why_not_proposed, why_of_command, why_of_snapshot
from daemon.control.versions import CLUSTER_VERSION_TAG, Version, versions_of
from daemon.control.voters import shard_of
from daemon.membership import effects as swim
from daemon.membership.machine import Membership
from daemon.membership.messages import CLUSTER_TAG, Member
from daemon.state import Announcement, ReplicatedState, Thawed, VersionRaised, command_codec
from daemon.state.commands import HoldParts, Identity
from daemon.state.envelope import CommandUnreadable, LogEntry
from daemon.state.machine import Request
from daemon.wire import Rejected

REQUEST_CHARACTERS_MAX = 64
"""The longest request name from another shard, which is kept until answered."""
NO_MAJORITY = "no tick leader confirms this read: does the cluster have a majority?"

ENVELOPE_BYTES_MAX = 1024
"""Space in an entry around its command, mostly for the names of a machine and a shard."""

LEADERS_MESSAGES = (consensus.Append, consensus.InstallSnapshot)
"""The sender of one of these leads its term."""


class Replica:
    """One shard's replica.

    `raft` is set once there is a cluster. The host's time plus `unix_offset_ns` is Unix time by this machine's clock.
    """

    def __init__(
        self,
        shard: Identity,
        seat: Seat,
        membership: Membership,
        state: ReplicatedState,
        trust: Trust,
        settings: ShardSettings,
        random: Random,
    ) -> None:
        self._seat, self._membership, self._state = seat, membership, state
        self._shard, self._registry = shard, state.registry
        self._trust, self._settings, self._random = trust, settings, random
        self._codec, self._reads = command_codec(newest=settings.version.newest), Reads()
        self.unix_offset_ns = 0
        self._time = LogTime()
        self._under_way: set[Request] = set()
        """While leading: requests whose commands are in the log and not applied yet."""
        self.raft: Raft | None = None
        self.applied = 0
        self._refused_snapshots = RefusedSnapshots(settings.consensus.election_timeout_ns)
        self._reading: Snapshot | None = None  # the leader's snapshot that the host is reading
        self._is_stuck = False
        """A committed entry can't be read: the log is applied up to there, and this shard falls silent in consensus."""
        self._committed: deque[consensus.Entry] = deque()
        self._snapshots = SnapshotSchedule(settings.snapshot_entries)
        self._gathered = Gathered()
        self._out: list[Told] = []

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """The earliest of Raft's deadline, the reads', the gathered commands', and the next request for the time."""
        times = [self._reads.deadline]
        if self.raft is not None and not self._is_mute:
            times += [self.raft.deadline, self._time.ask_ns]
            if self._gathered and self.raft.room and self._time.is_known and not self.raft.is_saving:
                times.append(self._gathered.due_ns)
        return min((time for time in times if time is not None), default=None)

    @property
    def leads(self) -> bool:
        """Whether this shard is the tick leader."""
        return self.raft is not None and self.raft.is_leader and not self._is_mute

    @property
    def leader(self) -> str | None:
        """The tick leader's name, if known."""
        if self.raft is None or self._is_mute:
            return None
        leader = self._seat.server if self.raft.is_leader else self.raft.leader
        return shard_of(leader) if leader else None

    @property
    def _is_mute(self) -> bool:
        """Whether this shard takes no part in consensus: its disk went back, or it can't read a committed entry."""
        return self._is_stuck or bool(self._trust.lost)

    def start(self, stored: Stored, now: int) -> list[Told]:
        """Starts the server: from the disk, as a founder, or as a newcomer that waits to be admitted."""
        self._out.append(Persist(stored.hard_state, stored.snapshot))
        self.raft = Raft(self._seat.server, stored, self._settings.consensus, self._random, now)
        self.applied = self._snapshots.index = self.raft.commit_index
        if stored.snapshot.chunks:
            try:
                thawed = self._state.thaw(stored.snapshot.chunks)
            except Rejected as mistake:
                self._stop(why_of_snapshot(stored.snapshot, mistake, self._versions(), "on this shard's disk"))
            else:
                self._restore(thawed)
        for record in self._membership.live():
            self._take(self._trust.meet(record.member, self.raft), now)
        self._ask_the_time(now)
        return self._flush()

    def step(self, sender: Identity, message: Any, now: int) -> list[Told]:
        """Takes a message between servers."""
        server = server_at(self._membership, sender)
        if self.raft is None or server is None or self._is_stuck:
            return self._asked(now)
        if self._trust.lost:
            if isinstance(message, LEADERS_MESSAGES) and message.term >= self.raft.term:
                self._out += self._trust.led()
            return self._asked(now)
        member = self._membership.member(sender.name)
        if member is not None and not self._trust.is_met(member):
            self._take(self._trust.meet(member, self.raft), now)
        if self.raft.promises.are_void(server):
            self._out += self._trust.tell([sender.name], self.leader)
        self._take(self.raft.step(server, message, now), now)
        self._append_gathered(now)
        return self._asked(now)

    def wake(self, now: int) -> list[Told]:
        """Does what is due by now."""
        if self.raft is not None and not self._is_mute:
            self._take(self.raft.wake(now), now)
            self._ask_the_time(now)
            self._append_gathered(now)
        for request in self._reads.given_up(now):
            self._out.append(Answered(request, NO_MAJORITY))
        return self._asked(now)

    def persisted(self, persist: Persist, now: int) -> list[Told]:
        """Takes note that a write is durable, and appends the commands gathered meanwhile."""
        if self.raft is not None and not self._is_mute:
            self._take(self.raft.persisted(persist, now), now)
            self._append_gathered(now)
        return self._asked(now)

    def met(self, member: Member, now: int) -> list[Told]:
        """Notes that a member has come (back): its server counts at once, unless it has forgotten its promises."""
        if self.raft is not None:
            self._take(self._trust.meet(member, self.raft), now)
            self._out += self._trust.tell([member.name], self.leader)
        return self._asked(now)

    def validate(self) -> None:
        """Asserts the invariants of both machines; each door applies all committed entries before it closes."""
        assert not self._committed
        self._reads.validate()
        if self.raft is not None:
            self.raft.validate()

    def _flush(self) -> list[Told]:
        self._out += self._trust.news()
        out, self._out = self._out, []
        return out

    # -- the log's output ------------------------------------------------------------------------------------------

    def _take(self, effects: Iterable[consensus.Effect], now: int, thawed: Thawed | None = None) -> None:
        """Processes consensus' effects; a `Restored` among them installs the `thawed` state."""
        for effect in effects:
            match effect:
                case consensus.Persist():
                    self._out.append(effect)
                case consensus.Send():
                    self._refused_snapshots.said(effect.message)
                    if has_disk_of(self._membership, effect.to):
                        self._out.append(Send(shard_of(effect.to), effect.message))
                case consensus.Committed():
                    self._committed.extend(effect.entries)
                case consensus.Received():
                    if self._reading is not effect.snapshot:  # consensus repeats it while the host reads it
                        self._reading = effect.snapshot
                        self._out.append(
                            ReadSnapshot(effect.snapshot, partial(self._state.thaw, effect.snapshot.chunks))
                        )
                case consensus.Restored():
                    self.applied = self._snapshots.index = effect.snapshot.index
                    assert thawed is not None
                    self._restore(thawed)
                case consensus.BecameLeader() | consensus.LeaderChanged():
                    leads = isinstance(effect, consensus.BecameLeader)
                    self._begin_term(now, leads=leads)
                    self._reads.leader_changed(self.leader is not None)
                    self._out += [LeadershipChanged(leads), effect]
                case consensus.Forgot():
                    self._trust.forgot(effect)
                case consensus.Readable(asker=asker, request=request, index=index):
                    if asker == shard_of(self._seat.server):
                        self._reads.told(request, index)
                    else:
                        self._out.append(Send(asker, ReadIndexReply(request, index)))
                case _:
                    assert_never(effect)

    def apply_next(self, now: int) -> list[Told] | None:
        """Applies the next committed entry; the caller first routes the output of the one before. None if there is
        none.

        So the state that a handler sees is the one right after the entry of its announcement.
        """
        if not self._committed:
            return None
        entry = self._committed.popleft()
        try:
            read = self._codec.read(entry.data) if entry.is_command else None
        except CommandUnreadable as unreadable:
            self._committed.clear()
            self._stop(why_of_command(entry, unreadable, self._versions()))
            return self._flush()
        self.applied = entry.index
        if read is not None:
            envelope, command = read
            self._under_way.discard(envelope.request)
            if isinstance(command, HoldParts):
                self._look_at_disk_of(command.shard.name)  # before the command replaces the log's record of it
            self._announce(self._state.apply(entry.index, envelope, command))
        assert self.raft is not None
        if not self._committed and self._snapshots.begins(self.applied, self.raft, now):
            self._out.append(TakeSnapshot(self.applied, self._state.freeze()))
        return self._flush()

    def answered_reads(self) -> list[Answered]:
        """Returns the reads for which enough of the log is applied."""
        return [Answered(request, "") for request in self._reads.applied(self.applied)]

    def _announce(self, announcements: Iterable[Announcement]) -> None:
        for announcement in announcements:
            if isinstance(announcement, VersionRaised):
                self._codec.version = announcement.version
                self._seat.tags[CLUSTER_VERSION_TAG] = str(announcement.version)
                self._out += [TagsChanged(), KeepVersion(announcement.version)]
            self._out.append(announcement)

    def snapshot_taken(self, index: int, chunks: tuple[bytes, ...] | None, now: int) -> list[Told]:
        """Takes the snapshot that the host has written; None if it failed, and the log grows on."""
        self._snapshots.is_under_way = False
        if chunks is None:
            self._out.append(swim.Counted("consensus_snapshots_not_taken"))
        elif self.raft is not None and not self._is_mute:
            with contextlib.suppress(Refused):  # a later snapshot, from the leader, has arrived meanwhile
                self._take(self.raft.compact(index, chunks), now)
        return self._asked(now)

    def _stop(self, why: str) -> None:
        """Stops following the log: a registry that skipped a command would differ from the others', unnoticed."""
        self._is_stuck = True
        self._out.append(LogUnreadable(why))

    def snapshot_read(self, snapshot: Snapshot, read: Thawed | Rejected, now: int) -> list[Told]:
        """Installs a leader's snapshot that the host has read; refuses an unreadable one, ignores an older one."""
        if self.raft is not None and not self._is_mute and self._reading is snapshot:
            self._reading = None
            if isinstance(read, Rejected):
                self._refuse_snapshot(snapshot, read, now)
            else:
                self._take(self.raft.install(snapshot), now, read)
        return self._asked(now)

    def _refuse_snapshot(self, snapshot: Snapshot, mistake: Rejected, now: int) -> None:
        assert self.raft is not None
        self._out.append(swim.Counted("consensus_snapshots_unsound"))
        if (server := self.raft.leader) is None:
            return
        is_new = self._refused_snapshots.refuse(server, self.raft.term, now)
        why = why_of_snapshot(snapshot, mistake, self._versions(), f"from {shard_of(server)}, which leads")
        if self._refused_snapshots.are_for_good(now):
            self._stop(why)
        elif is_new:
            self._out.append(SnapshotRefused(shard_of(server), why))

    def _versions(self) -> dict[str, Version | None]:
        return versions_of(self._membership.live())

    def _restore(self, thawed: Thawed) -> None:
        """Replaces the registry by a snapshot's."""
        self._announce(self._state.restore(thawed))
        self._seat.tags[CLUSTER_TAG] = self._registry.cluster
        self._out += [TagsChanged(), StateReplaced()]
        self._out += self._trust.check_own()

    def _look_at_disk_of(self, name: str) -> None:
        member = self._membership.member(name)
        if self.raft is not None and member is not None:
            self._trust.check(member, self.raft)
        self._out += self._trust.check_own()

    # -- reads -----------------------------------------------------------------------------------------------------

    def read(self, request: str, give_up_ns: int, now: int) -> list[Told]:
        """Requests a read; an `Answered` follows once this shard has applied all that is committed anywhere by now."""
        if not self._reads.add(request, give_up_ns):
            self._out.append(Answered(request, NO_MAJORITY))
        return self._asked(now)

    def read_for(self, asker: Identity, asked: ReadIndexRequest, now: int) -> list[Told]:
        """As the leader, reads for another shard; does nothing if this shard does not lead."""
        if self.raft is not None and len(asked.request) <= REQUEST_CHARACTERS_MAX:
            follower = server_at(self._membership, asker) if asked.term == self.raft.term else None
            self._read(asker.name, asked.request, now, follower)
        return self._asked(now)

    def told(self, told: ReadIndexReply, now: int) -> list[Told]:
        """Takes the leader's answer to this shard's question."""
        self._reads.told(told.request, told.index)
        return self._asked(now)

    def _asked(self, now: int) -> list[Told]:
        """Sends or answers the question that is due, and returns all output."""
        leader = self.leader
        while self.raft is not None and leader is not None and (question := self._reads.due(now)) is not None:
            if leader == shard_of(self._seat.server):
                self._read(leader, question, now)
            else:
                self._out.append(Send(leader, ReadIndexRequest(question, self.raft.term)))
        return self._flush()

    def _read(self, asker: str, request: str, now: int, follower: str | None = None) -> None:
        assert self.raft is not None
        if self._is_mute:
            return
        with contextlib.suppress(Refused):  # the asker repeats it, perhaps to another leader
            self._take(self.raft.read(asker, request, now, follower), now)

    # -- the log's input -------------------------------------------------------------------------------------------

    def propose(self, proposals: Iterable[Proposal], now: int) -> list[Told]:
        """Sends this shard's proposals to the leader."""
        leader = self.leader
        if leader is None:
            return self._flush()
        for proposal in proposals:
            if leader == self._shard.name:
                self._propose(self._shard, proposal, now)
            else:
                self._out.append(Send(leader, proposal))
        return self._flush()

    def propose_own(self, proposal: Proposal, now: int) -> tuple[bool, list[Told]]:
        """Appends one of the leader's own proposals; returns False if the log can't take it now."""
        is_taken = self._propose(self._shard, proposal, now)
        return is_taken, self._flush()

    def propose_for(self, asker: Identity, proposal: Proposal, now: int) -> list[Told]:
        """As the leader, proposes for another shard; does nothing if not the leader, or if its life is unknown."""
        member = self._membership.member(asker.name)
        if member is not None and member.generation == asker.generation:
            self._propose(asker, proposal, now)
        return self._flush()

    def _propose(self, asker: Identity, proposal: Proposal, now: int) -> bool:
        """Appends a valid command once; returns False if the log can't take it now, and the asker resends it.

        While an earlier write is under way, commands gather and share the next one.
        """
        if self.raft is None or not self.leads:
            return False
        try:
            self._codec.decode(proposal.machine, proposal.command)
        except CommandUnreadable as unreadable:
            self._refuse(asker, proposal.sequence, why_not_proposed(unreadable))
            return True
        request = Request(asker.name, asker.generation, proposal.sequence)
        if request in self._under_way or self._state.sessions.has_kept(request):
            return True  # resent, the more often the slower the disks are: another sync would slow them more
        if len(proposal.command) > self._settings.consensus.bytes_per_message_max - ENVELOPE_BYTES_MAX:
            self._refuse(asker, proposal.sequence, consensus.Reason.TOO_LARGE.value)
            return True
        if len(self._gathered) >= self.raft.room:
            return False
        self._gathered.add(request, proposal)
        self._under_way.add(request)
        self._append_gathered(now)
        return True

    def _append_gathered(self, now: int) -> None:
        """Appends gathered commands, as many as fit: the log may be full, or a leadership transfer may be under way."""
        assert self.raft is not None
        is_committed = self.raft.commit_index == self.raft.last_index
        if self.raft.is_saving or not (self.leads and self._time.is_known and self._gathered.is_due(now, is_committed)):
            return
        if taken := self._gathered.take(self.raft.room, now):
            time_ns = self._time.stamp(now)
            entries = [self._sealed(request, proposal, time_ns) for request, proposal in taken]
            self._take(self.raft.propose(entries, now), now)

    def _sealed(self, request: Request, it: Proposal, time_ns: int) -> bytes:
        session = request.shard, request.generation, request.sequence
        return self._codec.seal(LogEntry(it.machine, *session, it.answered, time_ns, it.command))

    def _begin_term(self, now: int, *, leads: bool) -> None:
        """Resets for a new term: a new leader may hold unapplied commands, and askers resend what has gathered."""
        self._under_way.clear()
        self._gathered.clear()
        if self.raft is None or not leads:
            return
        last_ns = self._state.time_ns
        for entry in self.raft.log.span(self.raft.commit_index + 1, self.raft.last_index):
            with contextlib.suppress(CommandUnreadable):  # it stops this shard once it is committed
                if entry.is_command:
                    envelope = self._codec.open(entry.data)
                    self._under_way.add(envelope.request)
                    last_ns = max(last_ns, envelope.time_ns)
        self._time.begin(last_ns, now)

    def _ask_the_time(self, now: int) -> None:
        if self.raft is not None and not self._is_mute:
            own, voters = self._seat.server, self.raft.configuration.voters
            for server in self._time.ask(own, self.unix_offset_ns, voters, now):
                if has_disk_of(self._membership, server):
                    self._out.append(Send(shard_of(server), ClockRequest(now)))

    def told_the_time(self, sender: Identity, told: ClockReply, now: int) -> list[Told]:
        """Takes a voter's clock; once a majority's are known, gathered commands can be appended."""
        server = server_at(self._membership, sender)
        if self.raft is not None and server is not None:
            self._time.told(server, told.unix_ns, self.raft.configuration.voters, told.asked_ns, now)
            self._append_gathered(now)
        return self._asked(now)

    def _refuse(self, asker: Identity, sequence: int, reason: str) -> None:
        """Refuses a proposal for a reason that retrying does not fix."""
        is_own = asker == self._shard
        self._out.append(
            OwnRefused(sequence, reason) if is_own else Send(asker.name, ProposalRefused(sequence, reason))
        )

    # -- the leader's servers --------------------------------------------------------------------------------------

    def tend_disks(self) -> list[Told]:
        """As the leader: checks whether members' disks have gone back, and notifies those members."""
        assert self.raft is not None
        for record in self._membership.live():
            self._trust.check(record.member, self.raft)
        self._out += self._trust.tell(self._trust.forgetful, self.leader)
        return self._flush()

    def tend_servers(self, now: int) -> list[Told]:
        """As the leader: makes the one change of servers that is due; retries soon if consensus refuses it."""
        assert self.raft is not None
        heir = self._seat.heir(self.raft, self._registry, self._membership)
        change = self._seat.due_change(self.raft, self._registry, self._membership)
        with contextlib.suppress(Refused):
            if heir is not None:
                self._take(self.raft.transfer_leadership(heir, now), now)
            elif change is not None and change.is_gone:
                self._take(self.raft.remove_server(change.server, now), now)
            elif change is not None:
                self._take(self.raft.add_server(change.server, change.votes, now), now)
        return self._flush()

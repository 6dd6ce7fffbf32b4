"""The composition root of one shard's control plane: membership, consensus, the log, pacing and progress.

Machines never call each other; the control plane routes between them. It is a pure machine with the same interface, so
the daemon's runtime and the simulator host the very same code. The path of a message::

    step -> membership ---------------------------------------------------------> effects
         -> replica (consensus, the log) -> events -> clock, custody, reports --> effects
         -> reports, clock, proposals ------------------------------------------> effects
    read -> replica (how far to apply the log) ---------------------------------> effects

Before a door closes, it handles all that its events made due (`events.due_after`): what to propose for this disk, other
proposals, and a leader's decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, assert_never

from msgspec.structs import replace

from consensus import Persist, Snapshot
from daemon.control.clock import Clock
from daemon.control.custody import QUESTION, Custody
from daemon.control.effects import Answered, Effect, HeldBack, KeepPromise, Send, SendToAddress
from daemon.control.events import (
    Due,
    LeadershipChanged,
    LogEvents,
    OwnRefused,
    StateReplaced,
    TagsChanged,
    Told,
    due_after,
)
from daemon.control.leader.messages import RunReport, StatesHeld
from daemon.control.leader.resume import StatesHeld as StatesOnDisk
from daemon.control.lives import LIFE_TAG
from daemon.control.messages import (
    ClockReply,
    ClockRequest,
    DiskForgets,
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    ReadIndexReply,
    ReadIndexRequest,
    StepReply,
    StepRequest,
)
from daemon.control.proposals import Proposals
from daemon.control.readings import Readings
from daemon.control.replica import Replica
from daemon.control.reports import Reports
from daemon.control.routing import CONSENSUS_MESSAGES, LEADERS_ANSWERS, MEMBERSHIP_MESSAGES
from daemon.control.seat import LEAVING_TAG, Seat
from daemon.control.settings import NOTHING_ON_DISK, OnDisk, ShardSettings
from daemon.control.sight import Lookout
from daemon.control.trust import Trust
from daemon.control.versions import VERSION_TAG
from daemon.control.voters import shard_of
from daemon.membership import effects as swim
from daemon.membership.machine import Membership
from daemon.membership.messages import Member
from daemon.state import Announcement, Decided, ReplicatedState, Thawed, VersionRaised
from daemon.state.commands import EndRun, Identity, ResumeRun
from daemon.state.machine import Command
from daemon.state.records import FAILED
from daemon.wire import Rejected

LEAD_INTERVAL_NS = 200_000_000
HOLDINGS_PATIENCE_NS = 10_000_000_000
ROUNDS_MAX = 1000
"""The most rounds of due work in one door; the rest waits for the next wake, which is due at once."""


class ControlPlane(Readings):
    """One shard's control plane: its doors. `Readings` has the queries."""

    def __init__(
        self,
        member: Member,
        seeds: Sequence[str],
        settings: ShardSettings,
        random: Random,
        now: int,
        on_disk: OnDisk = NOTHING_ON_DISK,
    ) -> None:
        self.identity = Identity(member.name, member.generation)
        self._is_lone = all(seed == member.control for seed in seeds)
        self._expect, self._version = settings.expect, settings.version
        life = on_disk.life
        self._seat = Seat(
            member.name,
            on_disk.disk,
            settings.expect,
            settings.consensus.voters_max,
            {VERSION_TAG: settings.version.tag, **dict(member.tags), LIFE_TAG: life.tag},
            is_lone=self._is_lone,
            promise=on_disk.promise,
        )
        tags = self._seat.tags if on_disk.stored is not None else self._seat.declaration()
        member = replace(member, tags=tuple(sorted(tags.items())))
        self.membership = Membership(
            member, seeds, settings.membership, random, now, is_authenticated=settings.is_authenticated
        )
        self._state = ReplicatedState(newest=settings.version.newest)
        self._clock = Clock(member.name, settings.progress_interval_ns, settings.progress_targets, random)
        self._custody = Custody(self.identity, on_disk.held, on_disk.disk, settings.surplus_grace_ns)
        self._leading = settings.leading()
        self._reports = Reports(self.identity, self.registry, self._leading, settings.report_interval_ns)
        self._proposals = Proposals(self.identity)
        self._events = LogEvents(self.identity, self.registry, self._clock, self._custody, self._reports, self._leading)
        self._lookout = Lookout(self.membership, self.registry)
        self.trust = Trust(self.identity, life, self.membership, self.registry)
        self._replica = Replica(self.identity, self._seat, self.membership, self._state, self.trust, settings, random)
        self._due, self._lead_ns = set[Due](), now
        self._out: list[Effect] = []
        if on_disk.stored is not None:
            self._take(self._replica.start(on_disk.stored, now), now)

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """The earliest deadline of all machines."""
        times = [
            self.membership.deadline,
            self._replica.deadline,
            self._clock.deadline,
            self._custody.deadline,
            self._reports.deadline,
            self._proposals.deadline,
            self._lead_ns if self._replica.leads else None,
            0 if self._due else None,
        ]
        return min((time for time in times if time is not None), default=None)

    def step(self, sender: Identity, message: Any, now: int) -> list[Effect]:
        """Takes a message that the codec has accepted. One that makes no sense at present changes nothing."""
        if isinstance(message, MEMBERSHIP_MESSAGES):
            self._take_membership(self.membership.step(sender.name, message, now), now)
        elif not self._may_say(sender, message):
            self._out.append(swim.Counted("control_unauthorized"))
        elif isinstance(message, CONSENSUS_MESSAGES):
            if self.founding:  # before that, the message may be from another cluster than the awaited one
                self._take(self._replica.step(sender, message, now), now)
        else:
            self._hear(sender, message, now)
        return self._flush(now)

    def _hear(self, sender: Identity, message: Any, now: int) -> None:
        """Processes all messages besides those of membership and consensus."""
        match message:
            case Proposal():
                self._take(self._replica.propose_for(sender, message, now), now)
            case ProposalRefused(sequence=sequence, reason=reason):
                self._answer(self._proposals.refused(sequence, reason))
            case ReadIndexRequest():
                self._take(self._replica.read_for(sender, message, now), now)
            case ReadIndexReply():
                self._take(self._replica.told(message, now), now)
            case ClockRequest(asked_ns=asked_ns):
                self._out.append(Send(sender.name, ClockReply(asked_ns, max(0, now + self._replica.unix_offset_ns))))
            case ClockReply():
                self._take(self._replica.told_the_time(sender, message, now), now)
            case DiskForgets():
                self._out += self.trust.hear(sender, message)
            case RunReport() | StatesHeld():
                self._hear_report(sender, message)
            case Grant() | StepRequest() | StepReply() | Progress():
                self._out += self._clock.hear(sender.name, message, now)
            case _:
                self._out.append(swim.Counted("control_unauthorized"))

    def _hear_report(self, sender: Identity, report: RunReport | StatesHeld) -> None:
        if self._reports.hear(sender, report):
            self._due.add(Due.LEAD)

    def _may_say(self, sender: Identity, message: Any) -> bool:
        """Whether this sender may send a message of this kind. Honest senders repeat what is dropped here."""
        if isinstance(message, LEADERS_ANSWERS):
            return sender.name == self.leader
        return not isinstance(message, Progress) or self.registry.has_member(sender)

    def wake(self, now: int) -> list[Effect]:
        """Lets every machine check the time."""
        self._take_membership(self.membership.wake(now), now)
        if self.raft is None and (self._is_lone or (self._seat.promise is not None and self._seat.promise.is_alone)):
            self._try_to_found(now)  # otherwise tried only when a member joins or changes
        self._take(self._replica.wake(now), now)
        self._propose(now)
        self._out += self._clock.wake(now)
        self._report(now)
        if self._custody.deadline is not None and now >= self._custody.deadline:
            self._due.add(Due.HOLDINGS)
        if now >= self._lead_ns:
            self._due.add(Due.LEAD)
        return self._flush(now)

    def persisted(self, persist: Persist, now: int) -> list[Effect]:
        """Takes note that a `Persist`, or several merged into one, is durable; the host calls it in their order."""
        self._take(self._replica.persisted(persist, now), now)
        return self._flush(now)

    def snapshot_taken(self, index: int, chunks: tuple[bytes, ...] | None, now: int) -> list[Effect]:
        """Takes the chunks of a `TakeSnapshot`; None if the host could not write them: it is tried again later."""
        self._take(self._replica.snapshot_taken(index, chunks, now), now)
        return self._flush(now)

    def snapshot_read(self, snapshot: Snapshot, read: Thawed | Rejected, now: int) -> list[Effect]:
        """Takes the result of a `ReadSnapshot`."""
        self._take(self._replica.snapshot_read(snapshot, read, now), now)
        return self._flush(now)

    # -- orders of the host ----------------------------------------------------------------------------------------

    def propose(self, request: str, command: Command, give_up_ns: int, now: int) -> list[Effect]:
        """Proposes a command to the log; an `Answered` with the host's request name follows, now or later."""
        try:
            if not self._proposals.add(request, command, give_up_ns):
                self._out.append(Answered(request, "too many requests are waiting for the tick leader"))
        except Rejected as rejected:
            self._out.append(Answered(request, f"the command can't be put into the log: {rejected.detail}"))
        self._propose(now)
        return self._flush(now)

    def read(self, request: str, give_up_ns: int, now: int) -> list[Effect]:
        """Brings the registry up to date with all that is decided anywhere by now; an `Answered` follows then."""
        self._take(self._replica.read(request, give_up_ns, now), now)
        return self._flush(now)

    def step_run(self, request: str, run: int, now: int) -> list[Effect]:
        """Asks the tick leader for one more tick of a stepped run."""
        leader = self.leader
        if leader is None:
            self._out.append(Answered(request, "there is no tick leader at the moment: try again"))
        elif leader == self.identity.name:
            self._out += self.clock.step(leader, StepRequest(request, run), now)
        else:
            self._out.append(Send(leader, StepRequest(request, run)))
        return self._flush(now)

    def run_over(self, report: RunReport, now: int) -> list[Effect]:
        """Reports to the leader that a run has ended on this shard's tick plane, until the log records it."""
        self._reports.over(report, now)
        self._report(now)
        return self._flush(now)

    def tick_committed(self, run: int, tick: int, now: int) -> list[Effect]:
        """Notes that this shard has committed a tick of a paced run."""
        self._out += self.clock.committed(run, tick, now)
        return self._flush(now)

    def states_held(
        self,
        epoch: int,
        held: Mapping[int, StatesOnDisk],
        now: int,
        reached: Mapping[int, int] | None = None,
    ) -> list[Effect]:
        """Takes the states on disk, by run, of the runs that wait in the view of this epoch.

        `reached` are, by run, the last ticks that this shard saw committed.
        """
        self._reports.hold(epoch, held, reached or {}, now)
        self._report(now)
        return self._flush(now)

    def parts_gained(self, load: str, partitions: frozenset[int], now: int) -> list[Effect]:
        """Takes note of partitions of a load that are durable on this shard's disk."""
        self._out += self._custody.gained(self.registry, load, partitions)
        self._due.add(Due.HOLDINGS)
        return self._flush(now)

    def results_looked_for(self, epoch: int, now: int) -> list[Effect]:
        """Notes that the host has looked for all results that this shard should have, in the view of this epoch."""
        self._custody.looked_for_results(epoch)
        self._due.add(Due.HOLDINGS)
        return self._flush(now)

    def found(self, now: int) -> tuple[list[Effect], str]:
        """Founds a cluster alone, on an operator's command; also returns why that is impossible, or an empty string."""
        reason = self.why_not_found()
        promise = None if reason else self._seat.alone(self.membership)
        if promise is None:
            return [], reason or "other shards are founding a cluster, which will admit this shard"
        self._out.append(KeepPromise(promise))
        self._try_to_found(now)
        return self._flush(now), ""

    def give_up_seat(self, now: int) -> list[Effect]:
        """Asks to be removed from the servers of consensus: this shard is not coming back."""
        self._seat.tags[LEAVING_TAG] = "1"
        self._set_tags(self._seat.tags, now)
        return self._flush(now)

    def leave(self, now: int) -> list[Effect]:
        """Announces to the members that this shard leaves."""
        self._take_membership(self.membership.leave(now), now)
        return self._flush(now)

    def set_clock(self, unix_offset_ns: int) -> None:
        """Sets the difference between Unix time, as this machine's clock is set, and the host's times."""
        self._replica.unix_offset_ns = unix_offset_ns

    def validate(self) -> None:
        """Asserts the invariants of every machine."""
        self.membership.validate()
        self._replica.validate()
        assert not self._out, "every door hands out all its effects"

    # -- membership ------------------------------------------------------------------------------------------------

    def _take_membership(self, effects: Iterable[swim.Effect], now: int) -> None:
        changed = False
        for effect in effects:
            match effect:
                case swim.SendTo():
                    self._out.append(Send(effect.name, effect.message))
                case swim.SendToAddress():
                    self._out.append(SendToAddress(effect.address, effect.message, effect.name))
                case swim.Counted():
                    self._out.append(effect)
                case swim.MemberJoined():
                    changed = True
                    self._out.append(effect)
                    self._take(self._replica.met(effect.member, now), now)
                case (
                    swim.MemberUpdated()
                    | swim.MemberSuspected()
                    | swim.MemberRecovered()
                    | swim.MemberFailed()
                    | swim.MemberLeft()
                    | swim.NameHeld()
                    | swim.Superseded()
                ):
                    changed = True
                    self._out.append(effect)
                case _:
                    assert_never(effect)
        if changed:
            self._due.add(Due.LEAD)
            self._leading.views.look(self.registry, self._lookout.sight(self.raft), now)
            if self.raft is None:
                self._try_to_found(now)
            elif not self.founding:
                self._seat.choose(self.membership)
            self._belong(now)

    def _belong(self, now: int) -> None:
        """Keeps membership within this shard's cluster."""
        if self.membership.cluster != self.founding:
            self._take_membership(self.membership.belong(self.founding, now), now)

    def _try_to_found(self, now: int) -> None:
        """Founds a cluster, or waits to join an existing one."""
        promise = self._seat.consider(self.membership)
        if promise is not None:
            self._out.append(KeepPromise(promise))
        self._set_tags(self._seat.declaration(), now)
        stored = self._seat.beginning(self.membership)
        if stored is not None:
            self._take(self._replica.start(stored, now), now)

    def _set_tags(self, tags: Mapping[str, str], now: int) -> None:
        own = self.membership.member(self.identity.name)
        if own is not None and dict(own.tags) != tags:
            self._take_membership(self.membership.set_tags(sorted(tags.items()), now), now)

    # -- the log's decisions and their consequences ----------------------------------------------------------------

    def _take(self, told: Iterable[Told], now: int) -> None:
        """Routes the replica's output in order, then that of each entry that it applies."""
        is_tagged = self._route(told, now)
        while (more := self._replica.apply_next(now)) is not None:
            is_tagged |= self._route(more, now)
        self._out += self._replica.answered_reads()
        if is_tagged:
            self._set_tags(self._seat.tags, now)
            self._belong(now)
        self.membership.claims.is_established |= self.in_view

    def _route(self, told: Iterable[Told], now: int) -> bool:
        """Routes events to their machines and effects to the host; returns whether this shard's tags have changed."""
        is_tagged = False
        for each in told:
            self._due.update(due_after(each))
            match each:
                case TagsChanged():
                    is_tagged = True
                case StateReplaced():
                    pass
                case LeadershipChanged(leads=leads):
                    self._events.leader_changed(leads=leads, now=now)
                    self._proposals.leader_changed()
                case OwnRefused(sequence=sequence, reason=reason):
                    self._answer(self._proposals.refused(sequence, reason))
                case Decided():
                    self._answer(self._proposals.decided(each))
                case _ if isinstance(each, Announcement):
                    if isinstance(each, VersionRaised):
                        self._proposals.codec.version = each.version
                    self._out += self._events.on(each, now)
                case _:
                    self._out.append(each)
        return is_tagged

    def _answer(self, answer: Answered | None) -> None:
        """Passes the outcome of one of this shard's proposals to custody, or to the host."""
        if answer is None:
            return
        if answer.request.startswith(QUESTION):
            self._out += self._custody.answered(answer.request, answer.error)
            self._due.add(Due.HOLDINGS)
        self._out.append(answer)

    def _propose(self, now: int) -> None:
        """Sends the proposals that are due to the leader, unanswered ones again."""
        for answer in self._proposals.given_up(now):
            self._answer(answer)
        if self.leader is not None:
            self._take(self._replica.propose(self._proposals.due(now), now), now)

    def _report(self, now: int) -> None:
        """Sends the reports that are due to the tick leader, which may be this shard."""
        leader = self.leader
        for report in self._reports.due(now):
            if leader == self.identity.name:
                self._hear_report(self.identity, report)
            elif leader is not None:
                self._out.append(Send(leader, report))

    def _tend_holdings(self, now: int) -> None:
        """Proposes this disk's changes to the log, and tells the host what to fetch or delete."""
        self._out += self._custody.tend(self.registry)
        for request, command in self._custody.questions(self.registry, now):
            if self._proposals.is_pending(request):
                continue
            if self._proposals.add(request, command, now + HOLDINGS_PATIENCE_NS, keeps_asking=True):
                self._due.add(Due.PROPOSALS)
            else:
                self._custody.answered(request, "too many requests are pending: try again later")

    def _lead(self, now: int) -> None:
        """As tick leader: looks after views, runs and servers."""
        if self.raft is None or not self._replica.leads:
            return
        self._lead_ns = now + LEAD_INTERVAL_NS
        self._take(self._replica.tend_disks(), now)
        founders = [shard_of(server) for server in self.raft.configuration.members]
        held = set(self.held_back)
        self._out += self._lookout.news()
        for duty in self._leading.decisions(self.registry, self._lookout.sight(self.raft), founders, now):
            proposal = self._spelt(duty.command)
            if proposal is None:
                continue
            is_taken, told = self._replica.propose_own(proposal, now)
            self._take(told, now)
            if not is_taken:
                self._leading.take_back(duty)
        for name, (departures, until_ns) in self.held_back.items():
            if name not in held:
                self._out.append(HeldBack(name, departures, until_ns - now))
        if self._replica.leads:
            self._take(self._replica.tend_servers(now), now)

    def _spelt(self, command: Command) -> Proposal | None:
        """Returns a proposal of the leader's own. If it can't be encoded, its run fails; a decision about anything else
        is dropped, because the next attempt would fail again.
        """
        try:
            return self._proposals.once(command)
        except Rejected as rejected:
            self._out.append(swim.Counted("decisions_not_said"))
            if not isinstance(command, EndRun | ResumeRun):
                return None
            why = f"a decision about it can't be put into the log: {rejected}"
            return self._proposals.once(EndRun(command.run, FAILED, 0, why, 0))

    def _flush(self, now: int) -> list[Effect]:
        """Does all that has become due; a lone shard decides its proposals at once, and more may follow from each."""
        for _ in range(ROUNDS_MAX):
            if not self._due:
                break
            due = min(self._due)
            self._due.remove(due)
            match due:
                case Due.HOLDINGS:
                    self._tend_holdings(now)
                case Due.PROPOSALS:
                    self._propose(now)
                case Due.LEAD:
                    self._lead(now)
                case _:
                    assert_never(due)
        out, self._out = self._out, []
        return out

"""The composition root of the control plane: membership, consensus, registry, pacing and progress of one shard.

Machines never call each other; the shard routes between them. It is a pure machine like them, with the same three
doors, so that the daemon's runtime and the simulator host the very same code. A message's way through::

    step -> membership | consensus -> registry -> what follows from a decision -> effects
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import consensus
from consensus import Configuration, Limits, Raft, Refused, Stored
from daemon.effects import (
    Answered,
    BeginRun,
    Effect,
    GrantTicks,
    HealBarrier,
    Send,
    SendToAddress,
    StopRunHere,
)
from daemon.protocol import membership_effects as swim
from daemon.protocol.bootstrap import CLUSTER_TAG, Bootstrap, spell
from daemon.protocol.cluster_messages import (
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    RunReport,
    StepAsked,
    StepGranted,
)
from daemon.protocol.decisions import Decision, DecisionCodec, FormView, Identity
from daemon.protocol.ending import ending
from daemon.protocol.membership import Membership
from daemon.protocol.membership_config import MembershipConfig
from daemon.protocol.membership_messages import (
    Ack,
    Gossip,
    Member,
    Nack,
    Ping,
    PingRequest,
    PushPull,
    PushPullReply,
)
from daemon.protocol.pacing import Pacing
from daemon.protocol.progress import ProgressGossip
from daemon.protocol.proposals import Proposals
from daemon.protocol.registry import (
    Announcement,
    Decided,
    Registry,
    RunBegun,
    RunEnded,
    RunStopping,
    View,
    ViewInstalled,
)

MEMBERSHIP_MESSAGES = (Ping, PingRequest, Ack, Nack, Gossip, PushPull, PushPullReply)
CONSENSUS_MESSAGES = (
    consensus.PreVoteRequest,
    consensus.PreVoteReply,
    consensus.VoteRequest,
    consensus.VoteReply,
    consensus.Append,
    consensus.AppendReply,
    consensus.InstallSnapshot,
    consensus.TimeoutNow,
)
CLUSTER_MESSAGES = (Proposal, ProposalRefused, RunReport, Grant, StepAsked, StepGranted, Progress)


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """The numbers of every machine in the shard."""

    expect: int = 1
    virtual_nodes: int = 150
    snapshot_entries: int = 1024
    report_interval_ns: int = 300_000_000
    progress_interval_ns: int = 200_000_000
    progress_targets: int = 3
    membership: MembershipConfig = field(default_factory=MembershipConfig)
    consensus: Limits = field(default_factory=Limits)


class Shard:
    """One shard's control plane."""

    def __init__(self, member: Member, seeds: Sequence[str], settings: ShardSettings, random: Random, now: int) -> None:
        self.identity = Identity(member.name, member.generation)
        self.membership = Membership(member, seeds, settings.membership, random, now)
        self.registry = Registry()
        self.raft: Raft | None = None
        self.progress = ProgressGossip(member.name, settings.progress_interval_ns, settings.progress_targets, random)
        self.pacing = Pacing()
        self._settings, self._random = settings, random
        self._is_lone = all(seed == member.control for seed in seeds)
        self._bootstrap = Bootstrap(self.identity, settings.expect)
        self._proposals = Proposals()
        self._codec = DecisionCodec()
        self._reports: dict[int, dict[str, RunReport]] = {}
        self._own_reports: dict[int, RunReport] = {}
        self._report_ns: int | None = None
        self._applied = 0
        self._snapshot_at = 0
        self._lead_due = self._proposals_due = False
        self._out: list[Effect] = []

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """The earliest of all machines."""
        times = [
            self.membership.deadline,
            self.raft.deadline if self.raft else None,
            self._proposals.deadline,
            self.pacing.deadline,
            self.progress.deadline,
            self._report_ns,
        ]
        return min((time for time in times if time is not None), default=None)

    def step(self, sender: Identity, message: Any, now: int) -> list[Effect]:
        """Take a message that the codec has let through. What makes no sense here and now changes nothing."""
        if isinstance(message, MEMBERSHIP_MESSAGES):
            self._take_membership(self.membership.step(sender.name, message, now), now)
        elif isinstance(message, CONSENSUS_MESSAGES):
            if self.raft is not None:
                self._take_consensus(self.raft.step(str(sender), message, now), now)
        else:
            self._take_cluster(sender, message, now)
        return self._flush(now)

    def wake(self, now: int) -> list[Effect]:
        """Let every machine look at the time."""
        self._take_membership(self.membership.wake(now), now)
        if self._is_lone and self.raft is None:
            self._try_to_found(now)  # nobody will ever join or change, which is when the others try
        if self.raft is not None:
            self._take_consensus(self.raft.wake(now), now)
        self._send_proposals(now)
        for grant in self.pacing.wake(now):
            self._spread_grant(grant)
        self._out += [Send(to, message) for to, message in self.progress.gossip(now)]
        self._send_reports(now)
        return self._flush(now)

    # -- orders of the host ----------------------------------------------------------------------------------------

    def propose(self, decision: Decision, give_up_ns: int, now: int) -> list[Effect]:
        """Get a decision into the log; an `Answered` for its request follows, now or later."""
        if not self._proposals.add(decision, give_up_ns):
            self._out.append(Answered(decision.request, "too many requests are waiting for the tick leader"))
        self._send_proposals(now)
        return self._flush(now)

    def step_run(self, request: str, run: int, now: int) -> list[Effect]:
        """Ask the tick leader for one more tick of a stepped run."""
        leader = self.leader
        if leader is None:
            self._out.append(Answered(request, "there is no tick leader at the moment: try again"))
        elif leader == self.identity.name:
            self._grant_step(self.identity.name, StepAsked(request, run), now)
        else:
            self._out.append(Send(leader, StepAsked(request, run)))
        return self._flush(now)

    def run_over(self, report: RunReport, now: int) -> list[Effect]:
        """A run has ended on this shard's tick plane: tell the leader until the log says so, if it has not already."""
        if not self._goes_on(report.run):
            return self._flush(now)
        self._own_reports[report.run] = report
        self._report_ns = now
        self._send_reports(now)
        return self._flush(now)

    def tick_committed(self, run: int, tick: int, now: int) -> list[Effect]:
        """A tick of a paced run was committed here."""
        self.pacing.committed(run, tick)
        for grant in self.pacing.wake(now):
            self._spread_grant(grant)
        return self._flush(now)

    def leave(self, now: int) -> list[Effect]:
        """Say goodbye to the members."""
        self._take_membership(self.membership.leave(now), now)
        return self._flush(now)

    # -- read ------------------------------------------------------------------------------------------------------

    @property
    def leader(self) -> str | None:
        """The tick leader's name, as far as is known here."""
        if self.raft is None:
            return None
        return _name_of(str(self.identity) if self.raft.is_leader else self.raft.leader)

    @property
    def in_view(self) -> bool:
        """Whether this very life of the shard is a member of the view."""
        return self.registry.view is not None and self.registry.view.has(self.identity)

    @property
    def applied_index(self) -> int:
        """How far the log has been applied here."""
        return self._applied

    def missing_members(self) -> list[str]:
        """Members of the view that membership does not hold alive in that life."""
        view = self.registry.view
        live = {(record.name, record.generation) for record in self.membership.live()}
        return [m.name for m in view.members if (m.name, m.generation) not in live] if view else []

    def validate(self) -> None:
        """Assert the invariants of every machine."""
        self.membership.validate()
        if self.raft is not None:
            self.raft.validate()
        assert not self._out, "every door hands out all its effects"

    # -- membership ------------------------------------------------------------------------------------------------

    def _take_membership(self, effects: Iterable[swim.Effect], now: int) -> None:
        changed = False
        for effect in effects:
            match effect:
                case swim.SendTo():
                    self._out.append(Send(effect.name, effect.message))
                case swim.SendToAddress():
                    self._out.append(SendToAddress(effect.address, effect.message))
                case swim.Counted():
                    self._out.append(effect)
                case _:
                    changed = True
                    self._out.append(effect)
        if changed:
            self._lead_due = True
            if self.raft is None:
                self._try_to_found(now)

    def _try_to_found(self, now: int) -> None:
        self._set_tags(self._bootstrap.tags(self._alive()), now)
        founders = self._bootstrap.founders(self._alive())
        if founders and self.raft is None:
            voters = [str(founder) for founder in founders]
            most = self._settings.consensus.voters_max
            configuration = Configuration.of(voters[:most], voters[most:])
            self._start_consensus(Stored.bootstrap(configuration), now)
            self._set_tags({CLUSTER_TAG: spell(founders)}, now)

    def _alive(self) -> list[tuple[Identity, Mapping[str, str]]]:
        return [(Identity(r.name, r.generation), dict(r.member.tags)) for r in self.membership.live()]

    def _set_tags(self, tags: Mapping[str, str], now: int) -> None:
        own = self.membership.member(self.identity.name)
        if own is not None and dict(own.tags) != dict(tags):
            self._take_membership(self.membership.set_tags(sorted(tags.items()), now), now)

    # -- consensus -------------------------------------------------------------------------------------------------

    def _start_consensus(self, stored: Stored, now: int) -> None:
        self.raft = Raft(str(self.identity), stored, self._settings.consensus, self._random, now)
        self._applied = self._snapshot_at = self.raft.commit_index

    def _take_consensus(self, effects: Iterable[consensus.Effect], now: int) -> None:
        for effect in effects:
            match effect:
                case consensus.Persist():
                    self._out.append(effect)
                case consensus.Send():
                    self._send_consensus(effect)
                case consensus.Committed():
                    self._apply(effect.entries, now)
                case consensus.Restored():
                    self._applied = self._snapshot_at = effect.snapshot.index
                    for announcement in self.registry.restore(effect.snapshot.data):
                        self._follow_up(announcement, now)
                case consensus.BecameLeader() | consensus.LeaderChanged():
                    self.pacing.is_leader = isinstance(effect, consensus.BecameLeader)
                    self._reports.clear()
                    self._proposals.leader_changed()
                    self._proposals_due = True
                    self._lead_due = True
                    self._report_ns = now if self._own_reports else None
                    self._out.append(effect)

    def _send_consensus(self, effect: consensus.Send) -> None:
        """To that very life of the server: another one under its name has no part in this log."""
        name, _, generation = effect.to.rpartition("/")
        member = self.membership.member(name)
        if member is not None and str(member.generation) == generation:
            self._out.append(Send(name, effect.message))

    def _apply(self, entries: Iterable[consensus.Entry], now: int) -> None:
        for entry in entries:
            self._applied = entry.index
            decision = self._codec.decode(entry.data) if entry.is_command else None
            if decision is None:
                continue
            for announcement in self.registry.apply(decision):
                self._follow_up(announcement, now)
        assert self.raft is not None
        if self._applied - self._snapshot_at >= self._settings.snapshot_entries:
            self._snapshot_at = self._applied
            self._take_consensus(self.raft.compact(self._applied, self.registry.freeze()), now)

    # -- what follows from a decision ------------------------------------------------------------------------------

    def _follow_up(self, announcement: Announcement, now: int) -> None:
        view = self.registry.view
        match announcement:
            case Decided(request=request, error=error, name=name):
                if self._proposals.settle(request):
                    self._out.append(Answered(request, error, name, decided=True))
                return
            case ViewInstalled():
                self._lead_due = True
            case RunBegun(run=run) if view is not None and view.has(self.identity):
                self.progress.begin(run.number, view.names, now)
                self._out.append(BeginRun(run, view, self.pacing.begin(run, now)))
                self._lead_due = True
            case RunStopping(run=run):
                self._out.append(StopRunHere(run.number))
            case RunEnded(run=run):
                self.progress.end(run.number)
                self.pacing.end(run.number)
                self._own_reports.pop(run.number, None)
                self._reports.pop(run.number, None)
            case _:
                pass
        self._out.append(announcement)

    # -- the rest of the cluster's talk ----------------------------------------------------------------------------

    def _take_cluster(self, sender: Identity, message: object, now: int) -> None:
        match message:
            case Proposal(request=request, command=command):
                self._propose_for(sender.name, request, command, now)
            case ProposalRefused(request=request, reason=reason):
                if self._proposals.settle(request):
                    self._out.append(Answered(request, reason))
            case RunReport():
                self._hear_report(sender, message)
            case Grant():
                self._hear_grant(message)
            case StepAsked():
                self._grant_step(sender.name, message, now)
            case StepGranted():
                self._hear_grant(Grant(message.run, message.tick))
                self._out.append(Answered(message.request, "", tick=message.tick))
            case Progress():
                self._hear_progress(message, now)
            case _:
                pass

    def _hear_report(self, sender: Identity, report: RunReport) -> None:
        """Repeated ones of a run that the log has ended are of no use; what is early will be repeated."""
        view = self.registry.view
        if view is not None and view.has(sender) and self._goes_on(report.run):
            self._reports.setdefault(report.run, {})[sender.name] = report
            self._lead_due = True

    def _hear_grant(self, grant: Grant) -> None:
        if self.pacing.hear(grant):
            self._out.append(GrantTicks(grant.run, grant.tick))

    def _hear_progress(self, progress: Progress, now: int) -> None:
        """A tick that any shard is in was granted: so grants heal that a leader took with it when it was cut off."""
        news = self.progress.hear(progress, now)
        if news:
            self._out.append(HealBarrier(progress.run, tuple(news)))
        self._hear_grant(Grant(progress.run, max((shard.tick for shard in progress.shards), default=0)))

    def _goes_on(self, number: int) -> bool:
        return any(run.number == number for run in self.registry.active_runs())

    def _grant_step(self, asker: str, asked: StepAsked, now: int) -> None:
        tick = self.pacing.step(asked.run, asked.request, now)
        if tick is None:
            return
        self._spread_grant(Grant(asked.run, tick))
        if asker == self.identity.name:
            self._out.append(Answered(asked.request, "", tick=tick))
        else:
            self._out.append(Send(asker, StepGranted(asked.request, asked.run, tick)))

    def _spread_grant(self, grant: Grant) -> None:
        self._out.append(GrantTicks(grant.run, grant.tick))
        self._out += [Send(peer, grant) for peer in self._view_peers()]

    def _view_peers(self) -> list[str]:
        view: View | None = self.registry.view
        return [name for name in view.names if name != self.identity.name] if view else []

    # -- proposals and reports -------------------------------------------------------------------------------------

    def _send_proposals(self, now: int) -> None:
        for request in self._proposals.given_up(now):
            self._out.append(Answered(request, "there is no answer from a tick leader: has the cluster a majority?"))
        leader = self.leader
        if leader is None:
            return
        for request, command in self._proposals.due(now):
            if leader == self.identity.name:
                self._propose_for(leader, request, command, now)
            else:
                self._out.append(Send(leader, Proposal(request, command)))

    def _propose_for(self, asker: str, request: str, command: bytes, now: int) -> None:
        """Append a command that makes sense; what the log can't take now is sent again by its asker."""
        if self.raft is None or not self.raft.is_leader or self._codec.decode(command) is None:
            return
        try:
            self._take_consensus(self.raft.propose(command, now), now)
        except Refused as refused:
            if refused.reason is not consensus.Reason.TOO_LARGE:
                return
            if asker == self.identity.name:
                self._proposals.settle(request)
                self._out.append(Answered(request, refused.reason.value))
            else:
                self._out.append(Send(asker, ProposalRefused(request, refused.reason.value)))

    def _send_reports(self, now: int) -> None:
        if self._report_ns is None or now < self._report_ns:
            return
        self._report_ns = now + self._settings.report_interval_ns if self._own_reports else None
        leader = self.leader
        if leader == self.identity.name:
            for report in self._own_reports.values():
                self._reports.setdefault(report.run, {})[leader] = report
            self._lead_due = True
        elif leader is not None:
            self._out += [Send(leader, report) for report in self._own_reports.values()]

    # -- the leader's duties ---------------------------------------------------------------------------------------

    def _lead(self, now: int) -> None:
        """As tick leader: form the first view; end runs that are over, or that have lost a member."""
        assert self.raft is not None
        if self.registry.view is None:
            members = tuple(_identity_of(server) for server in self.raft.configuration.members)
            decision = FormView(
                "form-view-1", 1, tuple(sorted(members, key=lambda m: m.name)), self._settings.virtual_nodes
            )
            self._propose_as_leader(decision, now)
            return
        names, missing = self.registry.view.names, self.missing_members()
        for run in self.registry.active_runs():
            reports, committed = self._reports.get(run.number, {}), self.progress.committed(run.number)
            decided = ending(run.name, names, reports, missing, committed)
            if decided is not None:
                self._propose_as_leader(decided, now)

    def _propose_as_leader(self, decision: Decision, now: int) -> None:
        self._propose_for(self.identity.name, decision.request, self._codec.encode(decision), now)

    def _flush(self, now: int) -> list[Effect]:
        if self._proposals_due:
            self._proposals_due = False
            self._send_proposals(now)
        if self._lead_due and self.raft is not None and self.raft.is_leader:
            self._lead_due = False
            self._lead(now)
        out, self._out = self._out, []
        return out


def _name_of(server: str | None) -> str | None:
    return server.rpartition("/")[0] if server else None


def _identity_of(server: str) -> Identity:
    name, _, generation = server.rpartition("/")
    return Identity(name, int(generation))

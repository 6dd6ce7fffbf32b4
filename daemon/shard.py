"""The composition root of the control plane: membership, consensus, registry, pacing and progress of one shard.

Machines never call each other; the shard routes between them. It is a pure machine like them, with the same three
doors, so that the daemon's runtime and the simulator host the very same code. A message's way through::

    step -> membership | consensus -> registry -> what follows from a decision -> effects
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import consensus
from consensus import Persist, Raft, Refused, Stored
from daemon.clock import Clock
from daemon.custody import Custody
from daemon.effects import (
    Answered,
    Effect,
    Send,
    SendToAddress,
    StopRunHere,
    TellStates,
)
from daemon.protocol import membership_effects as swim
from daemon.protocol.bootstrap import CLUSTER_TAG
from daemon.protocol.cluster_messages import (
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    RunReport,
    StatesHeld,
    StepAsked,
    StepGranted,
)
from daemon.protocol.decisions import Decision, DecisionCodec, Identity, Settled
from daemon.protocol.holdings import Holdings
from daemon.protocol.leading import Leading, sight_of
from daemon.protocol.membership import Membership
from daemon.protocol.membership_messages import Member
from daemon.protocol.pacing import Pacing
from daemon.protocol.progress import ProgressGossip
from daemon.protocol.proposals import Proposals
from daemon.protocol.records import STOPPING, View
from daemon.protocol.registry import (
    Announcement,
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    Registry,
    RunBegun,
    RunEnded,
    RunStopping,
    RunsWaiting,
    ViewInstalled,
    apply,
    freeze,
    restore,
)
from daemon.protocol.reporting import Reporting
from daemon.protocol.seat import LEAVING_TAG, Seat, has_disk_of, server_at
from daemon.protocol.servers import shard_of
from daemon.protocol.views import Views
from daemon.shard_messages import CLUSTER_MESSAGES as CLUSTER_MESSAGES
from daemon.shard_messages import CONSENSUS_MESSAGES as CONSENSUS_MESSAGES
from daemon.shard_messages import MEMBERSHIP_MESSAGES as MEMBERSHIP_MESSAGES
from daemon.shard_settings import NOTHING_ON_DISK
from daemon.shard_settings import OnDisk as OnDisk
from daemon.shard_settings import ShardSettings as ShardSettings
from daemon.wire import Rejected

LEAD_INTERVAL_NS = 200_000_000
HOLDINGS_PATIENCE_NS = 10_000_000_000
FOLLOW_UPS_MAX = 64
"""In one door; what is left waits for the next."""


class Shard:
    """One shard's control plane."""

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
        self._seat = Seat(member.name, on_disk.disk, settings.expect, settings.consensus.voters_max, dict(member.tags))
        member = replace(member, tags=tuple(sorted(self._seat.tags.items())))
        self.membership = Membership(member, seeds, settings.membership, random, now)
        self.registry = Registry()
        self.raft: Raft | None = None
        self.clock = Clock(member.name, settings.progress_interval_ns, settings.progress_targets, random)
        self._custody = Custody(self.identity, on_disk.held, settings.surplus_grace_ns)
        self._settings, self._random = settings, random
        self._is_lone = all(seed == member.control for seed in seeds)
        self._leading = Leading(Views(settings.virtual_nodes, settings.replicas, settings.absent_patience_ns))
        self._proposals = Proposals()
        self._codec = DecisionCodec()
        self._reporting = Reporting(settings.report_interval_ns)
        self._lead_ns = now
        self._applied = 0
        self._snapshot_at = 0
        self._lead_due = self._proposals_due = False
        self._looked = 0
        self._out: list[Effect] = []
        if on_disk.stored is not None:
            self._start_consensus(on_disk.stored, now)

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """The earliest of all machines."""
        times = [
            self.membership.deadline,
            self.raft.deadline if self.raft else None,
            self._proposals.deadline,
            self.clock.deadline,
            self._custody.deadline,
            self._reporting.deadline,
            self._lead_ns if self.raft is not None and self.raft.is_leader else None,
        ]
        return min((time for time in times if time is not None), default=None)

    def step(self, sender: Identity, message: Any, now: int) -> list[Effect]:
        """Take a message that the codec has let through. What makes no sense here and now changes nothing."""
        if isinstance(message, MEMBERSHIP_MESSAGES):
            self._take_membership(self.membership.step(sender.name, message, now), now)
        elif isinstance(message, CONSENSUS_MESSAGES):
            server = server_at(self.membership, sender)
            if self.raft is not None and server is not None:
                self._take_consensus(self.raft.step(server, message, now), now)
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
        self._out += self.clock.wake(now)
        self._send_reports(now)
        if now >= self._lead_ns:
            self._lead_due = True
        self._custody.wake(now)
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
            self._out += self.clock.step(leader, StepAsked(request, run), now)
        else:
            self._out.append(Send(leader, StepAsked(request, run)))
        return self._flush(now)

    def run_over(self, report: RunReport, now: int) -> list[Effect]:
        """A run has ended on this shard's tick plane: tell the leader until the log says so, if it has not already."""
        if not self._goes_on(report.run):
            return self._flush(now)
        self._reporting.over(report, now)
        self._send_reports(now)
        return self._flush(now)

    def tick_committed(self, run: int, tick: int, now: int) -> list[Effect]:
        """A tick of a paced run was committed here."""
        self._out += self.clock.committed(run, tick, now)
        return self._flush(now)

    def states_held(
        self,
        epoch: int,
        held: Mapping[int, Mapping[int, frozenset[int]]],
        now: int,
        reached: Mapping[int, int] | None = None,
    ) -> list[Effect]:
        """The states on disk, by run and tick, of the runs that wait in the view of this epoch.

        `reached` are, by run, the last ticks that were seen committed here.
        """
        if epoch == self.registry.epoch:
            self._reporting.hold(epoch, held, reached or {}, now)
            self._send_reports(now)
        return self._flush(now)

    def parts_gained(self, load: str, partitions: frozenset[int], now: int) -> list[Effect]:
        """Partitions of a load are durable on this shard's disk."""
        self._out += self._custody.gained(self.registry, load, partitions)
        return self._flush(now)

    def results_looked_for(self, epoch: int, now: int) -> list[Effect]:
        """In the view of this epoch, the results that this shard should have were looked for, all of them."""
        self._looked = epoch
        self._custody.is_due = True
        return self._flush(now)

    def give_up_seat(self, now: int) -> list[Effect]:
        """Ask to be no server of consensus any more: this shard is not coming back."""
        self._seat.tags[LEAVING_TAG] = "1"
        self._set_tags(self._seat.tags, now)
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
        leader = self._seat.server if self.raft.is_leader else self.raft.leader
        return shard_of(leader) if leader else None

    @property
    def holdings(self) -> Holdings:
        """What is on this shard's disk, and what it should have."""
        return self._custody.holdings

    @property
    def progress(self) -> ProgressGossip:
        """Who is where in each run."""
        return self.clock.progress

    @property
    def pacing(self) -> Pacing:
        """What has been granted to each run."""
        return self.clock.pacing

    @property
    def in_view(self) -> bool:
        """Whether this very life of the shard is a member of the view."""
        return self.registry.view is not None and self.registry.view.has(self.identity)

    @property
    def has_seat(self) -> bool:
        """Whether this shard is a server of consensus."""
        return self.raft is not None and self._seat.server in self.raft.configuration.members

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
                    if isinstance(effect, swim.MemberJoined):
                        self._reconnected(effect.member)
        if changed:
            self._lead_due = True
            if self.raft is None:
                self._try_to_found(now)

    def _reconnected(self, member: Member) -> None:
        server = server_at(self.membership, Identity(member.name, member.generation))
        if self.raft is not None and server is not None:
            self.raft.reconnected(server)

    def _try_to_found(self, now: int) -> None:
        """Found a cluster, or take part in one that there is."""
        self._set_tags(self._seat.declaration(self.membership), now)
        stored = self._seat.beginning(self.membership)
        if stored is not None:
            self._start_consensus(stored, now)

    def _set_tags(self, tags: Mapping[str, str], now: int) -> None:
        own = self.membership.member(self.identity.name)
        if own is not None and dict(own.tags) != tags:
            self._take_membership(self.membership.set_tags(sorted(tags.items()), now), now)

    # -- consensus -------------------------------------------------------------------------------------------------

    def _start_consensus(self, stored: Stored, now: int) -> None:
        self._out.append(Persist(stored.hard_state, stored.snapshot))
        self.raft = Raft(self._seat.server, stored, self._settings.consensus, self._random, now)
        self._applied = self._snapshot_at = self.raft.commit_index
        if stored.snapshot.data:
            self._restore(stored.snapshot.data, now)

    def _restore(self, data: bytes, now: int) -> None:
        for announcement in restore(self.registry, data):
            self._follow_up(announcement, now)
        self._seat.tags[CLUSTER_TAG] = self.registry.cluster
        self._set_tags(self._seat.tags, now)
        self._custody.is_due = True

    def _take_consensus(self, effects: Iterable[consensus.Effect], now: int) -> None:
        for effect in effects:
            match effect:
                case consensus.Persist():
                    self._out.append(effect)
                case consensus.Send():
                    if has_disk_of(self.membership, effect.to):
                        self._out.append(Send(shard_of(effect.to), effect.message))
                case consensus.Committed():
                    self._apply(effect.entries, now)
                case consensus.Restored():
                    self._applied = self._snapshot_at = effect.snapshot.index
                    self._restore(effect.snapshot.data, now)
                case consensus.BecameLeader() | consensus.LeaderChanged():
                    self.clock.pacing.is_leader = isinstance(effect, consensus.BecameLeader)
                    self._leading.begin()
                    self._proposals.leader_changed()
                    self._proposals_due = True
                    self._lead_due = True
                    self._reporting.leader_changed(self.registry, now)
                    self._out.append(effect)

    def _apply(self, entries: Iterable[consensus.Entry], now: int) -> None:
        for entry in entries:
            self._applied = entry.index
            decision = self._codec.decode(entry.data) if entry.is_command else None
            if decision is None:
                continue
            for announcement in apply(self.registry, decision):
                self._follow_up(announcement, now)
        assert self.raft is not None
        if self._applied - self._snapshot_at >= self._settings.snapshot_entries:
            self._snapshot_at = self._applied
            self._compact(now)

    def _compact(self, now: int) -> None:
        assert self.raft is not None
        try:
            self._take_consensus(self.raft.compact(self._applied, freeze(self.registry)), now)
        except (Refused, Rejected):  # it is too large; the log grows on, and nothing is lost by that but room
            self._out.append(swim.Counted("consensus_snapshots_refused"))

    # -- what follows from a decision ------------------------------------------------------------------------------

    def _follow_up(self, announcement: Announcement, now: int) -> None:
        match announcement:
            case Decided(request=request, error=error, name=name):
                self._answered(request, error, name)
                return
            case ViewInstalled(view=view):
                self._out.append(announcement)
                self._enter_view(view, now)
                return
            case RunBegun(run=run) if self.in_view:
                assert self.registry.view is not None
                self._out.append(self.clock.begin(run, self.registry.view, now))
                if run.state == STOPPING:
                    self._out.append(StopRunHere(run.number))
                self._lead_due = True
            case RunsWaiting():
                self._tell_states()
            case RunStopping(run=run):
                self._out.append(StopRunHere(run.number))
                self._lead_due = True
            case RunEnded(run=run):
                self.clock.end(run.number)
                self._reporting.forget_run(run.number)
                self._leading.forget_run(run.number)
            case HoldingsChanged():
                self._custody.is_due = self._lead_due = True
            case GraphInstalled(graph=graph):
                self.holdings.installed(graph.load, self.registry)
            case GraphRemoved(graph=graph):
                self._out += self._custody.forget(graph.load)
            case _:
                pass
        self._out.append(announcement)

    def _enter_view(self, view: View, now: int) -> None:
        """Whatever was said of runs in an older view is void: they go on from where the log will say."""
        self.clock.enter_view(view)
        self._leading.enter_view()
        self._reporting.enter_view()
        self._tell_states()
        self._lead_due = self._custody.is_due = True

    def _tell_states(self) -> None:
        """Have it looked up from where the runs that wait could go on."""
        waiting = self.registry.waiting_runs()
        if waiting and self.in_view:
            self._out.append(TellStates(self.registry.epoch, tuple(run.number for run in waiting)))

    def _answered(self, request: str, error: str, name: str) -> None:
        if not self._proposals.settle(request):
            return
        self._out += self._custody.answered(request, error)
        self._out.append(Answered(request, error, name, decided=True))

    def _tend_holdings(self, now: int) -> None:
        """Tell the log what is new on this disk, and the host what is to be fetched or deleted."""
        self._out += self._custody.tend(self.registry)
        self._settle(now)
        asked = self._custody.question(self.registry, now)
        if asked is not None and self._proposals.add(asked, now + HOLDINGS_PATIENCE_NS):
            self._proposals_due = True
        elif asked is not None:
            why = "too much is asked for: again when something has been answered"
            self._custody.holdings.answered(asked.request, why)

    def _settle(self, now: int) -> None:
        """While somebody is being drained, have the log say that nothing here waits for it any more."""
        registry, name = self.registry, self.identity.name
        if registry.draining and self.in_view and self._looked == registry.epoch and name not in registry.settled:
            request = f"settled-{self.identity}-{registry.epoch}"
            self._proposals.add(Settled(request, self.identity, registry.epoch), now + HOLDINGS_PATIENCE_NS)
            self._proposals_due = True

    # -- the rest of the cluster's talk ----------------------------------------------------------------------------

    def _take_cluster(self, sender: Identity, message: object, now: int) -> None:
        match message:
            case Proposal(request=request, command=command):
                self._propose_for(sender.name, request, command, now)
            case ProposalRefused(request=request, reason=reason):
                if self._proposals.settle(request):
                    self._out += [*self._custody.answered(request, reason), Answered(request, reason)]
            case RunReport():
                self._hear_report(sender, message)
            case StatesHeld():
                self._hear_states(sender, message)
            case Grant():
                self._out += self.clock.hear_grant(message)
            case StepAsked():
                self._out += self.clock.step(sender.name, message, now)
            case StepGranted():
                self._out += self.clock.hear_step(message)
            case Progress():
                self._out += self.clock.hear_progress(message, now)
            case _:
                pass

    def _hear_report(self, sender: Identity, report: RunReport) -> None:
        """Repeated ones of a run that the log has ended are of no use; what is early will be repeated."""
        if self._counts(sender, report.epoch) and self._goes_on(report.run):
            self._leading.hear_report(sender.name, report)
            self._lead_due = True

    def _hear_states(self, sender: Identity, states: StatesHeld) -> None:
        if self._counts(sender, states.epoch):
            self._leading.hear_states(sender.name, states)
            self._lead_due = True

    def _counts(self, sender: Identity, epoch: int) -> bool:
        return epoch == self.registry.epoch and self.registry.has_member(sender)

    def _goes_on(self, number: int) -> bool:
        epoch = self.registry.epoch
        return any(run.number == number and run.epoch == epoch for run in self.registry.active_runs())

    # -- proposals and reports -------------------------------------------------------------------------------------

    def _send_proposals(self, now: int) -> None:
        for request in self._proposals.given_up(now):
            self._out += self._custody.answered(request, "nobody has answered")
            self._out.append(Answered(request, "there is no answer from a tick leader: has the cluster a majority?"))
        leader = self.leader
        if leader is None:
            return
        for request, command in self._proposals.due(now):
            if leader == self.identity.name:
                self._propose_for(leader, request, command, now)
            else:
                self._out.append(Send(leader, Proposal(request, command)))

    def _propose_for(self, asker: str, request: str, command: bytes, now: int) -> bool:
        """Append a command that makes sense; what the log can't take now (False) is sent again by its asker."""
        if self.raft is None or not self.raft.is_leader or self._codec.decode(command) is None:
            return False
        try:
            self._take_consensus(self.raft.propose(command, now), now)
        except Refused as refused:
            if refused.reason is not consensus.Reason.TOO_LARGE:
                return False
            if asker != self.identity.name:
                self._out.append(Send(asker, ProposalRefused(request, refused.reason.value)))
            elif self._proposals.settle(request):
                self._out += self._custody.answered(request, refused.reason.value)
                self._out.append(Answered(request, refused.reason.value))
        return True

    def _send_reports(self, now: int) -> None:
        leader = self.leader
        for report in self._reporting.due(self.registry, now):
            if leader == self.identity.name:
                self._take_cluster(self.identity, report, now)
            elif leader is not None:
                self._out.append(Send(leader, report))

    # -- the leader's duties ---------------------------------------------------------------------------------------

    def _lead(self, now: int) -> None:
        """As tick leader: tend views, runs and servers."""
        assert self.raft is not None
        self._lead_ns = now + LEAD_INTERVAL_NS
        records = [(Identity(r.name, r.generation), r.live) for r in self.membership.members()]
        founders = [shard_of(server) for server in self.raft.configuration.members]
        for decision in self._leading.decisions(self.registry, sight_of(records, self.registry), founders, now):
            if not self._propose_for(self.identity.name, decision.request, self._codec.encode(decision), now):
                self._leading.take_back(decision)
        self._tend_servers(now)

    def _tend_servers(self, now: int) -> None:
        """One change at a time; what consensus can't do now is tried again in a moment."""
        assert self.raft is not None
        heir = self._seat.heir(self.raft, self.registry, self.membership)
        change = self._seat.due_change(self.raft, self.registry, self.membership)
        try:
            if heir is not None:
                self._take_consensus(self.raft.transfer_leadership(heir, now), now)
            elif change is not None and change.is_gone:
                self._take_consensus(self.raft.remove_server(change.server, now), now)
            elif change is not None:
                self._take_consensus(self.raft.add_server(change.server, change.votes, now), now)
        except Refused:
            return

    def _flush(self, now: int) -> list[Effect]:
        """Do what has become due; a lone shard's proposals are decided at once, and more may follow from each."""
        for _ in range(FOLLOW_UPS_MAX):
            leads = self.raft is not None and self.raft.is_leader
            if self._custody.is_due:
                self._tend_holdings(now)
            elif self._proposals_due:
                self._proposals_due = False
                self._send_proposals(now)
            elif self._lead_due and leads:
                self._lead_due = False
                self._lead(now)
            else:
                break
        out, self._out = self._out, []
        return out

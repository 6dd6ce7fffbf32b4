"""Follows the log: turns decisions into effects on this shard, and decides what this shard reports or proposes.

Routes the registry's announcements and the members' reports to the components concerned. It leaves what it wants
decided with `proposals`, which `replica` sends::

    announcement | report -> clock | custody | reports | leader/duties | proposals -> effects
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from daemon.control.clock import Clock
from daemon.control.custody import QUESTION, Custody
from daemon.control.effects import Answered, Effect, Send, StopRunHere, TellStates
from daemon.control.leader.duties import Leading, ResultLimits
from daemon.control.leader.flapping import FlappingLimits
from daemon.control.leader.messages import RunReport, StatesHeld
from daemon.control.leader.view_policy import Views
from daemon.control.messages import Grant, Progress, ProposalRefused, StepReply, StepRequest
from daemon.control.proposals import Proposals
from daemon.control.reports import Reporting
from daemon.control.settings import OnDisk, ShardSettings
from daemon.state import (
    Announcement,
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    NotApplied,
    ProgramDeployed,
    ProgramRemoved,
    Registry,
    ResultsExpired,
    RunBegun,
    RunEnded,
    RunQueued,
    RunStopping,
    RunsWaiting,
    VersionRaised,
    ViewInstalled,
)
from daemon.state.commands import Identity, Settled
from daemon.state.records import STOPPING, RunRecord, View

HOLDINGS_PATIENCE_NS = 10_000_000_000


class Following:
    """One shard's reaction to the log.

    `proposals_due` says that there is something to propose, `lead_due` that a leader should check its duties.
    """

    def __init__(
        self,
        shard: Identity,
        registry: Registry,
        settings: ShardSettings,
        on_disk: OnDisk,
        random: Random,
    ) -> None:
        self._shard, self._registry = shard, registry
        self.clock = Clock(shard.name, settings.progress_interval_ns, settings.progress_targets, random)
        self.custody = Custody(shard, on_disk.held, on_disk.disk, settings.surplus_grace_ns)
        self.reporting = Reporting(settings.report_interval_ns)
        views = Views(
            settings.virtual_nodes,
            settings.replicas,
            settings.absent_patience_ns,
            FlappingLimits.of(settings.flap_patience_ns),
        )
        self.leading = Leading(views, ResultLimits(settings.results_kept, settings.results_bytes))
        self.proposals = Proposals()
        self.lead_due = self.proposals_due = False
        self._looked = 0

    @property
    def deadline(self) -> int | None:
        """The earliest of all parts."""
        times = [self.proposals.deadline, self.clock.deadline, self.custody.deadline, self.reporting.deadline]
        return min((time for time in times if time is not None), default=None)

    @property
    def in_view(self) -> bool:
        """Whether this very life of the shard is a member of the view."""
        return self._registry.has_member(self._shard)

    def wake(self, leader: str | None, now: int) -> list[Effect]:
        """Let every part look at the time."""
        effects = self.clock.wake(now) + self.report(leader, now)
        self.custody.wake(now)
        return effects

    # -- what follows from a decision ------------------------------------------------------------------------------

    def follow(self, announcement: Announcement, now: int) -> list[Effect]:
        """Of what the registry has just announced, which the host is told as well."""
        match announcement:
            case Decided():
                return self._decided(announcement)
            case ViewInstalled(view=view):
                return [announcement, *self._enter_view(view)]
            case RunBegun(run=run) if self.in_view:
                return [*self._begin(run, now), announcement]
            case RunsWaiting():
                return [*self._ask_for_states(), announcement]
            case RunStopping(run=run):
                self.lead_due = True
                return [StopRunHere(run.number), announcement]
            case RunEnded(run=run):
                self.clock.end(run.number)
                self.reporting.forget_run(run.number)
                self.leading.forget_run(run.number)
                self.lead_due = True
            case HoldingsChanged():
                self.custody.is_due = self.lead_due = True
            case GraphInstalled(graph=graph):
                self.custody.holdings.installed(graph.load, self._registry)
            case GraphRemoved(graph=graph):
                return [*self.custody.forget(graph.load), announcement]
            case (
                RunBegun()
                | RunQueued()
                | ResultsExpired()
                | VersionRaised()
                | ProgramDeployed()
                | ProgramRemoved()
                | NotApplied()
            ):
                pass
            case _:
                assert_never(announcement)
        return [announcement]

    def _enter_view(self, view: View) -> list[Effect]:
        """Whatever was said of runs in an older view is void: they go on from where the log will say."""
        self.clock.enter_view(view)
        self.leading.enter_view()
        self.reporting.enter_view()
        self.lead_due = self.custody.is_due = True
        return self._ask_for_states()

    def _begin(self, run: RunRecord, now: int) -> list[Effect]:
        assert self._registry.view is not None
        self.lead_due = True
        begun: list[Effect] = [self.clock.begin(run, self._registry.view, now)]
        return [*begun, StopRunHere(run.number)] if run.state == STOPPING else begun

    def _ask_for_states(self) -> list[Effect]:
        """Have it looked up from where the runs that wait could go on."""
        waiting = self._registry.waiting_runs()
        if not waiting or not self.in_view:
            return []
        return [TellStates(self._registry.epoch, tuple(run.number for run in waiting))]

    def leader_changed(self, leads: bool, now: int) -> None:
        """Whoever leads now has heard nothing; what the one before took may be lost."""
        self.clock.pacing.is_leader = leads
        self.leading.begin()
        self.proposals.leader_changed()
        self.proposals_due = self.lead_due = True
        self.reporting.leader_changed(self._registry, now)

    # -- what is on this disk --------------------------------------------------------------------------------------

    def tend(self, now: int) -> list[Effect]:
        """Have the log told what is new on this disk, and the host what is to be fetched or deleted."""
        effects = self.custody.tend(self._registry)
        self._settle(now)
        asked = self.custody.question(self._registry, now)
        if asked is not None and self.proposals.add(QUESTION, asked, now + HOLDINGS_PATIENCE_NS, keeps_asking=True):
            self.proposals_due = True
        elif asked is not None:
            self.custody.holdings.answered("too much is asked for: again when something has been answered")
        return effects

    def looked_for_results(self, epoch: int) -> None:
        """In the view of this epoch, the results that this shard should have were looked for, all of them."""
        self._looked = epoch
        self.custody.is_due = True

    def _settle(self, now: int) -> None:
        """While somebody is being drained, have the log say that nothing here waits for it any more."""
        registry, name = self._registry, self._shard.name
        if registry.draining and self.in_view and self._looked == registry.epoch and name not in registry.settled:
            request = f"settled-{registry.epoch}"
            if not self.proposals.is_pending(request):
                settled = Settled(self._shard, registry.epoch)
                self.proposals.add(request, settled, now + HOLDINGS_PATIENCE_NS, keeps_asking=True)
                self.proposals_due = True

    # -- what was asked for here -----------------------------------------------------------------------------------

    def _decided(self, decided: Decided) -> list[Effect]:
        """The log has an answer; nothing, if it is to no proposal of ours, or to one that is not open any more."""
        asked = decided.request
        if (asked.shard, asked.generation) != (self._shard.name, self._shard.generation):
            return []
        request = self.proposals.settle(asked.sequence)
        if request is None:
            return []
        answer = Answered(request, decided.error, decided.name, decided=True, index=decided.index)
        return [*self.custody.answered(request, decided.error), answer]

    def refused(self, sequence: int, reason: str) -> list[Effect]:
        """A leader would not take a proposal. What this shard asks for by itself is asked for again, at its pace."""
        request = None if self.proposals.keeps_asking(sequence) else self.proposals.settle(sequence)
        return [] if request is None else [*self.custody.answered(request, reason), Answered(request, reason)]

    def given_up(self, now: int) -> list[Effect]:
        """Proposals that nobody has answered in time."""
        effects: list[Effect] = []
        for request in self.proposals.given_up(now):
            effects += self.custody.answered(request, "nobody has answered")
            effects.append(Answered(request, "there is no answer from a tick leader: has the cluster a majority?"))
        return effects

    # -- what members say ------------------------------------------------------------------------------------------

    def hear(self, sender: Identity, message: object, now: int) -> list[Effect]:
        """All of the cluster's talk but for proposals. What is of another view is of no use, or will be repeated."""
        match message:
            case ProposalRefused(sequence=sequence, reason=reason):
                return self.refused(sequence, reason)
            case RunReport() if self._counts(sender, message.epoch) and self.goes_on(message.run):
                self.leading.hear_report(sender.name, message)
                self.lead_due = True
            case StatesHeld() if self._counts(sender, message.epoch):
                self.leading.hear_states(sender.name, message)
                self.lead_due = True
            case Grant():
                return self.clock.hear_grant(message)
            case StepRequest():
                return self.clock.step(sender.name, message, now)
            case StepReply():
                return self.clock.hear_step(message)
            case Progress():
                return self.clock.hear_progress(message, now)
            case _:
                pass
        return []

    def report(self, leader: str | None, now: int) -> list[Effect]:
        """Tell the tick leader what is due; this shard itself, if it leads."""
        effects: list[Effect] = []
        for report in self.reporting.due(self._registry, now):
            if leader == self._shard.name:
                effects += self.hear(self._shard, report, now)
            elif leader is not None:
                effects.append(Send(leader, report))
        return effects

    def goes_on(self, number: int) -> bool:
        """Whether a run goes on in the present view, as far as the log says."""
        epoch = self._registry.epoch
        return any(run.number == number and run.epoch == epoch for run in self._registry.active_runs())

    def _counts(self, sender: Identity, epoch: int) -> bool:
        return epoch == self._registry.epoch and self._registry.has_member(sender)

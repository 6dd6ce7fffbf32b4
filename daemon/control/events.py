"""Events that the control plane's machines leave with the composition root, which routes them.

    the log's announcements (`daemon.state`) -> `LogEvents.on` -> clock | custody | reports | leader -> effects
    the replica's own events                 -> `ControlPlane`
    each of these                            -> `due_after`: what to check once all are routed

No machine keeps a flag for another: one set holds everything that has become due, and the root works it off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias, assert_never

from daemon.control.clock import Clock
from daemon.control.custody import Custody
from daemon.control.effects import Effect, StopRunHere, TellStates
from daemon.control.leader.duties import Leading
from daemon.control.reports import Reports
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
from daemon.state.commands import Identity
from daemon.state.records import STOPPING, RunRecord, View


@dataclass(frozen=True, slots=True)
class LeadershipChanged:
    """Another server leads, perhaps this one, or none: requests to the previous leader may be lost."""

    leads: bool


@dataclass(frozen=True, slots=True)
class StateReplaced:
    """A snapshot has replaced the replicated state."""


@dataclass(frozen=True, slots=True)
class TagsChanged:
    """This shard's tags have changed, for membership to publish."""


@dataclass(frozen=True, slots=True)
class OwnRefused:
    """This shard leads, and refuses one of its own proposals for a reason that retrying does not fix."""

    sequence: int
    reason: str


ReplicaEvent: TypeAlias = LeadershipChanged | StateReplaced | TagsChanged | OwnRefused
Told: TypeAlias = Effect | ReplicaEvent
"""The replica's output: events, and effects for the host, which include the log's announcements."""


class Due(IntEnum):
    """What the root checks, in this order: the disk may have something to propose, and a lone leader decides it."""

    HOLDINGS = 1
    PROPOSALS = 2
    LEAD = 3


_DUE: Final[Mapping[type, tuple[Due, ...]]] = {
    ViewInstalled: (Due.HOLDINGS, Due.LEAD),
    HoldingsChanged: (Due.HOLDINGS, Due.LEAD),
    GraphRemoved: (Due.HOLDINGS,),
    RunBegun: (Due.LEAD,),
    RunStopping: (Due.LEAD,),
    RunEnded: (Due.LEAD,),
    VersionRaised: (Due.LEAD,),
    StateReplaced: (Due.HOLDINGS,),
    LeadershipChanged: (Due.PROPOSALS, Due.LEAD),
}


def due_after(told: Told) -> tuple[Due, ...]:
    """Returns what an event makes due."""
    return _DUE.get(type(told), ())


class LogEvents:
    """One shard's reactions to the log's decisions."""

    def __init__(
        self, shard: Identity, registry: Registry, clock: Clock, custody: Custody, reports: Reports, leading: Leading
    ) -> None:
        self._shard, self._registry = shard, registry
        self._clock, self._custody, self._reports, self._leading = clock, custody, reports, leading

    def on(self, announcement: Announcement, now: int) -> list[Effect]:
        """Returns the effects of an announcement, which the host receives as well."""
        match announcement:
            case ViewInstalled(view=view):
                return [announcement, *self._enter_view(view)]
            case RunBegun(run=run) if self._registry.has_member(self._shard):
                return [*self._begin(run, now), announcement]
            case RunsWaiting():
                return [*self._ask_for_states(), announcement]
            case RunStopping(run=run):
                return [StopRunHere(run.number), announcement]
            case RunEnded(run=run):
                self._clock.end(run.number)
                self._reports.forget_run(run.number)
                self._leading.forget_run(run.number)
            case GraphInstalled(graph=graph):
                self._custody.holdings.installed(graph.load, self._registry)
            case GraphRemoved(graph=graph):
                return [*self._custody.forget(graph.load), announcement]
            case (
                RunBegun()
                | RunQueued()
                | HoldingsChanged()
                | ResultsExpired()
                | VersionRaised()
                | ProgramDeployed()
                | ProgramRemoved()
                | Decided()
                | NotApplied()
            ):
                pass
            case _:
                assert_never(announcement)
        return [announcement]

    def leader_changed(self, *, leads: bool, now: int) -> None:
        """Starts over with the new leader, which has received no reports."""
        self._clock.pacing.is_leader = leads
        self._leading.begin()
        self._reports.leader_changed(now)

    def _enter_view(self, view: View) -> list[Effect]:
        """Drops all reports about runs in an older view: the log decides where the runs resume."""
        self._clock.enter_view(view)
        self._leading.enter_view()
        self._reports.enter_view()
        return self._ask_for_states()

    def _begin(self, run: RunRecord, now: int) -> list[Effect]:
        assert self._registry.view is not None
        begun: list[Effect] = [self._clock.begin(run, self._registry.view, now)]
        return [*begun, StopRunHere(run.number)] if run.state == STOPPING else begun

    def _ask_for_states(self) -> list[Effect]:
        """Asks the host from which states the waiting runs could resume."""
        waiting = self._registry.waiting_runs()
        if not waiting or not self._registry.has_member(self._shard):
            return []
        return [TellStates(self._registry.epoch, tuple(run.number for run in waiting))]

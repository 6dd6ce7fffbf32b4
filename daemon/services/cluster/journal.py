"""Logs and counts the cluster's events."""

from __future__ import annotations

import logging
from typing import Never, TypeAlias, assert_never

from consensus import BecameLeader, LeaderChanged
from daemon.control.effects import HeldBack, KeptOut, PeerWentBack, SnapshotRefused
from daemon.membership.effects import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    NameHeld,
)
from daemon.runtime.context import HostContext
from daemon.runtime.service import Service, types_of
from daemon.state import (
    Decided,
    GraphRemoved,
    HoldingsChanged,
    NotApplied,
    ProgramDeployed,
    ProgramRemoved,
    ResultsExpired,
    RunBegun,
    RunQueued,
    RunStopping,
    RunsWaiting,
    VersionRaised,
)

log = logging.getLogger("shoal.cluster")

OfMembers: TypeAlias = (
    MemberJoined
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | NameHeld
    | PeerWentBack
    | HeldBack
    | KeptOut
)
OfTheLog: TypeAlias = (
    BecameLeader
    | LeaderChanged
    | SnapshotRefused
    | NotApplied
    | GraphRemoved
    | ResultsExpired
    | RunQueued
    | RunBegun
    | RunsWaiting
    | RunStopping
    | ProgramDeployed
    | ProgramRemoved
    | HoldingsChanged
    | VersionRaised
    | Decided
)
Events: TypeAlias = OfMembers | OfTheLog


class Journal(Service[Never, Events]):
    """One shard's journal."""

    events = types_of(Events)

    def __init__(self, context: HostContext) -> None:
        self._context = context

    def on_event(self, event: Events) -> None:
        """Logs an event, if it is of interest to people."""
        if isinstance(event, OfMembers):
            self._of_member(event)
        else:
            self._of_log(event)

    def _of_member(self, event: OfMembers) -> None:
        match event:
            case MemberJoined(member=member):
                log.info("member %s joined (%s)", member.name, member.control)
            case MemberSuspected(member=member, by=by):
                log.info("member %s is suspected by %s", member.name, by)
            case MemberFailed(member=member):
                log.warning("member %s has failed", member.name)
            case MemberLeft(member=member):
                log.info("member %s left", member.name)
            case NameHeld(control=control):
                log.error(
                    "another daemon runs under the name '%s', at %s: this one waits until that one has ended; is it a"
                    " copy, or does it need another name and key?",
                    self._context.me,
                    control,
                )
            case PeerWentBack(name=name):
                log.warning(
                    "the disk of member %s has reverted: the member has no vote, and rejoins as a new disk", name
                )
                self._context.metrics.count("disks_went_back", (), 1)
            case HeldBack(name=name, departures=departures, wait_ns=wait_ns):
                told = "the view admits it once it has stayed for %.1f s more (cluster.flap_patience)"
                log.warning(
                    "member %s is unstable and has left %d times recently: " + told, name, departures, wait_ns / 1e9
                )
            case KeptOut(why=why):
                log.warning("kept out: %s", why)
            case MemberRecovered():
                pass
            case _:
                assert_never(event)

    def _of_log(self, event: OfTheLog) -> None:
        match event:
            case BecameLeader(term=term):
                log.info("this shard is tick leader of term %d", term)
                self._context.metrics.count("elections_won", (), 1)
            case LeaderChanged(term=term, leader=leader):
                log.info("tick leader of term %d is %s", term, leader or "not known")
            case SnapshotRefused(why=why):
                log.error("%s", why)
            case VersionRaised(version=cluster_version):
                log.info("the cluster is at version %d", cluster_version)
            case NotApplied(what=what, error=error):
                log.error("a log command can't be applied, and is declined on every shard: %s: %s", what, error)
                self._context.metrics.event("decisions_not_applied")
            case GraphRemoved(graph=graph, runs=runs):
                kept = sum(run.has_result for run in runs)
                log.info("graph %s dropped, with %d runs and %d results", graph.name, len(runs), kept)
            case ResultsExpired(runs=runs):
                log.info("results expired: %s", ", ".join(run.name for run in runs) or "none")
            case RunQueued(run=run):
                log.info("run %s on graph %s is queued", run.name, run.graph)
            case ProgramDeployed(version=version):
                log.info("program %s deployed, digest %s", version.name, version.digest)
            case ProgramRemoved(version=version):
                log.info("program %s removed, digest %s", version.name, version.digest)
            case RunBegun() | RunsWaiting() | RunStopping() | HoldingsChanged() | Decided():
                pass
            case _:
                assert_never(event)

"""What follows on this machine from what membership, consensus and the registry announce."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from consensus import BecameLeader, LeaderChanged
from daemon.control.effects import Announcement, HeldBack, PeerWentBack, SnapshotRefused
from daemon.membership import effects as swim
from daemon.state import (
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    NotApplied,
    ProgramDeployed,
    ProgramRemoved,
    ResultsExpired,
    RunBegun,
    RunEnded,
    RunQueued,
    RunStopping,
    RunsWaiting,
    ViewInstalled,
)
from daemon.state.commands import AddGraph

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime

log = logging.getLogger("shoal.runtime")


def follow(runtime: Runtime, announcement: Announcement) -> None:
    """Say it in the log, and have done what is to be done about it; what needs nothing here is passed over."""
    match announcement:
        case swim.MemberJoined() | swim.MemberUpdated() | swim.MemberFailed() | swim.MemberLeft():
            _of_member(runtime, announcement)
        case swim.MemberSuspected(member=member, by=by):
            log.info("member %s is suspected by %s", member.name, by)
        case swim.Superseded(by=by):
            runtime.begin_again(by.generation)
        case swim.NameHeld(control=control):
            log.error(
                "another daemon runs under the name '%s', at %s: this one waits until that one is gone; is it a copy,"
                " or does it need a name and a key of its own?",
                runtime.me.name,
                control,
            )
        case PeerWentBack(name=name):
            log.warning("the disk of member %s went back: it has no vote, and comes back as a new disk", name)
            runtime.metrics.count("disks_went_back", (), 1)
        case SnapshotRefused(why=why):
            log.error("%s", why)
        case BecameLeader(term=term):
            log.info("this shard is tick leader of term %d", term)
            runtime.metrics.raft_elections_won_total.inc()
        case LeaderChanged(term=term, leader=leader):
            log.info("tick leader of term %d is %s", term, leader or "not known")
        case HeldBack(name=name, departures=departures, wait_ns=wait_ns):
            told = "it is let into the view once it has stayed for %.1f s more (cluster.flap_patience)"
            log.warning("member %s comes and goes, %d times lately: " + told, name, departures, wait_ns / 1e9)
        case ViewInstalled(view=view):
            runtime.results.let_go()
            runtime.view_change.enter(view)
        case GraphInstalled(graph=graph):
            _install(runtime, graph)
        case GraphRemoved(graph=graph, runs=runs):
            kept = sum(run.has_result for run in runs)
            log.info("graph %s dropped, with %d runs and %d results", graph.name, len(runs), kept)
            runtime.results.forget(run.name for run in runs)
            runtime.runs.forget_states()
            runtime.tables.forget()
            runtime.searching.forget()
        case ResultsExpired(runs=runs):
            log.info("results expired: %s", ", ".join(run.name for run in runs) or "none")
            runtime.results.forget(run.name for run in runs)
            runtime.runs.forget_states()
        case RunQueued(run=run):
            log.info("run %s on graph %s is queued", run.name, run.graph)
        case ProgramDeployed(version=version):
            log.info("program %s deployed, digest %s", version.name, version.digest)
        case ProgramRemoved(version=version):
            log.info("program %s removed, digest %s", version.name, version.digest)
        case NotApplied(what=what, error=error):
            log.error("a command of the log can't be applied, and is declined on every shard: %s: %s", what, error)
            runtime.metrics.event("decisions_not_applied")
        case RunEnded(run=run):
            runtime.checkpoints.forget(run.number)
            runtime.runs.ended(run)
        case swim.MemberRecovered() | RunBegun() | RunsWaiting() | RunStopping() | HoldingsChanged() | Decided():
            pass
        case _:
            assert_never(announcement)


def _of_member(
    runtime: Runtime, news: swim.MemberJoined | swim.MemberUpdated | swim.MemberFailed | swim.MemberLeft
) -> None:
    match news:
        case swim.MemberJoined(member=member):
            log.info("member %s joined (%s)", member.name, member.control)
            runtime.view_change.hear_of(member)
        case swim.MemberUpdated(member=member):
            runtime.view_change.hear_of(member)
        case swim.MemberFailed(member=member):
            log.warning("member %s has failed", member.name)
        case swim.MemberLeft(member=member):
            log.info("member %s left", member.name)
        case _:
            assert_never(news)


def _install(runtime: Runtime, graph: AddGraph) -> None:
    log.info("graph %s: %d nodes, %d edges", graph.name, graph.node_count, graph.edge_count)
    runtime.ticks.order(lambda: runtime.ticks.load_decided(graph.load))
    runtime.graphs.install(graph.load)
    runtime.view_change.have_part(graph)

"""What follows on this machine from what membership, consensus and the registry announce."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from consensus import BecameLeader, LeaderChanged
from daemon.protocol import membership_effects as swim
from daemon.protocol.decisions import AddGraph
from daemon.protocol.registry import (
    GraphInstalled,
    GraphRemoved,
    ProgramDeployed,
    ProgramRemoved,
    RunEnded,
    ViewInstalled,
)

if TYPE_CHECKING:
    from daemon.host.runtime import Runtime

log = logging.getLogger("shoal.runtime")


def follow(runtime: Runtime, announcement: object) -> None:
    """Say it in the log, and have done what is to be done about it; what needs nothing here is passed over."""
    match announcement:
        case swim.MemberJoined() | swim.MemberUpdated() | swim.MemberFailed() | swim.MemberLeft():
            _of_member(runtime, announcement)
        case swim.MemberSuspected(member=member, by=by):
            log.info("member %s is suspected by %s", member.name, by)
        case swim.Superseded(by=by):
            runtime.fatal(RuntimeError(f"another daemon runs under our name '{by.name}' at {by.control}"))
        case BecameLeader(term=term):
            log.info("this shard is tick leader of term %d", term)
            runtime.metrics.raft_elections_won_total.inc()
        case LeaderChanged(term=term, leader=leader):
            log.info("tick leader of term %d is %s", term, leader or "not known")
        case ViewInstalled(view=view):
            runtime.entering.enter(view)
        case GraphInstalled(graph=graph):
            _install(runtime, graph)
        case GraphRemoved(graph=graph):
            log.info("graph %s dropped", graph.name)
            runtime.results.drop_graph(graph.name)
            runtime.tables.forget()
            runtime.searching.forget()
        case ProgramDeployed(version=version):
            log.info("program %s deployed, digest %s", version.name, version.digest)
        case ProgramRemoved(version=version):
            log.info("program %s removed, digest %s", version.name, version.digest)
        case RunEnded(run=run):
            runtime.checkpoints.forget(run.number)
            runtime.runs.ended(run)


def _of_member(
    runtime: Runtime, news: swim.MemberJoined | swim.MemberUpdated | swim.MemberFailed | swim.MemberLeft
) -> None:
    match news:
        case swim.MemberJoined(member=member):
            log.info("member %s joined (%s)", member.name, member.control)
            runtime.entering.hear_of(member)
        case swim.MemberUpdated(member=member):
            runtime.entering.hear_of(member)
        case swim.MemberFailed(member=member):
            log.warning("member %s has failed", member.name)
        case swim.MemberLeft(member=member):
            log.info("member %s left", member.name)


def _install(runtime: Runtime, graph: AddGraph) -> None:
    log.info("graph %s: %d nodes, %d edges", graph.name, graph.node_count, graph.edge_count)
    runtime.ticks.order(lambda: runtime.ticks.load_decided(graph.load))
    runtime.graphs.install(graph.name, graph.load)
    runtime.entering.have_part(graph)

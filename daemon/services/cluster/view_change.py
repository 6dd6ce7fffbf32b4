"""What this shard does when the log gives it a view: whom it speaks with, which parts it builds, what it looks for.

The log may be applied a batch at a time, and hand out several views at once: only the last of them counts, for the
placements that the registry has by then are those of its epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from daemon.control.plane import ControlPlane
from daemon.membership.messages import Member
from daemon.runtime.messenger import Messenger
from daemon.runtime.tick_thread import Peer, TickThread
from daemon.services.graphs.graphs import Graphs
from daemon.services.graphs.repair import Repair, StateWant
from daemon.services.runs.controller import RunController
from daemon.state.commands import AddGraph, Identity
from daemon.state.placement import Placed, sources
from daemon.state.records import View
from daemon.store import NotHeld

log = logging.getLogger("shoal.view")


class ViewChange:
    """Of one shard. `spawn` has something done beside the loop's turns; `looked` is told in which epoch the results
    that were missing here have been looked for."""

    def __init__(
        self,
        shard: ControlPlane,
        messenger: Messenger,
        ticks: TickThread,
        graphs: Graphs,
        runs: RunController,
        repair: Repair,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        looked: Callable[[int], None],
    ) -> None:
        self._shard, self._messenger, self._ticks = shard, messenger, ticks
        self._graphs, self._runs, self._repair, self._spawn, self._looked = graphs, runs, repair, spawn, looked

    def enter(self, view: View) -> None:
        """A view has been installed."""
        registry = self._shard.registry
        log.info("view %d: %s", view.epoch, ", ".join(view.names))
        if view != registry.view:
            return
        self._messenger.epoch = view.epoch
        self._messenger.view = frozenset(view.names if view.has(self._shard.identity) else ())
        if not view.has(self._shard.identity):
            log.info("this shard is not a member of the view")
            self._ticks.order(lambda: self._ticks.enter_view(view.epoch, [], registry.cluster))
            return
        self._connect(view)
        for graph in registry.graphs.values():
            lost = registry.lost(graph.name)
            if lost:
                shards = ", ".join(registry.last_holders(graph.name)) or "nobody who is known"
                log.error("graph %s is halted: partitions %s are lost; %s had them", graph.name, lost, shards)
            else:
                self._spawn(self._build(graph, view, registry.placements[graph.name]))
        self.look_for_results()

    def look_for_results(self) -> None:
        """Of runs that ended while this shard was away; nothing, if it is in no view now."""
        view = self._shard.registry.view
        if view is not None and self._shard.in_view:
            epoch = view.epoch
            self._runs.forget_states()
            self._spawn(self._repair.look_for(self._result_wants(view), lambda: self._looked(epoch)))

    def have_part(self, graph: AddGraph) -> None:
        """Build the part of a graph that a load has not left here: it was restored."""
        registry = self._shard.registry
        view = registry.view
        if registry.graph_of(graph.load) is None or view is None:
            return  # the log may have gone on, and have another graph under its name by now
        if self._shard.in_view and not registry.lost(graph.name):
            self._spawn(self._build(graph, view, registry.placements[graph.name]))

    async def _build(self, graph: AddGraph, view: View, placed: Placed) -> None:
        """Have the part of a graph at hand; the graph may be dropped, and deleted here, before or after it is read."""
        registry = self._shard.registry
        try:
            await self._graphs.part(graph, view, placed)
        except NotHeld:
            if registry.graphs.get(graph.name) == graph:
                raise
        if registry.graphs.get(graph.name) != graph:
            await self._graphs.drop_load(graph.load)

    def hear_of(self, member: Member) -> None:
        """A member of the view whose address was not known when it was entered, or has changed."""
        view = self._shard.registry.view
        if view is not None and self._shard.in_view and view.has(Identity(member.name, member.generation)):
            self._connect(view)

    def keys_changed(self) -> None:
        """Other keys are allowed than before: speak only with those members that still have one."""
        view = self._shard.registry.view
        if view is not None and self._shard.in_view:
            self._connect(view)

    def _connect(self, view: View) -> None:
        """Have the tick thread speak with the view's members, those whose address is known by now."""
        peers = []
        for identity in view.members:
            member = self._shard.membership.member(identity.name)
            if identity != self._shard.identity and member is not None:
                peers.append(Peer(identity, member.ticks, self._messenger.key_of(member.public_key)))
        cluster = self._shard.registry.cluster
        self._ticks.order(lambda: self._ticks.enter_view(view.epoch, peers, cluster))

    def _result_wants(self, view: View) -> list[StateWant]:
        """The results of finished runs that this shard should have, and who may have them: its fellow holders first."""
        registry, me, wants = self._shard.registry, self._shard.identity.name, []
        for run in registry.kept_results():
            placed = registry.placements.get(run.graph, ())
            for partition, holders in enumerate(placed):
                if me in holders:
                    others = sources(me, holders, view.names)
                    wants.append(StateWant(run.number, run.tick, partition, run.made_in(run.tick), others))
        return wants

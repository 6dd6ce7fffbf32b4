"""Enters the views that the log installs: connects to their members, and builds the parts that they need.

The log may be applied in batches, and announce several views at once: only the last of them counts, because the
registry's placements are those of its epoch by then.
"""

from __future__ import annotations

import logging
from typing import Never, TypeAlias, assert_never

from daemon.membership.effects import MemberJoined, MemberUpdated
from daemon.membership.messages import Member
from daemon.runtime.context import HostContext
from daemon.runtime.service import KeysChanged, Service, types_of
from daemon.runtime.ticks import Peer
from daemon.services.graphs.parts import Parts
from daemon.state import GraphInstalled, VersionRaised, ViewInstalled
from daemon.state.commands import AddGraph, Identity
from daemon.state.placement import Placed
from daemon.state.records import View
from daemon.store import NotHeld

log = logging.getLogger("shoal.view")


Events: TypeAlias = ViewInstalled | GraphInstalled | MemberJoined | MemberUpdated | KeysChanged | VersionRaised


class ViewChange(Service[Never, Events]):
    """One shard's changes of view."""

    events = types_of(Events)

    def __init__(self, context: HostContext, parts: Parts) -> None:
        self._context, self._state, self._ticks, self._parts = context, context.state, context.ticks, parts

    def on_event(self, event: Events) -> None:
        """Handles a view, a graph in it, changes of its members' addresses or keys, and the cluster's version."""
        match event:
            case ViewInstalled(view=view):
                self._enter(view)
            case GraphInstalled(graph=graph):
                self._have_part(graph)
            case MemberJoined(member=member) | MemberUpdated(member=member):
                self._hear_of(member)
            case VersionRaised(version=version):
                self._context.network.raise_version(version)
                self._ticks.raise_version(version)
            case KeysChanged():
                self._connect_again()
            case _:
                assert_never(event)

    def _enter(self, view: View) -> None:
        """Enters an installed view."""
        registry = self._state.registry
        log.info("view %d: %s", view.epoch, ", ".join(view.names))
        if view != registry.view:
            return
        members = frozenset(view.names if view.has(self._state.identity) else ())
        self._context.network.enter_view(view.epoch, members)
        if not view.has(self._state.identity):
            log.info("this shard is not a member of the view")
            self._ticks.order(lambda: self._ticks.enter_view(view.epoch, [], registry.cluster))
            return
        self._connect(view)
        for graph in registry.graphs.values():
            lost = registry.lost(graph.name)
            if lost:
                shards = ", ".join(registry.last_holders(graph.name)) or "no known shard"
                log.error("graph %s is halted: partitions %s are lost; %s had them", graph.name, lost, shards)
            else:
                self._context.spawn(self._build(graph, view, registry.placements[graph.name]))

    def _have_part(self, graph: AddGraph) -> None:
        """Builds the part of a restored graph, which no load has left here."""
        registry = self._state.registry
        view = registry.view
        if registry.graph_of(graph.load) is None or view is None:
            return  # the log may be ahead, with another graph under that name
        if self._state.in_view and not registry.lost(graph.name):
            self._context.spawn(self._build(graph, view, registry.placements[graph.name]))

    async def _build(self, graph: AddGraph, view: View, placed: Placed) -> None:
        """Builds the part of a graph, which may be dropped, and deleted here, before or after it is read."""
        registry = self._state.registry
        try:
            await self._parts.part(graph, view, placed)
        except NotHeld:
            if registry.graphs.get(graph.name) == graph:
                raise
        if registry.graphs.get(graph.name) != graph:
            await self._parts.drop_load(graph.load)

    def _hear_of(self, member: Member) -> None:
        """Connects to a member of the view whose address has become known, or has changed."""
        view = self._state.registry.view
        if view is not None and self._state.in_view and view.has(Identity(member.name, member.generation)):
            self._connect(view)

    def _connect_again(self) -> None:
        """Keeps only connections to members whose key is still allowed."""
        view = self._state.registry.view
        if view is not None and self._state.in_view:
            self._connect(view)

    def _connect(self, view: View) -> None:
        """Connects the tick plane to the members of the view whose address is known by now."""
        peers = []
        for identity in view.members:
            member = self._state.membership.member(identity.name)
            if identity != self._state.identity and member is not None:
                peers.append(Peer(identity, member.ticks, self._context.network.key_of(member.public_key)))
        cluster = self._state.registry.cluster
        self._ticks.order(lambda: self._ticks.enter_view(view.epoch, peers, cluster))

"""The parts that reads compute on: those of this shard's present view."""

from __future__ import annotations

from daemon.runtime.context import HostContext
from daemon.services.graphs.parts import Parts
from daemon.state.commands import AddGraph
from shoal.api.errors import Refused
from shoal.graph.shard_graph import ShardGraph


class PresentParts:
    """One shard's parts."""

    def __init__(self, context: HostContext, parts: Parts) -> None:
        self._state, self._parts = context.state, parts

    async def of(self, graph: AddGraph) -> ShardGraph:
        """Returns this shard's part of a graph. Raises `Refused` if the graph is not whole, or `NotHeld`."""
        registry = self._state.registry
        if not self._state.in_view or registry.view is None or registry.lost(graph.name):
            raise Refused(f"graph '{graph.name}' is not complete in this view: try again once its holders are back")
        return await self._parts.part(graph, registry.view, registry.placements[graph.name])

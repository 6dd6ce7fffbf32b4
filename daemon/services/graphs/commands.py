"""Handles the admin socket's commands about graphs."""

from __future__ import annotations

from daemon.admin.registry import Registry
from daemon.runtime.context import HostContext
from daemon.services.graphs.load import Loading
from daemon.services.graphs.part_stats import PartStats
from daemon.services.graphs.parts import Parts
from daemon.services.graphs.staging import Staging
from daemon.services.known import Known
from daemon.state.commands import AddGraph, DropGraph
from shoal.api.command import Exchange
from shoal.api.commands import graphs as api
from shoal.api.commands.names import check_graph_name
from shoal.lockstep.states import State


class GraphCommands:
    """The handlers. A mistake of the caller's raises `Refused` or `Usage`, with a sentence."""

    def __init__(
        self,
        context: HostContext,
        known: Known,
        parts: Parts,
        staging: Staging,
        part_stats: PartStats,
        commands: Registry,
    ) -> None:
        self._context, self._state, self._known = context, context.state, known
        self._parts, self._staging, self._part_stats = parts, staging, part_stats
        commands.bind(
            api.GraphLoad.followed_by(self.graph_load),
            api.GraphList.answered_by(self.graph_list),
            api.GraphShow.answered_by(self.graph_show),
            api.GraphDrop.answered_by(self.graph_drop),
            api.Ghosts.answered_by(self.ghosts),
        )

    async def graph_load(self, asked: api.GraphLoad, exchange: Exchange) -> api.LoadedGraph:
        check_graph_name(asked.name)
        loading = Loading(self._context, self._staging, asked.name, exchange.emit)
        return await loading.run(asked.spec, exchange.frames)

    async def graph_list(self, _: api.GraphList) -> api.GraphsReply:
        graphs = self._state.registry.graphs
        return {"graphs": [self._graph_row(graphs[name]) for name in sorted(graphs)]}

    async def graph_show(self, asked: api.GraphShow) -> api.GraphReply:
        graph = self._known.graph(asked.graph)
        view = self._state.registry.view
        told = await self._part_stats.of_all(graph.load, view.names) if view is not None else {}
        shards: dict[str, api.HeldPart] = {
            name: {"nodes": part.nodes, "edges": part.edges, "ghosts": part.ghosts, "bytes": part.held_bytes}
            for name, part in told.items()
        }
        whole = view is not None and len(told) == len(view.names)
        return {
            **self._graph_row(graph),
            "cross_edges": sum(part.cross_edges for part in told.values()) if whole else graph.cross_edges,
            "shards": shards,
            "node_columns": dict(graph.node_columns),
            "edge_columns": dict(graph.edge_columns),
        }

    async def graph_drop(self, asked: api.GraphDrop) -> api.DroppedGraph:
        graph = self._known.meant(asked.graph, asked.load)
        dropped = DropGraph(graph.name, graph.load, asked.force)
        await self._known.decided(dropped, lambda: self._known.meant(graph.name, graph.load))
        gone = [run for run in self._state.registry.dropped.values() if run.load == graph.load]
        results = sum(run.had_result for run in gone)
        return {"graph": graph.name, "state": "dropped", "runs": len(gone), "results": results}

    async def ghosts(self, asked: api.Ghosts) -> api.GhostsReply:
        name, graphs = asked.graph, self._state.registry.graphs
        if name is not None:
            self._known.graph(name)
        here = [graph for graph in sorted(graphs) if graphs[graph].load in self._parts.by_load]
        return {"graphs": [self._ghosts_of(graphs[graph]) for graph in here if name in (None, graph)]}

    def _ghosts_of(self, graph: AddGraph) -> api.GhostsRow:
        part = self._parts.by_load[graph.load]
        tick, age = 0, None
        for run in self._state.registry.active_runs():
            machine = self._context.ticks.machine(run.number)
            if run.load == graph.load and machine is not None:
                tick = machine.tick - (machine.state is not State.PACED)
                age = (self._context.clock.monotonic_ns() - machine.since) / 1e9
        by_owner = {peer: len(boundary.nodes) for peer, boundary in part.ghosts.items()}
        return {
            "graph": graph.name, "own": part.size, "ghosts": part.ghost_count, "by_owner": by_owner,
            "tick": max(tick, 0), "age_seconds": age,
        }  # fmt: skip

    def _graph_row(self, graph: AddGraph) -> api.GraphRow:
        lost = len(self._state.registry.lost(graph.name))
        return {
            "graph": graph.name,
            "load": graph.load,
            "nodes": graph.node_count,
            "edges": graph.edge_count,
            "directed": graph.directed,
            "partitions": graph.partition_count,
            "state": "halted" if lost else "ready",
        }

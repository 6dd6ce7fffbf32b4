"""The replies of a session in this process, in the same shapes as a daemon's."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from shoal.api.commands.cluster import PartitionRow, RingReply, StatusReply
from shoal.api.commands.graphs import GraphReply, GraphRow, HeldPart, LoadedGraph
from shoal.api.commands.programs import ProgramRow
from shoal.api.commands.runs import RunReply, RunRow, TickReply
from shoal.client.local_run import LocalGraph, LocalRun
from shoal.graph import columns as col
from shoal.graph.ring import VIRTUAL_NODES, HashRing
from shoal.program.program import Program

HERE: Final = "local"
"""The name of the only shard here, of its cluster and of its leader."""
RUN_STATES: Final = ("queued", "running", "stopping", "completed", "stopped", "failed")


def status_reply(shards: Sequence[str], graphs: int, runs: Mapping[str, int], seconds: float) -> StatusReply:
    """Returns what `status` replies."""
    from shoal import __version__

    return {
        "shard": HERE,
        "generation": 1,
        "version": __version__,
        "cluster": HERE,
        "founding": "",
        "waiting": "",
        "other_clusters": [],
        "epoch": 1,
        "leader": HERE,
        "term": 1,
        "state": "joined",
        "ready": True,
        "ready_detail": "",
        "members": {"alive": len(shards), "suspect": 0, "dead": 0, "left": 0},
        "versions": [{"version": __version__, "oldest": None, "newest": None, "members": list(shards)}],
        "cluster_version": 0,
        "version_held": [],
        "majority": True,
        "draining": [],
        "halted": [],
        "held_back": [],
        "repair": {"done": 0, "total": 0, "bytes": 0, "waits": ""},
        "disk": {},
        "graphs": graphs,
        "runs": {state: runs.get(state, 0) for state in RUN_STATES},
        "uptime_seconds": seconds,
        "pid": os.getpid(),
    }


def ring_reply(shards: Sequence[str], partitions: int) -> RingReply:
    """Returns what `ring` replies."""
    owners = HashRing(shards).placement(partitions)
    rows: list[PartitionRow] = [
        {"partition": partition, "primary": holders[0], "replicas": []} for partition, holders in enumerate(owners)
    ]
    return {"virtual_nodes": VIRTUAL_NODES, "partitions": rows}


def graph_row(graph: LocalGraph) -> GraphRow:
    """Returns a graph as `graph list` replies."""
    data = graph.data
    return {
        "graph": graph.name,
        "load": graph.load,
        "nodes": data.node_count,
        "edges": data.edge_count,
        "directed": data.directed,
        "partitions": data.partition_count,
        "state": "ready",
    }


def graph_reply(graph: LocalGraph) -> GraphReply:
    """Returns a graph as `graph show` replies."""
    data = graph.data
    shards: dict[str, HeldPart] = {
        shard: {"nodes": part.size, "edges": part.held_edges, "ghosts": part.ghost_count, "bytes": part.nbytes}
        for shard, part in graph.parts.items()
    }
    return {
        **graph_row(graph),
        "cross_edges": _cross_edges(graph),
        "shards": shards,
        "node_columns": {name: col.type_name(column) for name, column in data.node_columns.items()},
        "edge_columns": {name: col.type_name(column) for name, column in data.edge_columns.items()},
    }


def loaded_graph(graph: LocalGraph, seconds: float) -> LoadedGraph:
    """Returns what `graph load` replies."""
    data = graph.data
    return {
        "graph": graph.name,
        "nodes": data.node_count,
        "edges": data.edge_count,
        "directed": data.directed,
        "partitions": data.partition_count,
        "cross_edges": _cross_edges(graph),
        "seconds": seconds,
    }


def run_row(run: LocalRun) -> RunRow:
    """Returns a run as `run list` replies."""
    at = run.standing
    return {
        "run": run.name,
        "program": run.program.name,
        "graph": run.graph.name,
        "load": run.graph.load,
        "state": at.state,
        "place": None,
        "tick": at.tick,
        "ticks": run.asked.ticks if at.state == "running" else at.tick,
    }


def run_reply(run: LocalRun, digest: str) -> RunReply:
    """Returns a run as `run show` replies; `digest` is that of its program's file."""
    at, data = run.standing, run.graph.data
    last_tick: TickReply | None = None
    if at.last_tick:
        last = at.last_tick
        last_tick = {"tick": last["tick"], "phases": last["phases"], "cross_bytes": last["cross_bytes"]}
    return {
        **run_row(run),
        "digest": digest or None,
        "params": run.asked.params,
        "columns": [column.name for column in run.program.columns if not column.hidden],
        "outcome": None if at.state == "running" else at.state,
        "phase": None,
        "error": at.error,
        "seconds": (time.monotonic() if at.ended is None else at.ended) - run.began,
        "shards": {},
        "figures": dict(at.figures),
        "last_tick": last_tick,
        "totals": {
            "nodes": data.node_count,
            "edges": data.edge_count,
            "cross_edges": _cross_edges(run.graph),
            "cross_bytes": at.cross_bytes,
        },
    }


def run_counts(runs: Sequence[LocalRun]) -> Mapping[str, int]:
    """Returns the number of runs in each state."""
    return Counter(run.standing.state for run in runs)


def program_row(program: type[Program], origin: str, digest: str) -> ProgramRow:
    """Returns a program as `program list` replies."""
    return {
        "name": program.name,
        "summary": program.summary(),
        "columns": [column.name for column in program.columns if not column.hidden],
        "params": [
            {"name": name, "type": param.kind.__name__, "default": param.default, "doc": param.doc}
            for name, param in program.parameters().items()
        ],
        "phases": [phase.word for phase in program.phases()],
        "origin": origin,
        "digest": digest,
    }


def _cross_edges(graph: LocalGraph) -> int:
    return sum(part.cross_edges for part in graph.parts.values())

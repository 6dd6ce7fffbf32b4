"""What a session in this process replies: the same shapes as a daemon's."""

from __future__ import annotations

import time
from typing import Any

from shoal.client.local_run import LocalGraph, LocalRun
from shoal.graph import columns as col
from shoal.program.program import Program


def run_reply(run: LocalRun) -> dict[str, Any]:
    """Returns a run as `run show` replies."""
    at, data = run.standing, run.graph.data
    return {
        "run": run.name,
        "program": run.program.name,
        "graph": run.graph.name,
        "load": run.graph.load,
        "params": run.asked.params,
        "columns": [column.name for column in run.program.columns if not column.hidden],
        "state": at.state,
        "outcome": None if at.state == "running" else at.state,
        "place": None,
        "tick": at.tick,
        "ticks": run.asked.ticks if at.state == "running" else at.tick,
        "seconds": (time.monotonic() if at.ended is None else at.ended) - run.began,
        "error": at.error,
        "figures": dict(at.figures),
        "last_tick": dict(at.last_tick),
        "totals": {
            "nodes": data.node_count,
            "edges": data.edge_count,
            "cross_edges": sum(part.cross_edges for part in run.graph.parts.values()),
            "cross_bytes": at.cross_bytes,
        },
    }


def graph_reply(graph: LocalGraph) -> dict[str, Any]:
    """Returns a graph as `graph show` replies."""
    data = graph.data
    return {
        "graph": graph.name,
        "load": graph.load,
        "nodes": data.node_count,
        "edges": data.edge_count,
        "directed": data.directed,
        "partitions": data.partition_count,
        "cross_edges": sum(part.cross_edges for part in graph.parts.values()),
        "state": "ready",
        "shards": {
            shard: {
                "nodes": part.size,
                "edges": part.held_edges,
                "ghosts": part.ghost_count,
                "bytes": part.nbytes,
            }
            for shard, part in graph.parts.items()
        },
        "node_columns": {name: col.type_name(column) for name, column in data.node_columns.items()},
        "edge_columns": {name: col.type_name(column) for name, column in data.edge_columns.items()},
    }


def describe(program: type[Program]) -> dict[str, Any]:
    """Returns a program as `program list` shows it."""
    return {
        "name": program.name,
        "summary": program.summary(),
        "columns": [column.name for column in program.columns if not column.hidden],
        "params": [
            {"name": name, "type": param.kind.__name__, "default": param.default, "doc": param.doc}
            for name, param in program.parameters().items()
        ],
    }

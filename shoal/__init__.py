"""Shoal: one property graph over many machines, and programs that run on it in lockstep ticks.

    import shoal

    with shoal.local() as session:                                  # or shoal.connect("/run/shoal/admin.sock")
        graph = session.load("deps", nodes="nodes.csv.gz", edges="edges.csv.gz")
        print(graph.run("pagerank", ticks=30).result("rank").top(20))

`local` keeps everything in this process; `connect` connects to a daemon of a cluster. Both return the same objects, and
results are bit-identical. Programs are classes: `shoal.program.program` describes how to write one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.api.errors import (
        BadParameter,
        BadProgram,
        Failed,
        NameTaken,
        ProgramFailed,
        Refused,
        RunFailed,
        ShoalError,
        TickNotKept,
        TimedOut,
        UnknownColumn,
        UnknownGraph,
        UnknownName,
        UnknownProgram,
        UnknownRun,
        Unreachable,
        Usage,
    )
    from shoal.client.cluster import connect
    from shoal.client.local import local
    from shoal.client.session import Graph, Run, Session
    from shoal.engine.workspace import Workspace
    from shoal.graph.graph_data import BadGraph, BadRow, GraphData
    from shoal.graph.shard_graph import Direction
    from shoal.graph.sources import from_arrays, from_networkx, read_graph
    from shoal.messages import Attribute, Combine, Edge, Node, NodeProgram, Replies, Reply
    from shoal.program.declarations import Aggregate, Channel, Column, Lists, Mail, Merge, Table
    from shoal.program.params import Param
    from shoal.program.phase import Phase
    from shoal.program.program import Program
    from shoal.program.ragged import Ragged
    from shoal.query.result import ColumnResult

__version__ = "0.1.0"

__all__ = [
    "Aggregate",
    "Attribute",
    "BadGraph",
    "BadParameter",
    "BadProgram",
    "BadRow",
    "Channel",
    "Column",
    "ColumnResult",
    "Combine",
    "Direction",
    "Edge",
    "Failed",
    "Graph",
    "GraphData",
    "Lists",
    "Mail",
    "Merge",
    "NameTaken",
    "Node",
    "NodeProgram",
    "Param",
    "Phase",
    "Program",
    "ProgramFailed",
    "Ragged",
    "Refused",
    "Replies",
    "Reply",
    "Run",
    "RunFailed",
    "Session",
    "ShoalError",
    "Table",
    "TickNotKept",
    "TimedOut",
    "UnknownColumn",
    "UnknownGraph",
    "UnknownName",
    "UnknownProgram",
    "UnknownRun",
    "Unreachable",
    "Usage",
    "Workspace",
    "connect",
    "from_arrays",
    "from_networkx",
    "local",
    "read_graph",
]

_HOMES = {
    "api.errors": (
        "BadParameter", "BadProgram", "Failed", "NameTaken", "ProgramFailed", "Refused", "RunFailed",
        "ShoalError", "TickNotKept", "TimedOut", "UnknownColumn", "UnknownGraph", "UnknownName",
        "UnknownProgram", "UnknownRun", "Unreachable", "Usage",
    ),
    "client.cluster": ("connect",),
    "client.local": ("local",),
    "client.session": ("Graph", "Run", "Session"),
    "engine.workspace": ("Workspace",),
    "graph.graph_data": ("BadGraph", "BadRow", "GraphData"),
    "graph.shard_graph": ("Direction",),
    "graph.sources": ("from_arrays", "from_networkx", "read_graph"),
    "messages": ("Attribute", "Combine", "Edge", "Node", "NodeProgram", "Replies", "Reply"),
    "program.declarations": ("Aggregate", "Channel", "Column", "Lists", "Mail", "Merge", "Table"),
    "program.params": ("Param",),
    "program.phase": ("Phase",),
    "program.program": ("Program",),
    "program.ragged": ("Ragged",),
    "query.result": ("ColumnResult",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: numpy and Arrow, which come with most of them, take half a second,
    and shoalctl needs neither."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    value = getattr(import_module(f"shoal.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

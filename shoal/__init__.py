"""Shoal: one property graph over many machines, and programs that run on it in lockstep ticks.

    import shoal

    with shoal.local() as session:                                  # or shoal.connect("/run/shoal/admin.sock")
        graph = session.load("deps", nodes="nodes.csv.gz", edges="edges.csv.gz")
        print(graph.run("pagerank", ticks=30).result("rank").top(20))

`local` keeps everything in this process; `connect` connects to a daemon of a cluster. Both return the same objects, and
results are bit-identical. Programs are classes: `shoal.program.program` describes how to write one.
"""

from shoal.api.errors import (
    BadParameter,
    BadProgram,
    RunFailed,
    ShoalError,
    UnknownColumn,
    UnknownGraph,
    UnknownProgram,
    UnknownRun,
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
    "Graph",
    "GraphData",
    "Lists",
    "Mail",
    "Merge",
    "Node",
    "NodeProgram",
    "Param",
    "Phase",
    "Program",
    "Ragged",
    "Replies",
    "Reply",
    "Run",
    "RunFailed",
    "Session",
    "ShoalError",
    "Table",
    "UnknownColumn",
    "UnknownGraph",
    "UnknownProgram",
    "UnknownRun",
    "Workspace",
    "connect",
    "from_arrays",
    "from_networkx",
    "local",
    "read_graph",
]

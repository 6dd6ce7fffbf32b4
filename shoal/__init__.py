"""Shoal: one property graph over many machines, and programs that run over it in lockstep ticks.

    import shoal

    with shoal.local() as session:                                  # or shoal.connect("/run/shoal/admin.sock")
        graph = session.load("deps", nodes="nodes.csv.gz", edges="edges.csv.gz")
        print(graph.run("pagerank", ticks=30).result("rank").top(20))

`local` keeps everything in this process; `connect` reaches a daemon of a cluster. Both give the same objects, and the
same answers to the bit. Programs are classes: see `shoal.execution.program` for how to write one.
"""

from shoal.client import connect
from shoal.errors import (
    BadParameter,
    BadProgram,
    RunFailed,
    ShoalError,
    UnknownColumn,
    UnknownGraph,
    UnknownProgram,
    UnknownRun,
)
from shoal.execution.declarations import Aggregate, Channel, Column, Lists, Mail, Merge, Table
from shoal.execution.params import Param
from shoal.execution.phase import Phase
from shoal.execution.program import Program
from shoal.execution.ragged import Ragged
from shoal.execution.workspace import Workspace
from shoal.graph.graph_data import BadGraph, BadRow, GraphData
from shoal.graph.part import Direction
from shoal.graph.sources import from_arrays, from_networkx, read_graph
from shoal.local import local
from shoal.messages import Attribute, Combine, Edge, Node, NodeProgram, Replies, Reply
from shoal.reading.result import ColumnResult
from shoal.session import Graph, Run, Session

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

"""Commands about graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from shoal.api.command import Command, command
from shoal.api.commands.names import GRAPH, Stage


class GraphRow(TypedDict):
    """A graph in a list."""

    graph: str
    load: Annotated[str, "its number; a graph loaded later under the same name has another"]
    nodes: int
    edges: Annotated[int, "as loaded"]
    directed: bool
    partitions: int
    state: Annotated[str, "ready or halted"]


class LoadedGraph(TypedDict):
    """A graph that was loaded."""

    graph: str
    nodes: int
    edges: int
    directed: bool
    partitions: int
    cross_edges: int
    seconds: float


@command(
    "graph load",
    changes=True,
    frames=True,
    events=Stage,
    interrupted="interrupted: the load is cancelled, unless it was already complete (see `shoalctl graph list`)",
)
class GraphLoad(Command[LoadedGraph]):
    """Load a graph (for client libraries: the data follows as frames)."""

    name: Annotated[str, "name of the new graph"]
    spec: Annotated[Mapping[str, Any], "the description of the frames, as returned by GraphData.to_wire()"]


class GraphsReply(TypedDict):
    """All graphs."""

    graphs: list[GraphRow]


@command("graph list")
class GraphList(Command[GraphsReply]):
    """List the graphs of the cluster."""


class HeldPart(TypedDict):
    """The size of a shard's part of a graph."""

    nodes: int
    edges: int
    ghosts: int
    bytes: int


class GraphReply(GraphRow):
    """One graph."""

    cross_edges: int
    shards: Annotated[Mapping[str, HeldPart], "by name"]
    node_columns: Mapping[str, str]
    edge_columns: Mapping[str, str]


@command("graph show")
class GraphShow(Command[GraphReply]):
    """Show the size, the columns and the distribution of a graph."""

    graph: Annotated[str, "name of a graph", GRAPH]


class DroppedGraph(TypedDict):
    """A graph that was dropped."""

    graph: str
    state: str
    runs: Annotated[int, "how many were dropped with it"]
    results: Annotated[int, "how many of them had a result"]


@command(
    "graph drop",
    changes=True,
    interrupted="interrupted: {graph} may have been dropped; `shoalctl graph list` shows it otherwise",
)
class GraphDrop(Command[DroppedGraph]):
    """Delete a graph, its runs and their results.

    Without `force`, the command is refused while runs on the graph are active or queued. Later requests for one of the
    runs report that it was dropped with its graph.
    """

    graph: Annotated[str, "name of a graph", GRAPH]
    force: Annotated[bool, "also if runs are active or queued; they end"] = False
    load: Annotated[str | None, "refuse if the graph is not this load (`graph show`)"] = None


class GhostsRow(TypedDict):
    """Copies of remote nodes of one graph."""

    graph: str
    own: int
    ghosts: int
    by_owner: Mapping[str, int]
    tick: int
    age_seconds: float | None


class GhostsReply(TypedDict):
    """Copies of remote nodes."""

    graphs: list[GhostsRow]


@command("ghosts", reads="named")
class Ghosts(Command[GhostsReply]):
    """Show the copies of remote nodes on this shard, and their age."""

    graph: Annotated[str | None, "name of a graph; default: all", GRAPH] = None

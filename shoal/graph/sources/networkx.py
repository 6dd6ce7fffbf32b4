"""A graph from NetworkX, of any of its four classes.

Nodes are int or str, all of one type. Attributes become columns; a node or edge without an attribute gets NaN or an
empty string, an edge without a weight the weight 1, as in NetworkX, and a missing int or bool is an error. An
undirected graph stays undirected. The keys of parallel edges and the attributes of the graph are not converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.graph.arrow import pa
from shoal.graph.assembly import assemble
from shoal.graph.columns import column_of
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.graph.table import BadGraph, Column, Table

if TYPE_CHECKING:
    import networkx as nx


def from_networkx(graph: nx.Graph[Any], *, partition_count: int = PARTITIONS) -> GraphData:
    """Returns the graph with node and edge attributes as columns; an undirected edge becomes two arcs.

    Raises `BadGraph` for ids that are not all int or all str, and for attributes that cannot be columns.

    >>> import networkx as nx
    >>> G = nx.Graph([("a", "b", {"weight": 2}), ("b", "c")])
    >>> shoal_graph = from_networkx(G)
    >>> shoal_graph.directed, shoal_graph.edge_count
    (False, 2)
    >>> shoal_graph.source.tolist(), shoal_graph.target.tolist(), shoal_graph.edge_columns["weight"].tolist()
    ([0, 1, 1, 2], [1, 0, 2, 1], [2.0, 2.0, 1.0, 1.0])
    """
    nodes: list[tuple[Any, Mapping[str, Any]]] = list(graph.nodes(data=True))
    edges: list[tuple[Any, Any, Mapping[str, Any]]] = list(graph.edges(data=True))
    _check_ids([node for node, _ in nodes])
    is_int = bool(nodes) and _is_int(nodes[0][0])
    node_columns = {"id": _ids([node for node, _ in nodes], is_int)}
    node_columns |= _columns([data for _, data in nodes], "node", ("id",))
    edge_columns = {
        "source": _ids([source for source, _, _ in edges], is_int),
        "target": _ids([target for _, target, _ in edges], is_int),
    }
    edge_columns |= _columns([data for _, _, data in edges], "edge", ("source", "target"))
    tables = Table("the nodes", node_columns), Table("the edges", edge_columns)
    return assemble(*tables, partition_count, undirected=not graph.is_directed())


def _check_ids(nodes: Sequence[Any]) -> None:
    kinds: dict[type, Any] = {}
    for node in nodes:
        kinds.setdefault(int if _is_int(node) else type(node), node)
    for kind, node in kinds.items():
        if kind not in (int, str):
            raise BadGraph(f"node {node!r} is of type {kind.__name__}; nodes are int or str, relabel them first")
    if len(kinds) > 1:
        one, other = kinds.values()
        raise BadGraph(f"nodes are all int or all str, but here are {one!r} and {other!r}; relabel one kind first")


def _is_int(node: Any) -> bool:
    return isinstance(node, int | np.integer) and not isinstance(node, bool)


def _ids(nodes: Sequence[Any], is_int: bool) -> Column:
    if not is_int:
        try:
            return pa.array(nodes, pa.string())
        except UnicodeError as problem:
            raise BadGraph(f"a node's name is not valid Unicode: {problem}") from None
    try:
        return np.array(nodes, dtype=np.int64)
    except OverflowError:
        raise BadGraph("a node's number does not fit a signed integer of 64 bits; relabel the nodes") from None


def _columns(rows: Sequence[Mapping[str, Any]], what: str, taken: tuple[str, ...]) -> dict[str, Column]:
    names: dict[Any, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns = {}
    for name in names:
        if not isinstance(name, str) or name in taken:
            raise BadGraph(f"{what} attribute {name!r} cannot name a column; rename it")
        missing = 1 if (what, name) == ("edge", "weight") else None
        values = [row.get(name, missing) for row in rows]
        if name == "weight" and any(isinstance(value, float) for value in values):
            values = [float(value) if isinstance(value, int) else value for value in values]
        columns[name] = column_of(values, f"{what} attribute {name!r}")
    return columns

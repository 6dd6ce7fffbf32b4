"""A graph from arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shoal.graph.assembly import assemble
from shoal.graph.columns import column_of, is_string
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.graph.table import BadGraph, Column, Table


def from_arrays(
    source: Any,
    target: Any,
    *,
    nodes: Any = None,
    node_columns: Mapping[str, Any] | None = None,
    edge_columns: Mapping[str, Any] | None = None,
    undirected: bool = False,
    partition_count: int = PARTITIONS,
) -> GraphData:
    """Returns the graph of edges source[i] -> target[i] (both ways if `undirected`); ids are int or str.

    `nodes` are the ids of all nodes, by default those that edges name. A column is a sequence of one type, with a value
    for each of `nodes` or for each edge. Raises `BadGraph`.

    >>> graph = from_arrays(["b", "a"], ["a", "c"], edge_columns={"weight": [0.5, 2]})
    >>> graph.ids.to_pylist(), graph.source.tolist(), graph.target.tolist(), graph.edge_columns["weight"].tolist()
    (['a', 'b', 'c'], [0, 1], [2, 0], [2.0, 0.5])
    """
    if node_columns and nodes is None:
        raise BadGraph("node columns need their nodes: give `nodes`, the ids in the same order")
    edge_table = Table("edges", _columns({"source": source, "target": target}, edge_columns, "edges"))
    node_table = None if nodes is None else Table("nodes", _columns({"id": nodes}, node_columns, "nodes"))
    return assemble(node_table, edge_table, partition_count, undirected=undirected)


def _columns(ids: Mapping[str, Any], others: Mapping[str, Any] | None, table: str) -> dict[str, Column]:
    for name in others or {}:
        if name in ids:
            raise BadGraph(f"{table}: {name!r} names the ids and cannot be a column too; rename it")
    columns = {}
    for name, values in {**ids, **(others or {})}.items():
        columns[name] = column_of(values, f"{table}: column {name!r}")
        if name in ids and len(columns[name]) == 0 and not is_string(columns[name]):
            columns[name] = np.empty(0, dtype=np.int64)  # [] has no type; an empty column may have any
    return columns

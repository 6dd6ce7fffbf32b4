"""A graph from files: one of edges and optionally one of nodes, each CSV, TSV or Parquet by its suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from shoal.api.errors import did_you_mean
from shoal.graph.assembly import assemble
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.graph.sources.csv import TYPES, CsvFile, open_csv
from shoal.graph.sources.parquet import ParquetFile, open_parquet
from shoal.graph.sources.quoting import AUTO, check_quoting
from shoal.graph.table import BadGraph, BadRow, Table

PathLike: TypeAlias = str | os.PathLike[str]
Opened: TypeAlias = CsvFile | ParquetFile

SUFFIXES: dict[str, Callable[[Path, str], Opened]] = {
    ".csv": open_csv,
    ".csv.gz": open_csv,
    ".tsv": open_csv,
    ".tsv.gz": open_csv,
    ".parquet": lambda path, _: open_parquet(path),
}


def read_graph(
    nodes: PathLike | None = None,
    *,
    edges: PathLike,
    types: Mapping[str, str] | None = None,
    undirected: bool = False,
    partition_count: int = PARTITIONS,
    quote: str = AUTO,
) -> GraphData:
    """Returns the graph of an edge file (columns `source`, `target` and any others) and a node file.

    The column `id`, or else the first, holds a node's id; without a node file the nodes are those that edges name.
    `types` maps columns to int, float, str or bool, where `id` stands for the ids in both files; it takes precedence
    over a CSV header, and that over the file. An untyped column holds strings, an untyped edge weight floats. With
    `undirected`, each row is an edge both ways. `quote` defines quotes in CSV and TSV: "none" treats them as ordinary
    characters, "double" follows RFC 4180, and "auto" is the latter but refuses rows that span several lines if each
    line could be a row of its own. Raises `BadRow` and `BadGraph`.
    """
    check_quoting(quote)
    types = dict(types or {})
    edge_file = _open(edges, quote)
    node_file = None if nodes is None else _open(nodes, quote)
    for end in ("source", "target"):
        if end not in edge_file.types:
            known = ", ".join(map(repr, edge_file.names))
            hint = _other_delimiter(edge_file) or did_you_mean(end, edge_file.names)
            reason = f"there is no column {end!r}; edges need 'source' and 'target', but here are {known}{hint}"
            raise BadRow(str(edge_file.path), 1 if isinstance(edge_file, CsvFile) else None, reason)
    id_name = None if node_file is None else _id_column(node_file)
    _check_types(types, node_file, edge_file)
    id_type = _id_type(types, node_file, id_name, edge_file)
    edge_types = _resolved(edge_file, types, ("source", "target"), id_type)
    if edge_types.get("weight") == "str" and "weight" not in types and edge_file.types["weight"] is None:
        edge_types["weight"] = "float"
    node_table = None
    if node_file is not None:
        assert id_name is not None
        read = node_file.read(_resolved(node_file, types, (id_name,), id_type))
        columns = {"id" if name == id_name else name: column for name, column in read.columns.items()}
        node_table = Table(read.name, columns, read.unit, read.line)
    return assemble(node_table, edge_file.read(edge_types), partition_count, undirected=undirected)


def _open(path: PathLike, quote: str) -> Opened:
    path = Path(path)
    name = path.name.lower()
    for suffix, opener in SUFFIXES.items():
        if name.endswith(suffix):
            return opener(path, quote)
    raise BadRow(str(path), None, f"the name does not show the format; it should end in {', '.join(SUFFIXES)}")


def _other_delimiter(file: Opened) -> str:
    """Returns advice for a header of a single name, whose fields another delimiter seems to separate."""
    if not isinstance(file, CsvFile) or len(file.names) > 1:
        return ""
    other = next((mark for mark in "\t;|, " if mark in file.names[0]), None)
    if other is None:
        return ""
    return f"; fields are separated by {file.delimiter!r} here, not by {other!r}: a .csv has commas, a .tsv has tabs"


def _id_column(file: Opened) -> str:
    if not file.names:
        raise BadRow(str(file.path), None, "there are no columns; nodes need an 'id'")
    return "id" if "id" in file.types else file.names[0]


def _check_types(types: Mapping[str, str], node_file: Opened | None, edge_file: Opened) -> None:
    known = {"id": None, **edge_file.types, **(node_file.types if node_file else {})}
    for name, kind in types.items():
        if name not in known:
            raise BadGraph(f"there is no column {name!r} to give a type{did_you_mean(name, known)}")
        if kind not in TYPES:
            raise BadGraph(f"column {name!r}: {kind!r} is not a type; choose int, float, str or bool")


def _id_type(types: Mapping[str, str], node_file: Opened | None, id_name: str | None, edge_file: Opened) -> str:
    """Returns one type for all ids: where only one column declares it, it applies to the others."""
    said: dict[str, str] = {}
    files = [(edge_file, "source"), (edge_file, "target")]
    if node_file is not None and id_name is not None:
        files.append((node_file, id_name))
    for file, name in files:
        kind = types.get(name) or types.get("id") or file.types[name]
        if kind is not None:
            said[f"{name!r} of {file.path}"] = kind
    for what, kind in said.items():
        if kind not in ("int", "str"):
            raise BadGraph(f"{what} is typed {kind}, but ids are int or str")
    if len(set(said.values())) > 1:
        each = ", ".join(f"{what} is {kind}" for what, kind in said.items())
        raise BadGraph(f"the ids of a graph are all int or all str: {each}; give `id` one type")
    return next(iter(said.values()), "str")


def _resolved(file: Opened, types: Mapping[str, str], ids: tuple[str, ...], id_type: str) -> dict[str, str]:
    """Returns a type for each column; an unsupported type in a Parquet file is left out, unless it is converted."""
    resolved: dict[str, str] = {}
    for name, kind in file.types.items():
        if name in ids:
            resolved[name] = id_type
        elif name in types or kind is not None or isinstance(file, CsvFile):
            resolved[name] = types.get(name) or kind or "str"
    return resolved

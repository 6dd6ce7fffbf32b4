"""Builds a graph from tables: numbers the nodes, sorts the edges, and reports which row is wrong.

    tables of nodes and edges --number--> ordinals --both ways--> arcs --by source--> `GraphData`

Clients do this with what a source has read; daemons never do. Integers that are close together are numbered with a
lookup table, others and strings by hashing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.graph import columns as col
from shoal.graph.arrow import pa, pc
from shoal.graph.graph_data import COLUMNS_MAX, PARTITIONS, GraphData, check_names, frozen, ordinal_type
from shoal.graph.ids import PARTITIONS_MAX, IdColumn, partitions_of
from shoal.graph.table import BadGraph, BadRow, Column, Table
from shoal.kernels.grouping import Grouping

DENSE_SHARE = 4
"""Integer ids use a lookup table if it has at most four places per value to be looked up."""


def assemble(
    node_table: Table | None, edge_table: Table, partition_count: int = PARTITIONS, *, undirected: bool = False
) -> GraphData:
    """Numbers the nodes, sorts the edges, and creates a graph.

    `node_table` has a column `id`, `edge_table` the columns `source` and `target`; all others become columns of the
    graph. Without a node table the nodes are those that edges name. `undirected`: each row is an edge both ways. Raises
    `BadRow`, which names the row that is wrong.
    """
    if not 1 <= partition_count <= PARTITIONS_MAX:
        raise BadGraph(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {partition_count}")
    _check_tables(node_table, edge_table)
    source, target = edge_table.columns["source"], edge_table.columns["target"]
    node_columns: dict[str, Column] = {}
    if node_table is None:
        ids, source, target = _number_by_edges(source, target)
        if col.is_string(ids) and len(ids) and ids[0].as_py() == "":
            raise _empty_end(edge_table, source, target)
    else:
        ids, order = _sorted_ids(node_table)
        source, target = (_ends(ids, node_table, edge_table, name) for name in ("source", "target"))
        others = {name: column for name, column in node_table.columns.items() if name != "id"}
        if order is not None:
            others = {name: col.take(column, order) for name, column in others.items()}
        node_columns = {name: _kept(column, is_ours=order is not None) for name, column in others.items()}
    arcs = _Arcs(source, target, len(ids), undirected)
    columns = {name: c for name, c in edge_table.columns.items() if name not in ("source", "target")}
    if "weight" in columns:
        columns["weight"] = _weights(edge_table)
    return GraphData(
        ids=ids,
        partition_count=partition_count,
        partition=frozen(partitions_of(ids, partition_count)),
        node_columns=node_columns,
        source=frozen(arcs.source),
        target=frozen(arcs.target),
        edge_columns={name: arcs.column(column) for name, column in columns.items()},
        directed=not undirected,
    )


class _Arcs:
    """The ends of edges (of an undirected graph both ways), sorted stably by source; `column` reorders columns."""

    def __init__(self, source: NDArray[Any], target: NDArray[Any], nodes: int, undirected: bool) -> None:
        kind = ordinal_type(nodes)
        source, target = source.astype(kind, copy=False), target.astype(kind, copy=False)
        self._rows: NDArray[Any] | None = None
        if undirected:
            source, target, self._rows = _both_ways(source, target)
        self._grouping = None if bool(np.all(source[:-1] <= source[1:])) else Grouping(source, nodes)
        if self._grouping is not None:
            source = np.repeat(np.arange(nodes, dtype=kind), np.diff(self._grouping.starts))
            target = self._grouping.deal(target)
        self.source, self.target = source, target

    def column(self, column: Column) -> Column:
        """Returns a column of the graph's own, one value per arc."""
        if self._rows is not None:
            column = col.take(column, self._rows)
        if self._grouping is not None:
            column = col.dealt(column, self._grouping)
        return _kept(column, is_ours=self._rows is not None or self._grouping is not None)


def _both_ways(source: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Returns two arcs for each edge, one for a loop, and the row of each: in row order, so that a stable sort by
    source keeps every node's arcs in row order.
    """
    rows = np.repeat(np.arange(len(source), dtype=ordinal_type(len(source))), 2)
    here, there = (np.stack(ends, axis=1).ravel() for ends in ((source, target), (target, source)))
    loops = np.flatnonzero(source == target)
    if len(loops):
        keep = np.ones(2 * len(source), dtype=np.bool_)
        keep[2 * loops + 1] = False
        here, there, rows = here[keep], there[keep], rows[keep]
    return here, there, rows


def _check_tables(node_table: Table | None, edge_table: Table) -> None:
    ids = [(edge_table, name, edge_table.column(name)) for name in ("source", "target")]
    if node_table is not None:
        ids.insert(0, (node_table, "id", node_table.column("id")))
    for table, name, column in ids:
        if col.type_name(column) not in ("int64", "string"):
            raise BadGraph(
                f"{table.name}: column {name!r} holds {col.type_name(column)}, but ids are int or str; convert it"
            )
    kinds = {col.type_name(column) for _, _, column in ids if len(column)}
    if len(kinds) > 1:
        held = ", ".join(f"{name!r} of {table.name} {col.type_name(c)}" for table, name, c in ids)
        raise BadGraph(f"the ids of a graph are all int or all str, but here are {held}; give all of them one type")
    for table in [each for each in (node_table, edge_table) if each is not None]:
        check_names(list(table.columns), table.name)
        if len(table.columns) > COLUMNS_MAX:
            raise BadGraph(f"{table.name}: there are more than {COLUMNS_MAX} columns")
        lengths = {len(column) for column in table.columns.values()}
        if len(lengths) > 1:
            each = ", ".join(f"{name!r} {len(column)}" for name, column in table.columns.items())
            raise BadGraph(f"{table.name}: the columns differ in length: {each}")
    weight = edge_table.columns.get("weight")
    if weight is not None and col.type_name(weight) not in ("int64", "float64"):
        raise BadGraph(f"{edge_table.name}: column 'weight' holds {col.type_name(weight)}; an edge's weight is a float")


def _weights(edges: Table) -> NDArray[np.float64]:
    """Checks that no weight is missing: one NaN would spread to every sum it enters, far from its row."""
    weights: NDArray[np.float64] = edges.columns["weight"].astype(np.float64)
    missing = np.isnan(weights)
    if missing.any():
        raise edges.bad_row(int(np.argmax(missing)), "the edge has no weight (empty or nan); give it one, such as 1")
    return weights


def _kept(column: Column, *, is_ours: bool) -> Column:
    """Returns a column as a graph keeps it; the caller may still write to an array that it passed."""
    if col.is_string(column):
        return col.compact(column)
    return frozen(column if is_ours else column.copy())


def _is_dense(low: int, high: int, count: int) -> bool:
    return high - low < max(DENSE_SHARE * count, 1 << 16)


def _number_by_edges(source: Column, target: Column) -> tuple[IdColumn, NDArray[Any], NDArray[Any]]:
    """Returns the distinct ids of both columns in order, and each end's ordinal."""
    if len(source) == 0:
        empty = np.empty(0, dtype=np.int32)
        return col.plain(source) if col.is_string(source) else frozen(source.copy()), empty, empty
    if col.is_string(source):
        coded = [col.encoded(column) for column in (source, target)]
        distinct = pc.unique(pa.chunked_array([_wide(values, coded) for _, values in coded]))
        ids = _sort_strings(distinct)[0]
        source, target = (_find(ids, values)[codes] for codes, values in coded)
        return ids, source, target
    low, high = (int(f(g(source), g(target))) for f, g in ((min, np.min), (max, np.max)))
    if _is_dense(low, high, 2 * len(source)):
        present = np.zeros(high - low + 1, dtype=np.bool_)
        ends = [column - low if low else column for column in (source, target)]
        for each in ends:
            present[each] = True
        ids = np.flatnonzero(present) + np.int64(low)
        table = (np.cumsum(present) - 1).astype(ordinal_type(len(ids)))
        return frozen(ids), table[ends[0]], table[ends[1]]
    ids = np.sort(pc.unique(pa.chunked_array([source, target])).to_numpy())
    return frozen(ids), _find(ids, source), _find(ids, target)


def _wide(values: Any, coded: Sequence[tuple[Any, Any]]) -> Any:
    """Returns strings with offsets as wide as the widest of them."""
    large = any(pa.types.is_large_string(each.type) for _, each in coded)
    return values.cast(pa.large_string()) if large else values


def _sort_strings(values: Any) -> tuple[Any, NDArray[Any]]:
    order = pc.sort_indices(values)
    return values.take(order), order.to_numpy()


def _find(ids: IdColumn, values: Column) -> NDArray[Any]:
    """Returns the ordinal of each value, or -1."""
    kind = ordinal_type(len(ids))
    if len(ids) == 0 or len(values) == 0:
        return np.full(len(values), -1, dtype=kind)
    if col.is_string(ids):
        places = pc.index_in(values.cast(ids.type), value_set=ids)
    else:
        low, high = int(ids[0]), int(ids[-1])
        if _is_dense(low, high, len(ids) + len(values)):
            return _find_dense(ids, values, low, high)
        places = pc.index_in(pa.array(values), value_set=pa.array(ids))
    return np.asarray(pc.fill_null(places, -1).to_numpy(), dtype=kind)


def _find_dense(ids: NDArray[Any], values: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    table = np.full(high - low + 1, -1, dtype=ordinal_type(len(ids)))
    table[ids - low] = np.arange(len(ids), dtype=table.dtype)
    if int(values.min()) >= low and int(values.max()) <= high:
        return np.asarray(table[values - low if low else values])
    within = (values >= low) & (values <= high)
    return np.where(within, table[np.where(within, values - low, 0)], table.dtype.type(-1))


def _sorted_ids(nodes: Table) -> tuple[IdColumn, NDArray[Any] | None]:
    """Returns the ids of a node table in order, and their order, which is None if they were sorted already."""
    ids = nodes.columns["id"]
    if col.is_string(ids):
        ids, order = _sort_strings(col.plain(ids))
        if len(ids) and ids[0].as_py() == "":
            raise nodes.bad_row(int(order[0]), "the node's id is empty; every node needs one")
        twice = pc.index(pc.equal(ids[:-1], ids[1:]), True).as_py() if len(ids) else -1
    else:
        if len(ids) and bool(np.all(ids[:-1] < ids[1:])):
            return frozen(ids.copy()), None
        order = np.argsort(ids, kind="stable")
        ids = frozen(ids[order])
        same = np.flatnonzero(ids[:-1] == ids[1:])
        twice = int(same[0]) if len(same) else -1
    if twice >= 0:
        first, again = sorted((int(order[twice]), int(order[twice + 1])))
        node = ids[twice].item() if isinstance(ids, np.ndarray) else ids[twice].as_py()
        there = nodes.line(first)
        also = f" (first in {nodes.unit} {there})" if there is not None else ""
        raise nodes.bad_row(again, f"node {node!r} occurs twice{also}; keep one of them")
    return ids, order


def _ends(ids: IdColumn, nodes: Table, edges: Table, name: str) -> NDArray[Any]:
    """Returns the ordinals of an edge table's `source` or `target`; all of them must be nodes."""
    column = edges.columns[name]
    if col.is_string(column):
        codes, values = col.encoded(column)
        found: NDArray[Any] = _find(ids, values)[codes]
    else:
        found = _find(ids, column)
    if len(found) and int(found.min()) < 0:
        row = int(np.argmax(found < 0))
        node = column[row].item() if isinstance(column, np.ndarray) else column[row].as_py()
        reason = f"the edge's {name} {node!r} is not a node of {nodes.name}; add the node or remove the edge"
        raise edges.bad_row(row, reason)
    return found


def _empty_end(edges: Table, source: NDArray[Any], target: NDArray[Any]) -> BadRow:
    """Returns the first edge with an end whose ordinal is zero, which is the empty string's."""
    row = int(np.argmax((source == 0) | (target == 0)))
    name = "source" if int(source[row]) == 0 else "target"
    return edges.bad_row(row, f"the edge's {name} is empty; name a node or remove the edge")

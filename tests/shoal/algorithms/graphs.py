"""Graphs for the tests of programs, small ones by hypothesis among them, and runs on any number of shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st

import shoal
from shoal import GraphData
from shoal.program.installed import find_program

SHARDS = (1, 2, 3, 5)


@dataclass(frozen=True)
class Made:
    """A graph as shoal has it, and as it was given: node ids, and edges with their weights."""

    data: GraphData
    nodes: list[Any]
    edges: list[tuple[Any, Any, float]]
    undirected: bool

    def networkx(self) -> Any:
        """The same with parallel edges and loops."""
        graph: Any = nx.MultiGraph() if self.undirected else nx.MultiDiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_weighted_edges_from(self.edges)
        return graph

    def simple(self) -> Any:
        """The undirected view: who is joined to whom, without loops."""
        graph: Any = nx.Graph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from((u, v) for u, v, _ in self.edges if u != v)
        return graph

    @property
    def arcs(self) -> list[tuple[Any, Any, float]]:
        """The edges as they can be followed: those of an undirected graph both ways, a loop once."""
        back = [(v, u, weight) for u, v, weight in self.edges if u != v] if self.undirected else []
        return self.edges + back


def made(edges: list[Any], nodes: list[Any] | None = None, undirected: bool = False, partition_count: int = 64) -> Made:
    """A graph of edges (u, v) or (u, v, weight); of the nodes that are given, or those that edges name."""
    weighted = [(edge[0], edge[1], float(edge[2]) if len(edge) > 2 else 1.0) for edge in edges]
    if nodes is None:
        nodes = sorted({end for u, v, _ in weighted for end in (u, v)})
    data = shoal.from_arrays(
        [u for u, _, _ in weighted],
        [v for _, v, _ in weighted],
        nodes=nodes,
        edge_columns={"weight": np.array([weight for _, _, weight in weighted], np.float64)},
        undirected=undirected,
        partition_count=partition_count,
    )
    return Made(data, nodes, weighted, undirected)


@st.composite
def graphs(draw: st.DrawFn, nodes_min: int = 0) -> Made:
    """Loops, parallel edges, dangling and isolated nodes; ids int or str; directed or not; any number of partitions."""
    ids: st.SearchStrategy[Any] = draw(
        st.sampled_from(
            [st.integers(-(2**63), 2**63 - 1), st.integers(0, 12), st.text("abc,5 é", min_size=1, max_size=3)]
        )
    )
    nodes = draw(st.lists(ids, min_size=nodes_min, max_size=12, unique=True))
    ends = st.sampled_from(nodes) if nodes else st.nothing()
    weights = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1e-17, 1e9])
    edges = draw(st.lists(st.tuples(ends, ends, weights), max_size=30)) if nodes else []
    return made(edges, nodes, draw(st.booleans()), draw(st.sampled_from([1, 2, 7, 64])))


def results(
    graph: Made | GraphData, program: str, ticks: int = 0, shards: tuple[int, ...] = SHARDS, **params: Any
) -> dict[str, dict[Any, Any]]:
    """Every visible column by node id, which must have the same digest on any number of shards."""
    data = graph.data if isinstance(graph, Made) else graph
    names = [column.name for column in find_program(program).columns if not column.hidden]
    found: dict[str, dict[Any, Any]] = {}
    digests = set()
    for count in shards:
        with shoal.local(count) as session:
            run = session.load("g", data=data).run(program, ticks=ticks, **params)
            columns = {name: run.result(name) for name in names}
        digests.add(tuple(column.digest for column in columns.values()))
        found = {name: column.to_dict() for name, column in columns.items()}
    assert len(digests) == 1, digests
    return found


def column(graph: Made | GraphData, program: str, ticks: int = 0, **params: Any) -> dict[Any, Any]:
    """The only column that a program has."""
    (values,) = results(graph, program, ticks, **params).values()
    return values


def error_of(graph: Made, program: str, shards: int = 3, **params: Any) -> str:
    """What a run that fails before its first tick says in the end."""
    with shoal.local(shards) as session:
        run = session.load("g", data=graph.data).start(program, **params)
        assert (run.state, run.tick) == ("failed", 0)
        return str(run.show()["error"]).strip().splitlines()[-1]

"""Every shipped program, and one that uses all there is: the same bits on any number of shards as a dumb twin gives."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array

import shoal
from shoal import GraphData, Program
from shoal.program.installed import installed_programs
from tests import twin as twins
from tests.trials import Everything
from tests.twin import Twin

SHARDS = (1, 2, 3, 5, 8)
DEBIAN = Path(__file__).parents[3] / "examples" / "data" / "debian"


@st.composite
def multigraphs(draw: st.DrawFn) -> GraphData:
    """Self-loops, parallel edges, dangling and isolated nodes; ids int or str; any number of partitions."""
    ids: st.SearchStrategy[Any] = draw(
        st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.integers(0, 9), st.text(min_size=1, max_size=3)])
    )
    nodes = draw(st.lists(ids, max_size=10, unique=True))
    ends = st.sampled_from(nodes) if nodes else st.nothing()
    edges = draw(st.lists(st.tuples(ends, ends), max_size=30)) if nodes else []
    return shoal.from_arrays(
        [source for source, _ in edges],
        [target for _, target in edges],
        nodes=nodes,
        partition_count=draw(st.sampled_from([1, 2, 7, 64])),
    )


EMPTY = shoal.from_arrays([], [])
LONELY = shoal.from_arrays([], [], nodes=[7])
LOOPS = shoal.from_arrays([1, 1, 1, 2], [1, 1, 2, 2], nodes=[1, 2, 3])


def everywhere(
    data: GraphData, program: str | type[Program], ticks: int = 0, **params: Any
) -> tuple[set[int], dict[str, list[Any]]]:
    """The ticks of the end, and all columns, which are the same to the bit on any number of shards."""
    found, ended = [], set()
    for shards in SHARDS:
        with shoal.local(shards) as session:
            run = session.load("g", data=data).run(program, ticks=ticks, **params)
            kind = program if isinstance(program, type) else installed_programs()[program]
            results = {c.name: run.result(c.name) for c in kind.columns if not c.hidden}
            found.append({name: r.values.tobytes() for name, r in results.items()})
            ended.add(run.tick)
            digests = {name: r.digest for name, r in results.items()}
            if shards == 1:
                first, columns = digests, {name: r.values.tolist() for name, r in results.items()}
            assert digests == first
    assert found == [found[0]] * len(SHARDS)
    return ended, columns


def same_bits(one: list[float], other: list[float]) -> bool:
    return np.array(one, dtype=np.float64).tobytes() == np.array(other, dtype=np.float64).tobytes()


@given(multigraphs(), st.integers(1, 4), st.sampled_from([0.85, 0.0, 1.0, 0.3]))
@example(EMPTY, 2, 0.85)
@example(LONELY, 2, 0.85)
@example(LOOPS, 3, 0.85)
@settings(deadline=None, max_examples=40)
def test_pagerank_is_its_twin(data: GraphData, ticks: int, damping: float) -> None:
    ran, columns = everywhere(data, "pagerank", ticks, damping=damping)
    assert ran == {ticks}
    assert same_bits(columns["rank"], twins.pagerank(Twin(data), ticks, damping))


@given(multigraphs())
@example(EMPTY)
@example(LONELY)
@example(LOOPS)
@settings(deadline=None, max_examples=40)
def test_components_are_their_twin(data: GraphData) -> None:
    """How many ticks it takes depends on where the graph is cut; what comes out does not."""
    _, columns = everywhere(data, "wcc")
    assert columns["component"] == twins.components(Twin(data))


@given(multigraphs())
@example(EMPTY)
@settings(deadline=None, max_examples=30)
def test_degrees_are_counted(data: GraphData) -> None:
    ran, columns = everywhere(data, "degree")
    twin = Twin(data)
    assert ran == {1}
    assert columns["in_degree"] == [len(sources) for sources in twin.into]
    assert columns["out_degree"] == [len(targets) for targets in twin.out]
    assert columns["degree"] == [len(i) + len(o) for i, o in zip(twin.into, twin.out, strict=True)]


@given(multigraphs())
@example(LOOPS)
@settings(deadline=None, max_examples=30)
def test_degrees_of_an_undirected_graph_are_those_of_networkx(data: GraphData) -> None:
    """A loop counts twice; the other two columns count arcs, of which a loop is one."""
    ids = data.ids.tolist()
    ends = [[ids[end] for end in each.tolist()] for each in (data.source, data.target)]
    both_ways = shoal.from_arrays(*ends, nodes=ids, partition_count=data.partition_count, undirected=True)
    _, columns = everywhere(both_ways, "degree")
    twin = nx.MultiGraph()
    twin.add_nodes_from(ids)
    twin.add_edges_from(zip(*ends, strict=True))
    assert columns["degree"] == [degree for _, degree in twin.degree()]
    assert columns["in_degree"] == columns["out_degree"] == np.bincount(both_ways.source, minlength=len(ids)).tolist()


@given(multigraphs(), st.integers(1, 5), st.sampled_from([0.5, 0.1]))
@example(EMPTY, 2, 0.5)
@example(LOOPS, 5, 0.5)
@settings(deadline=None, max_examples=40)
def test_all_that_a_program_may_use_is_its_twin(data: GraphData, ticks: int, weight: float) -> None:
    """Four phases, ghosts in each direction, two channels, every merge of either type, a column left unwritten."""
    ran, columns = everywhere(data, Everything, ticks, weight=weight)
    expected_tick, expected = twins.everything(Twin(data), ticks, weight)
    assert ran == {expected_tick}
    for name in ("c", "marks"):
        assert columns[name] == expected[name]
    for name in ("a", "b", "heard"):
        assert same_bits(columns[name], expected[name]), name


# -- a real graph ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debian() -> GraphData:
    return shoal.read_graph(DEBIAN / "nodes.csv.gz", edges=DEBIAN / "edges.csv.gz")


@pytest.fixture(scope="module")
def networkx_debian() -> nx.MultiDiGraph[str]:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for name, add in (("nodes", graph.add_nodes_from), ("edges", graph.add_edges_from)):
        take: Callable[[str], Any] = (lambda line: line.split(",", 1)[0]) if name == "nodes" else _ends
        with gzip.open(DEBIAN / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
            next(file)
            add(map(take, file))
    return graph


def _ends(line: str) -> tuple[str, str]:
    source, target, _ = line.split(",", 2)
    return source, target


def test_thirty_ticks_are_thirty_power_iterations(debian: GraphData) -> None:
    """Brin and Page 1998, 2.1.1, with the dangling mass spread evenly; here as one matrix-vector product a tick."""
    n = debian.node_count
    degree = np.bincount(debian.source, minlength=n)
    share = 1.0 / degree[debian.source]
    matrix = coo_array((share, (debian.target, debian.source)), shape=(n, n)).tocsr()
    rank = np.full(n, 1.0 / n)
    for _ in range(30):
        rank = 0.85 * (matrix @ rank + rank[degree == 0].sum() / n) + 0.15 / n
    with shoal.local() as session:
        result = session.load("deps", data=debian).run("pagerank", ticks=30).result("rank")
    assert np.abs(result.values - rank).sum() < 1e-14
    assert math.isclose(result.values.sum(), 1.0, abs_tol=1e-12)


def test_the_converged_ranks_are_those_of_networkx(debian: GraphData, networkx_debian: nx.MultiDiGraph[str]) -> None:
    """Parallel edges count each, there and here."""
    theirs = nx.pagerank(networkx_debian, alpha=0.85, tol=1e-15, max_iter=500)
    with shoal.local(3) as session:
        run = session.load("deps", data=debian).run("pagerank", ticks=500, tol=1e-12)
        ours = run.result("rank").to_dict()
    assert 30 < run.tick < 500
    assert ours.keys() == theirs.keys()
    assert sum(abs(ours[node] - theirs[node]) for node in ours) < 1e-9


def test_components_are_those_of_networkx(debian: GraphData, networkx_debian: nx.MultiDiGraph[str]) -> None:
    with shoal.local(4) as session:
        ours = session.load("deps", data=debian).run("wcc").result("component").to_dict()
    found: dict[int, set[str]] = {}
    for node, component in ours.items():
        found.setdefault(component, set()).add(node)
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, nx.weakly_connected_components(networkx_debian)))
    assert all(debian.ids[component].as_py() == min(nodes, key=str.encode) for component, nodes in found.items())


def test_the_real_graph_gives_the_same_digests_on_any_number_of_shards(debian: GraphData) -> None:
    for program, column, ticks in (("pagerank", "rank", 30), ("wcc", "component", 0)):
        digests = set()
        for shards in (1, 4, 4):  # and from run to run
            with shoal.local(shards) as session:
                digests.add(session.load("deps", data=debian).run(program, ticks=ticks).result(column).digest)
        assert len(digests) == 1, program

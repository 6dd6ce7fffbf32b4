"""The rivals, what they offer, where they differ, and what is not worth waiting for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALGORITHMS = ("pagerank", "wcc", "bfs", "sssp", "cdlp", "lcc")


@dataclass(frozen=True, slots=True)
class Rival:
    """A system that Shoal is compared with.

    `packages` are imported, `programs` are looked up on the path; `threads` are the numbers of threads to measure.
    `differs` says, by algorithm, how its definition, and so its answer, differs from the others'. `remarks` says how it
    is done. `lacks` says why an algorithm is missing, and `hopeless` why it isn't tried on a graph, where `*` stands
    for all algorithms.
    """

    name: str
    words: str
    module: str
    packages: tuple[str, ...]
    threads: tuple[int, ...] = (1,)
    differs: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    hopeless: Mapping[tuple[str, str], str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()

    @property
    def offers(self) -> tuple[str, ...]:
        """Returns the algorithms that it can run."""
        return tuple(name for name in ALGORITHMS if name not in self.lacks)

    def why_not(self, algorithm: str, graph: str) -> str | None:
        """Returns why it can't be tried, or None."""
        return self.lacks.get(algorithm) or self.hopeless.get((algorithm, graph)) or self.hopeless.get(("*", graph))


UNDIRECTED_LCC = "the coefficient of the undirected view: another number on directed graphs, and half the work"
OTHER_CDLP = "its label propagation is asynchronous: another algorithm"

_RIVALS = (
    Rival(
        "scipy",
        "scipy",
        "bench.rivals.with_scipy",
        ("numpy", "scipy"),
        lacks={"cdlp": "scipy has no most frequent value; numpy's row has one"},
        remarks={"bfs": "its order and predecessors, and depths from these level by level", "lcc": "blocks of A·A"},
    ),
    Rival(
        "numpy",
        "numpy",
        "bench.rivals.with_numpy",
        ("numpy",),
        lacks={"sssp": "no heap in numpy", "lcc": "scipy's row is what arrays can do"},
        remarks={
            "pagerank": "take and add.reduceat",
            "wcc": "least neighbour, hooking and pointer jumping",
            "bfs": "level by level",
            "cdlp": "sorted (node, label) pairs",
        },
    ),
    Rival(
        "networkx",
        "networkx",
        "bench.rivals.with_networkx",
        ("networkx", "scipy"),
        differs={"lcc": UNDIRECTED_LCC},
        lacks={"cdlp": OTHER_CDLP},
        remarks={"pagerank": "by way of scipy; makes the matrix anew each time"},
        hopeless={
            ("*", "rmat-20"): "3.7 us an edge to load, and some 600 bytes: a minute and 10 GiB",
            ("lcc", "rmat-18"): "hubs: a minute on Debian, which has a tenth of the edges",
        },
    ),
    Rival(
        "igraph",
        "igraph",
        "bench.rivals.with_igraph",
        ("igraph",),
        differs={"pagerank": "PRPACK to convergence, told as if it had been as many iterations", "lcc": UNDIRECTED_LCC},
        lacks={"cdlp": OTHER_CDLP},
    ),
    Rival(
        "networkit",
        "networkit",
        "bench.rivals.with_networkit",
        ("networkit",),
        threads=(1, 2),
        differs={"lcc": UNDIRECTED_LCC},
        lacks={"cdlp": OTHER_CDLP + " (PLP)"},
    ),
    Rival(
        "graphblas",
        "python-graphblas",
        "bench.rivals.with_graphblas",
        ("graphblas",),
        threads=(1, 2),
        lacks={"cdlp": "no semiring of python-graphblas gives the most frequent value"},
        remarks={"wcc": "FastSV", "sssp": "Bellman-Ford on what has changed"},
    ),
    Rival(
        "duckdb",
        "DuckDB",
        "bench.rivals.with_duckdb",
        ("duckdb",),
        threads=(2,),
        remarks=dict.fromkeys(ALGORITHMS, "one table an iteration"),
        hopeless={
            ("wcc", "grid-710"): "labels walk one edge an iteration: more than a thousand tables",
            ("bfs", "grid-710"): "1,447 levels, one table each",
            ("sssp", "grid-710"): "more than 1,447 rounds, one table each",
            **dict.fromkeys((("lcc", "rmat-18"), ("lcc", "rmat-20")), "a join of 10^10 pairs of neighbours and more"),
        },
    ),
    Rival(
        "ray",
        "Ray, 4 actors with scipy slices",
        "bench.rivals.with_ray",
        ("ray", "scipy"),
        threads=(2,),
        lacks={"lcc": "needs all neighbours' neighbours in each actor"},
        remarks={
            "wcc": "the least label walks one edge an iteration",
            "bfs": "all depths, each iteration",
            "sssp": "Bellman-Ford over all edges",
            "cdlp": "each sorts its slice",
        },
    ),
    Rival(
        "graphx",
        "Spark GraphX",
        "bench.rivals.with_graphx",
        ("pyspark",),
        threads=(2,),
        programs=("java",),
        differs={
            "pagerank": "dangling mass is not spread but scaled away at the end",
            "cdlp": "ties fall as they come: other labels for the same work",
        },
        lacks={"lcc": "its TriangleCount counts triangles of the undirected view only"},
        remarks={"bfs": "Pregel", "sssp": "Pregel"},
        hopeless={(name, "grid-710"): "more than a thousand supersteps" for name in ("wcc", "bfs", "sssp")},
    ),
    Rival(
        "dataframes",
        "Spark DataFrames",
        "bench.rivals.with_dataframes",
        ("pyspark",),
        threads=(2,),
        programs=("java",),
        lacks={"lcc": "a join of all pairs of neighbours"},
        hopeless={(name, "grid-710"): "more than a thousand jobs of seconds" for name in ("wcc", "bfs", "sssp")},
    ),
)

RIVALS: dict[str, Rival] = {rival.name: rival for rival in _RIVALS}

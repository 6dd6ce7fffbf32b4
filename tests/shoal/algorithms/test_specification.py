"""The example graphs of the LDBC Graphalytics specification (version 1.0, appendix "Example Graphs for Validation").

Edges and reference outputs are those of its data sets `example-directed`, `example-undirected` and `test-bfs`,
`test-cdlp`, `test-lcc`, `test-sssp` and `test-wcc` (repositories ldbc/ldbc_graphalytics, folder
graphalytics-validation, and ldbc/ldbc_graphalytics_platforms_graphblas, folder example-data-sets). How outputs are
compared is section 2.4: BFS and CDLP exactly, WCC up to renaming, the others within 0.01 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.shoal.algorithms.graphs import Made, column, made, results

EPSILON = 0.0001


def edges(text: str) -> list[tuple[Any, ...]]:
    """`1-3:0.5 2-4` as edges, with their weights if they have some."""
    found: list[tuple[Any, ...]] = []
    for word in text.split():
        ends, _, weight = word.partition(":")
        source, target = (int(end) for end in ends.split("-"))
        found.append((source, target, float(weight)) if weight else (source, target))
    return found


DIRECTED = made(
    edges(
        "1-3:0.5 1-5:0.3 2-4:0.1 2-5:0.3 2-10:0.12 3-1:0.53 3-5:0.62 3-8:0.21 3-10:0.52 5-3:0.69 5-4:0.53 5-8:0.1 "
        "6-3:0.23 6-4:0.39 7-4:0.83 8-1:0.39 9-4:0.69"
    )
)
UNDIRECTED = made(
    edges("2-3:0.9 2-4:0.69 3-4:0.13 3-5:0.5 3-8:0.32 5-6:0.63 5-8:0.12 6-7:0.53 6-8:0.64 6-9:0.23 6-10:0.63 7-9:0.36"),
    undirected=True,
)
EXAMPLES = {"directed": DIRECTED, "undirected": UNDIRECTED}
SOURCE = {"directed": "1", "undirected": "2"}


def numbered(values: list[Any], first: int = 1) -> dict[int, Any]:
    """By node, from the first id on."""
    return dict(enumerate(values, first))


BFS = {
    "directed": numbered([0, None, 1, 2, 1, None, None, 2, None, 2]),
    "undirected": numbered([0, 1, 1, 2, 3, 4, 2, 4, 4], 2),
}
CDLP_TWO = {
    "directed": numbered([1, 2, 3, 4, 1, 1, 2, 3, 2, 1]),
    "undirected": numbered([2, 3, 2, 2, 6, 5, 2, 5, 5], 2),
}
LCC = {
    "directed": numbered([2 / 3, 1 / 6, 0.15, 0.05, 0.25, 0, 0, 5 / 6, 0, 0]),
    "undirected": numbered([1, 1 / 3, 1, 2 / 3, 0.2, 1, 2 / 3, 1, 0], 2),
}
PAGERANK_TWO = {
    "directed": numbered(
        [
            0.1477629166666667,
            0.04753375,
            0.1550469444444444,
            0.1597573611111111,
            0.14624,
            0.04753375,
            0.04753375,
            0.1135740277777778,
            0.04753375,
            0.08748375,
        ]
    ),
    "undirected": numbered(
        [
            0.09084490740740739,
            0.1424089506172839,
            0.09084490740740739,
            0.1249891975308642,
            0.1686172839506173,
            0.09749537037037037,
            0.1249891975308642,
            0.09749537037037037,
            0.06231481481481481,
        ],
        2,
    ),
}
SSSP = {
    "directed": numbered([0, None, 0.5, 0.83, 0.3, None, None, 0.4, None, 1.02]),
    "undirected": numbered([0, 0.82, 0.69, 1.26, 1.78, 2.31, 1.14, 2.01, 2.41], 2),
}


def match(found: Mapping[int, float | None], reference: Mapping[int, float | None]) -> bool:
    """Epsilon match, section 2.4: |r - s| < 0.0001 |r|; equal where r is zero or infinite."""
    if found.keys() != reference.keys():
        return False
    for node, r in reference.items():
        s = found[node]
        if s != r and (r is None or s is None or not abs(r - s) < EPSILON * abs(r)):
            return False
    return True


def same_parts(found: Mapping[int, int], reference: Mapping[int, int]) -> bool:
    """Equivalence match, section 2.4: one label there stands for one label here, and the other way round."""
    pairs = {(found[node], reference[node]) for node in reference}
    return found.keys() == reference.keys() and len(pairs) == len(dict(pairs)) == len({r for _, r in pairs})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_bfs_of_the_example(kind: str) -> None:
    assert column(EXAMPLES[kind], "bfs", source=SOURCE[kind]) == BFS[kind]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_cdlp_of_the_example(kind: str) -> None:
    assert column(EXAMPLES[kind], "cdlp", 2) == CDLP_TWO[kind]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_lcc_of_the_example(kind: str) -> None:
    assert match(column(EXAMPLES[kind], "lcc"), LCC[kind])


@pytest.mark.parametrize("kind", EXAMPLES)
def test_pagerank_of_the_example(kind: str) -> None:
    found = column(EXAMPLES[kind], "pagerank", 2, damping=0.85)
    assert match(found, PAGERANK_TWO[kind])
    assert max(abs(found[node] - rank) for node, rank in PAGERANK_TWO[kind].items()) < 1e-15


@pytest.mark.parametrize("kind", EXAMPLES)
def test_sssp_of_the_example(kind: str) -> None:
    assert match(column(EXAMPLES[kind], "sssp", source=SOURCE[kind]), SSSP[kind])


@pytest.mark.parametrize("kind", EXAMPLES)
def test_wcc_of_the_example(kind: str) -> None:
    assert same_parts(column(EXAMPLES[kind], "wcc"), dict.fromkeys(EXAMPLES[kind].nodes, 7))


# -- one graph for each algorithm --------------------------------------------------------------------------------------

NODES_WCC = [1, 2, 3, 4, 6, 7, 8, 9]
TESTS: dict[str, tuple[Made, str, dict[str, Any], dict[int, Any]]] = {
    "bfs directed": (
        made(edges("1-2 1-3 2-3 2-4 2-5 3-1 4-6 4-7 4-8 5-1 5-2 6-4 6-8 8-1 8-2 8-3 9-10")),
        "bfs",
        {"source": "1"},
        numbered([0, 1, 1, 2, 2, 3, 3, 3, None, None]),
    ),
    "bfs undirected": (
        made(edges("1-2 1-3 1-5 1-8 2-3 2-4 2-5 2-8 3-8 4-6 4-7 4-8 6-8 9-10"), undirected=True),
        "bfs",
        {"source": "1"},
        numbered([0, 1, 1, 2, 1, 2, 3, 1, None, None]),
    ),
    "cdlp directed": (
        made(edges("1-2 1-3 1-7 2-1 2-3 3-1 3-2 4-5 4-6 5-4 5-6 5-7 6-5 6-7 7-5 7-6 7-8 8-6")),
        "cdlp",
        {"ticks": 5},
        numbered([1, 1, 1, 5, 4, 4, 4, 4]),
    ),
    "cdlp undirected": (
        made(edges("1-2 1-3 1-7 2-3 4-5 4-6 4-8 5-6 5-7 5-8 6-7 6-8 7-8"), undirected=True),
        "cdlp",
        {"ticks": 5},
        numbered([1, 1, 1, 4, 4, 4, 4, 4]),
    ),
    "lcc directed": (
        made(edges("1-3 1-5 2-4 2-5 2-10 3-1 3-5 3-8 3-10 5-3 5-4 5-8 6-3 6-4 7-4 8-1 9-4")),
        "lcc",
        {},
        LCC["directed"],
    ),
    "lcc undirected": (
        made(edges("2-3 2-4 3-4 3-5 3-8 5-6 5-8 6-7 6-8 6-9 6-10 7-9"), undirected=True),
        "lcc",
        {},
        LCC["undirected"],
    ),
    "sssp directed": (
        made(edges("1-2:0.5 1-3:5 1-4:5 2-5:0.5 3-4:2 5-6:0.5 6-3:0.5 6-10:23 7-1:1 7-8:3.2 8-10:0.2 9-10:0.1 10-7:8")),
        "sssp",
        {"source": "1"},
        numbered([0, 0.5, 2, 4, 1, 1.5, 32.5, 35.7, None, 24.5]),
    ),
    "sssp undirected": (
        made(
            edges(
                "1-2:0.5 1-3:5 1-4:5 1-7:1 2-5:0.5 3-4:2 3-6:0.5 5-6:0.5 6-10:23 7-8:3.2 7-10:8 8-10:0.2 9-10:0.1 "
                "11-12:3.4"
            ),
            undirected=True,
        ),
        "sssp",
        {"source": "1"},
        numbered([0, 0.5, 2, 4, 1, 1.5, 1, 4.2, 4.5, 4.4, None, None]),
    ),
    "wcc directed": (
        made(edges("1-2 1-3 2-1 2-3 2-4 4-2 6-7 6-8 7-6 9-3"), NODES_WCC),
        "wcc",
        {},
        dict(zip(NODES_WCC, [1, 1, 1, 1, 6, 6, 6, 1], strict=True)),
    ),
    "wcc undirected": (
        made(edges("1-2 1-3 2-3 2-4 3-9 6-7 6-8"), NODES_WCC, undirected=True),
        "wcc",
        {},
        dict(zip(NODES_WCC, [1, 1, 1, 1, 6, 6, 6, 1], strict=True)),
    ),
}


@pytest.mark.parametrize("test", TESTS)
def test_the_test_graphs(test: str) -> None:
    graph, program, params, reference = TESTS[test]
    (found,) = results(graph, program, **params).values()
    if program == "wcc":
        assert same_parts(found, reference)
    elif program in ("bfs", "cdlp"):
        assert found == reference
    else:
        assert match(found, reference)


def test_the_comparisons_can_fail() -> None:
    """As in the figures of section 2.4."""
    assert match({1: 0.0, 2: 0.30002}, {1: 0.0, 2: 0.3})
    assert not match({1: 0.000001}, {1: 0.0})
    assert not match({1: 0.46}, {1: 0.45})
    assert not match({1: 1.79769e308}, {1: None})
    assert same_parts(numbered([81, 81, 81, 32, 32, 12]), numbered([1, 1, 1, 2, 2, 3]))
    assert not same_parts(numbered([31, 52, 31, 31, 31, 74]), numbered([1, 1, 1, 2, 2, 3]))

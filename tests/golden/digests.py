"""The digest of every result of every program that ships with Shoal, on both graphs in `examples/data`.

    .venv/bin/python -m tests.golden.digests            # compares with digests.json, and says what differs
    .venv/bin/python -m tests.golden.digests --write    # replaces digests.json

`digests.json` has one line for each result: a column's or table's digest (see `shoal.query`), or the value of a
figure. The Debian graph is loaded as directed and WordNet as undirected, so both kinds are covered. Neither has
weights: an edge's weight is the share of all edges that have its type, which gives sums that depend on their order.

The digests rest on these, and on nothing else:

- IEEE 754 doubles, with addition, multiplication and division rounded to nearest. Shoal's own loops in C add from left
  to right.
- How `np.add.reduceat` adds a run of doubles: pairwise, in eight accumulators. Aggregates are merged that way within a
  partition; here those are dangling ranks (`pagerank`, `ppr`, `message-pagerank`) and their change (`ppr`). The order
  is fixed in numpy's source and the same in all of its SIMD variants, but its documentation does not promise it.
  (`np.sum` is no substitute: over more than 8192 numbers, numpy 2.0 and 2.4 differ in the last bit.)
- Python's Unicode tables, by which the texts that `knowledge` reads are lowercased and split into words.
- mmh3, which assigns nodes to partitions; `shoal.program.randomness`; and the files in `examples/data`.

No BLAS, no transcendental function, and no sum whose order depends on the processor is involved. The same digests were
computed with numpy 2.0 and 2.4, each with AVX-512 and without; 2.0 also without AVX2 and FMA.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

import shoal
from shoal import Graph, GraphData, Program
from shoal.program.installed import find_program, installed_programs

GOLDEN = Path(__file__).with_name("digests.json")
DATA = Path(__file__).parents[2] / "examples" / "data"
SHARDS = (1, 4)
REWRITE = "if the results are meant to change, see CONTRIBUTING.md on golden digests"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a program is run: ticks (0 leaves it to the program) and parameters."""

    ticks: int
    params: Mapping[str, Any]


def recipe(ticks: int = 0, **params: Any) -> Recipe:
    return Recipe(ticks, params)


def recipes(source: str, other: str, text: str) -> dict[str, Recipe]:
    """Returns a recipe for each program, given two nodes to start from and the column that holds texts."""
    return {
        "betweenness": recipe(samples=3),
        "bfs": recipe(source=source),
        "cdlp": recipe(ticks=10),
        "degree": recipe(),
        "kcore": recipe(),
        # With these, about a thousand documents in 12 ticks cause divisions, insights, anomalies and pruned edges.
        "knowledge": recipe(
            ticks=12,
            text=text,
            digesters=1,
            digesters_max=2,
            documents_a_tick=3,
            training=4,
            edge_decay=0.1,
            maturation=3,
            quorum=3.0,
            quorum_documents=3,
        ),
        "label-propagation": recipe(seed=4),
        "lcc": recipe(),
        "message-pagerank": recipe(ticks=5),
        "pagerank": recipe(ticks=30),
        # A sum of floats over all nodes determines the last tick.
        "ppr": recipe(ticks=100, sources=f"{source},{other}", tol=1e-6),
        "scc": recipe(),
        "sssp": recipe(source=source, weight="weight"),
        "triangles": recipe(),
        "wcc": recipe(),
    }


RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "debian": recipes("gnome", "kde-full", "description"),
    "wordnet": recipes("n00001740", "v00001740", "gloss"),
}


@cache
def data_of(graph: str) -> GraphData:
    """Reads one of the two graphs and adds weights."""
    nodes, edges = (DATA / graph / f"{name}.csv.gz" for name in ("nodes", "edges"))
    data = shoal.read_graph(nodes, edges=edges, undirected=graph == "wordnet")
    types = data.edge_columns["type"].dictionary_encode().indices.to_numpy()
    weight = np.bincount(types)[types] / len(types)
    weight.flags.writeable = False
    return replace(data, edge_columns={**data.edge_columns, "weight": weight})


def shipped_programs() -> dict[str, type[Program]]:
    """Returns the installed programs that are Shoal's own."""
    return {name: program for name, program in installed_programs().items() if program.__module__.startswith("shoal.")}


def results(graph: Graph, name: str, program: str) -> dict[str, str | int | float]:
    """Runs a program and returns all of its results, by the names that they have in `digests.json`."""
    how, declared = RECIPES[name][program], find_program(program)
    run = graph.run(program, ticks=how.ticks, timeout=60, **how.params)
    columns = (column.name for column in declared.columns if not column.hidden)
    found: dict[str, str | int | float] = {f"column {column}": run.result(column).digest for column in columns}
    found |= {f"table {table.name}": run.table_rows(table.name).digest for table in declared.tables}
    found |= {f"figure {figure}": value for figure, value in run.show()["figures"].items()}
    return {f"{name}/{program}/{result}": value for result, value in found.items()}


def golden(name: str = "", program: str = "") -> dict[str, Any]:
    """Returns the contents of `digests.json`: all, those of a graph, or those of a program on a graph."""
    prefix = "/".join(part for part in (name, program) if part) + "/" if name else ""
    written: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return {result: value for result, value in written.items() if result.startswith(prefix)}


def as_text(found: Mapping[str, Any]) -> str:
    """Returns the contents of `digests.json`: one line for each result, sorted."""
    return json.dumps(found, indent=0, sort_keys=True) + "\n"


def computed() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields all results, for each number of shards."""
    for shards in SHARDS:
        found: dict[str, Any] = {}
        with shoal.local(shards) as session:
            for name, programs in RECIPES.items():
                graph = session.load(name, data=data_of(name))
                for program in programs:
                    found |= results(graph, name, program)
        yield shards, found


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns the names of results that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@click.command()
@click.option("--write", is_flag=True, help="Replace digests.json by what is computed now.")
def main(write: bool) -> None:
    """Compute all golden digests, on one shard and on several, and compare them with digests.json."""
    (_, first), *others = computed()
    for shards, found in others:
        if names := differing(first, found):
            sys.exit(f"one shard and {shards} differ, so nothing is golden:\n  " + "\n  ".join(names))
    names = differing(golden() if GOLDEN.exists() else {}, first)
    for name in names:
        click.echo(name)
    if write:
        GOLDEN.write_text(as_text(first), encoding="utf-8")
    click.echo(f"{len(names)} of {len(first)} results {'rewritten' if write else 'differ'}")
    sys.exit(1 if names and not write else 0)


if __name__ == "__main__":
    main()

"""The graphs that are measured.

`graphs` has those for measuring the daemons alone: Debian's packages as in the demo, and R-MAT 18. `weighted` has those
for the comparison: one Parquet file each, with columns source and target (integers), and weight (a seeded number above
0 and at most 1). They have no parallel edges and no loops, which not every rival supports; every node has an edge. The
Parquet file's own metadata has the graph's facts, so that files from another version of this module are detected and
rewritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.grid import grid
from bench.rmat import rmat, write_parquet
from shoal.graph.graph_data import GraphData
from shoal.graph.sources import read_graph

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = ROOT / "examples" / "data" / "debian"
WORDNET = ROOT / "examples" / "data" / "wordnet"
FOLDER = ROOT / "build" / "bench"
"""Where weighted graphs are kept between runs."""

FACTS = b"shoal.bench"
RECIPE = 1  # increase it when the files' content changes
WEIGHT_SEED = 2

Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """The paths of a graph's files, and the graph's name in the table."""

    name: str
    words: str
    edges: Path
    nodes: Path | None = None

    def read(self) -> GraphData:
        """Reads the graph as a client does."""
        return read_graph(nodes=self.nodes, edges=self.edges)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedGraph(GraphFiles):
    """A Parquet file of weighted edges. Searches begin at `source`: the least node with the most out-edges."""

    node_count: int
    edge_count: int
    source: int


def graphs(folder: Path) -> list[GraphFiles]:
    """Returns both graphs; the files of R-MAT are created in `folder`."""
    parquet = folder / "rmat18.parquet"
    write_parquet(parquet, *rmat(18))
    return [
        GraphFiles("rmat18", "R-MAT 18, Parquet", parquet),
        GraphFiles("debian", "Debian, CSV", DEBIAN / "edges.csv.gz", DEBIAN / "nodes.csv.gz"),
    ]


def weighted(name: str, folder: Path = FOLDER) -> WeightedGraph:
    """Returns the graph of that name; creates it if `folder` does not hold it yet."""
    words, make = WEIGHTED[name]
    path = folder / f"{name}.parquet"
    facts = _facts(path)
    if facts is None:
        write_weighted(path, *make())
        facts = _facts(path)
    assert facts is not None
    return WeightedGraph(name=name, words=words, edges=path, nodes=None, **facts)


def write_weighted(
    path: Path, source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[np.float64]
) -> None:
    """Writes edges and their facts."""
    facts = {
        "recipe": RECIPE,
        "node_count": int(np.count_nonzero(np.bincount(np.concatenate([source, target])))),
        "edge_count": len(source),
        "source": int(np.bincount(source).argmax()),
    }
    table = pa.table({"source": source, "target": target, "weight": weight})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table.replace_schema_metadata({FACTS: json.dumps(facts).encode()}), partial)
    os.replace(partial, path)  # an interruption leaves no partial file with this name


def _facts(path: Path) -> dict[str, int] | None:
    """Returns the file's facts, or None if another recipe made it."""
    if not path.exists():
        return None
    facts: dict[str, int] = json.loads((pq.read_schema(path).metadata or {}).get(FACTS, b"{}"))
    return facts if facts.pop("recipe", None) == RECIPE else None


def _numbered(folder: Path) -> Arrays:
    """Converts edges between texts to edges between numbers, in the order of the texts; merges parallel edges."""
    table = pc.read_csv(folder / "edges.csv.gz")
    names = [table[column].to_numpy(zero_copy_only=False).astype(str) for column in ("source", "target")]
    ends = np.unique(np.concatenate(names), return_inverse=True)[1].astype(np.int64)
    source, target = ends[: len(names[0])], ends[len(names[0]) :]
    pairs = np.unique(np.column_stack([source, target])[source != target], axis=0)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), _weights(len(pairs))


def _weights(count: int) -> NDArray[np.float64]:
    return 1.0 - np.random.default_rng(WEIGHT_SEED).random(count)


def _rmat(scale: int) -> Arrays:
    source, target = rmat(scale)
    return source, target, _weights(len(source))


WEIGHTED: dict[str, tuple[str, Callable[[], Arrays]]] = {
    "debian": ("Debian", lambda: _numbered(DEBIAN)),
    "wordnet": ("WordNet", lambda: _numbered(WORDNET)),
    "rmat-18": ("R-MAT 18", lambda: _rmat(18)),
    "rmat-20": ("R-MAT 20", lambda: _rmat(20)),
    "grid-710": ("thinned grid, 710 x 710", lambda: grid(710)),
}
"""Each graph's label in tables, and how it is created."""

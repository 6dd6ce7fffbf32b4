"""The graphs that are measured: Debian's packages as the demo has them, and R-MAT 18, written once a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rmat import rmat, write_parquet
from shoal.graph_data import GraphData
from shoal.sources import read_graph

DEBIAN = Path(__file__).resolve().parent.parent / "examples" / "data" / "debian"


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """Where a graph's files are, and what they are called in the table."""

    name: str
    words: str
    edges: Path
    nodes: Path | None = None

    def read(self) -> GraphData:
        """As a client reads it."""
        return read_graph(nodes=self.nodes, edges=self.edges)


def graphs(folder: Path) -> list[GraphFiles]:
    """Both graphs; the files of R-MAT are made in `folder`."""
    parquet = folder / "rmat18.parquet"
    write_parquet(parquet, *rmat(18))
    return [
        GraphFiles("rmat18", "R-MAT 18, Parquet", parquet),
        GraphFiles("debian", "Debian, CSV", DEBIAN / "edges.csv.gz", DEBIAN / "nodes.csv.gz"),
    ]

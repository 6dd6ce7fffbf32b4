"""Moves from a laptop to a cluster by changing one line: the one that opens the session.

.venv/bin/python -m examples.one_line                        # in this process
.venv/bin/python -m examples.one_line D/1/admin.sock         # on the cluster that this daemon belongs to
"""

from __future__ import annotations

import sys
from pathlib import Path

import shoal

DATA = Path(__file__).parent / "data" / "debian"


def main(socket: str | None = None) -> None:
    with shoal.local() if socket is None else shoal.connect(socket) as session:
        graph = session.load("packages", nodes=DATA / "nodes.csv.gz", edges=DATA / "edges.csv.gz")
        print(graph)
        parts = graph.run("wcc").result("component").to_numpy()
        print(f"{len(set(parts.tolist())):,} components")
        ranks = graph.run("pagerank", tol=1e-9).result("rank")
        for package, rank in ranks.top(5):
            print(f"{rank:.6f}  {package}")
        print(ranks.digest)
        session.drop("packages")


if __name__ == "__main__":
    main(*sys.argv[1:2])

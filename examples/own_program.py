"""A custom program: the number of steps from every package to one package, along dependencies.

    .venv/bin/python -m examples.own_program libc6

Runs in this process. On a cluster, deploy or install the program first: see docs/programs.md.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

import shoal
from shoal import Aggregate, Column, Direction, Merge, Param, Program, Workspace

DATA = Path(__file__).parent / "data" / "debian"
FAR = 2**40
"""The value of nodes that no path has reached. It is not the greatest int64, because adding one to that overflows."""


class Steps(Program):
    """Computes the number of edges on the shortest path from each node to the node `goal`; `FAR` without a path."""

    name = "steps"
    columns = (Column("steps", np.int64, ghosts=Direction.OUT),)
    aggregates = (Aggregate("changed", Merge.SUM, np.int64),)

    goal = Param("", "id of the node that all ways lead to", node=True)

    def start(self, ws: Workspace) -> None:
        is_goal = np.array([str(node) == self.goal for node in ws.part.ids.tolist()], dtype=bool)
        ws.set("steps", np.where(is_goal, 0, FAR))

    def advance(self, ws: Workspace) -> None:
        before = ws.column("steps")
        nearest = ws.gather("steps", Merge.MIN, Direction.OUT)
        steps = np.minimum(before, np.minimum(nearest, FAR - 1) + 1)
        ws.contribute("changed", (steps != before).astype(np.int64))
        ws.set("steps", steps)

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("changed")) == 0


def main(goal: str = "libc6") -> None:
    with shoal.local(shards=3) as session:
        graph = session.load("debian", nodes=DATA / "nodes.csv.gz", edges=DATA / "edges.csv.gz")
        run = graph.run(Steps, goal=goal)
        steps = run.result("steps")
    found = Counter(steps.values.tolist())
    for distance, packages in sorted(found.items()):
        print(f"{packages:7,} packages {'never reach it' if distance == FAR else f'are {distance} steps away'}")
    print(f"found in {run.tick} ticks; digest {steps.digest}")


if __name__ == "__main__":
    main(*sys.argv[1:2])

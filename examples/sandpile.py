"""A program that uses all four phases: chips fall along edges until every node is at rest.

    .venv/bin/python -m examples.sandpile

In the chip-firing game (Björner, Lovász, Shor 1991) a node with at least as many chips as out-edges *fires*: it sends
one chip along each of them. By its theorem, the order in which nodes fire does not change the outcome.
"""

from __future__ import annotations

import numpy as np

import shoal
from shoal import Aggregate, Channel, Column, Merge, Param, Program, Workspace


class Sandpile(Program):
    """Lets chips fall along edges until no node has as many chips as out-edges."""

    name = "sandpile"
    columns = (Column("chips", np.int64), Column("fired", np.int64))
    channels = (Channel("chip", np.int64),)
    aggregates = (Aggregate("firing", Merge.SUM, np.int64),)

    chips = Param(1, "chips on every node at first", least=0)

    def prepare(self, ws: Workspace) -> None:
        self._sender = np.repeat(np.arange(ws.part.size), ws.part.out_degree)  # the source of every out-edge

    def start(self, ws: Workspace) -> None:
        ws.set("chips", self.chips)
        ws.set("fired", 0)

    def sense(self, ws: Workspace) -> None:
        degree = ws.part.out_degree
        self._fires = (degree > 0) & (ws.column("chips") >= degree)

    def act(self, ws: Workspace) -> None:
        moving = self._fires[self._sender]
        ws.post("chip", self._sender[moving], ws.part.out_edges.neighbours[moving], np.ones(moving.sum(), np.int64))
        ws.set("chips", ws.column("chips") - np.where(self._fires, ws.part.out_degree, 0))
        ws.set("fired", ws.column("fired") + self._fires)

    def decay(self, ws: Workspace) -> None:
        nodes, chips = ws.arrived("chip")
        np.add.at(ws.pending("chips"), nodes, chips)

    def advance(self, ws: Workspace) -> None:
        ws.contribute("firing", self._fires.astype(np.int64))

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("firing")) == 0


def main() -> None:
    rows, columns = 40, 40
    cell = np.arange(rows * columns).reshape(rows, columns)
    east, south = (cell[:, :-1], cell[:, 1:]), (cell[:-1], cell[1:])
    edges = [np.concatenate([pair[end].ravel() for pair in (east, south)]) for end in (0, 1)]
    with shoal.local(shards=4) as session:
        graph = session.load("slope", data=shoal.from_arrays(*edges))
        run = graph.run(Sandpile, chips=3)
        print(f"{run!r}: the busiest cells fired")
        for node, fired in run.result("fired").top(5):
            print(f"  {fired:6} times at row {node // columns}, column {node % columns}")


if __name__ == "__main__":
    main()

"""A vectorized program: it computes a tick for one shard's part of the graph, as numpy arrays. See docs/programs.md.

In this example, every node takes the greatest value among the nodes that point at it, until no value changes. Run it:

    python FILE
"""

from __future__ import annotations

import numpy as np

import shoal
from shoal import Aggregate, Column, Direction, Merge, Param, Program, Workspace


class Template(Program):
    """Each node takes the greatest in-degree from which it can be reached."""  # what `program list` shows

    name = "template"

    # One value a node. `ghosts` is the direction in which neighbours read it: here, along incoming edges.
    columns = (Column("level", np.int64, ghosts=Direction.IN),)

    # One value a tick for the whole graph, the same on every shard. `halted` uses it to end the run.
    aggregates = (Aggregate("risen", Merge.SUM, np.int64, shown=True),)

    # Pass it as `--param cap=5` or `graph.run(..., cap=5)`; read it as `self.cap`.
    cap = Param(1_000_000, "no level is higher than this", least=0)

    def start(self, ws: Workspace) -> None:
        """Sets every column as of before the first tick. Arrays are over the shard's own nodes."""
        ws.set("level", np.minimum(ws.part.in_degree, self.cap))

    def advance(self, ws: Workspace) -> None:
        """Executes a tick: reads the values of the last one (`column`, `gather`) and sets those of this one."""
        before = ws.column("level")
        level = np.maximum(before, ws.gather("level", Merge.MAX))
        ws.contribute("risen", (level > before).astype(np.int64))
        ws.set("level", level)

    def halted(self, ws: Workspace) -> bool:
        """Returns whether the run is over. Uses aggregates only, so that all shards return the same."""
        return ws.tick > 0 and int(ws.total("risen")) == 0

    # Between ticks, `self` may hold only what `prepare(ws)` computes from the graph. Everything else lives in a column,
    # or is lost when the run resumes elsewhere. The phases `sense`, `act` and `decay` are for more than one exchange.


if __name__ == "__main__":
    data = shoal.from_arrays(["a", "b", "c", "d", "d"], ["c", "c", "d", "e", "a"])
    for shards in (1, 3):  # the result does not depend on their number
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, cap=5)
            print(shards, run.result("level").to_dict())

"""A vectorized program: what one shard's share of the graph does in a tick, as numpy arrays. See docs/programs.md.

As it stands, every node takes the greatest value among those that point at it, until nothing changes. Try it:

    python FILE
"""

from __future__ import annotations

import numpy as np

import shoal
from shoal import Aggregate, Column, Direction, Merge, Param, Program, Workspace


class Template(Program):
    """Each node takes the greatest in-degree from which it can be reached."""  # what `program list` shows

    name = "template"

    # One value a node. `ghosts` names the edges along which neighbours read it: here, those that come in.
    columns = (Column("level", np.int64, ghosts=Direction.IN),)

    # One value a tick for the whole graph, and the same on every shard: by such a program decides when to end.
    aggregates = (Aggregate("risen", Merge.SUM, np.int64, shown=True),)

    # Given as `--param cap=5`, or `graph.run(..., cap=5)`, and read as `self.cap`.
    cap = Param(1_000_000, "no level is higher than this", least=0)

    def start(self, ws: Workspace) -> None:
        """Set every column as it is before the first tick. Arrays are over the shard's own nodes."""
        ws.set("level", np.minimum(ws.part.in_degree, self.cap))

    def advance(self, ws: Workspace) -> None:
        """A tick: read the last one's values (`column`, `gather`), and set this one's."""
        before = ws.column("level")
        level = np.maximum(before, ws.gather("level", Merge.MAX))
        ws.contribute("risen", (level > before).astype(np.int64))
        ws.set("level", level)

    def halted(self, ws: Workspace) -> bool:
        """Whether the run is over. Look at aggregates only: then all shards say the same."""
        return ws.tick > 0 and int(ws.total("risen")) == 0

    # Between ticks, `self` may hold only what `prepare(ws)` makes of the graph: everything else lives in a column, or
    # is lost when the run goes on elsewhere. Phases `sense`, `act` and `decay` are for what one exchange can't do.


if __name__ == "__main__":
    data = shoal.from_arrays(["a", "b", "c", "d", "d"], ["c", "c", "d", "e", "a"])
    for shards in (1, 3):  # the answer does not depend on them
        with shoal.local(shards=shards) as session:
            run = session.load("small", data=data).run(Template, cap=5)
            print(shards, run.result("level").to_dict())

"""What the daemons run while they are measured. They find it as any program: by the entry point group shoal.programs.

Each notes the moment of every tick's Advance and, after the last tick, writes them to a file of its shard's: nobody
has to ask a daemon anything while it is measured.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from shoal.algorithms.pagerank import PageRank
from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import Direction
from shoal.program.declarations import Column
from shoal.program.params import Param
from shoal.program.program import Program


class _Noted(Program):
    """Notes when its ticks pass."""

    notes = Param("", "folder for the moments, one file a shard")
    length = Param(1, "how many ticks to run", least=1)

    def _begin(self) -> None:
        self._marks: list[int] = []

    def _mark(self) -> None:
        self._marks.append(time.monotonic_ns())

    def halted(self, ws: Workspace) -> bool:
        if ws.tick < self.length:
            return False
        Path(self.notes, ws.part.shard).write_text(json.dumps(self._marks))
        return True


class EmptyOne(_Noted):
    """A tick of one exchange: nothing but a column's ghosts in Advance."""

    name = "bench-one"
    columns = (Column("beat", np.float64, ghosts=Direction.BOTH),)

    def start(self, ws: Workspace) -> None:
        ws.set("beat", 0.0)
        self._begin()

    def advance(self, ws: Workspace) -> None:
        self._mark()
        ws.set("beat", float(ws.tick))


class EmptyFour(EmptyOne):
    """A tick of four exchanges: Sense, Act and Decay carry only the fact that they are over."""

    name = "bench-four"

    def sense(self, ws: Workspace) -> None:
        pass

    def act(self, ws: Workspace) -> None:
        pass

    def decay(self, ws: Workspace) -> None:
        pass


class NotedPageRank(PageRank, _Noted):
    """PageRank as it is, noting its ticks."""

    name = "bench-pagerank"

    def start(self, ws: Workspace) -> None:
        super().start(ws)
        self._begin()

    def advance(self, ws: Workspace) -> None:
        self._mark()
        super().advance(ws)

    def halted(self, ws: Workspace) -> bool:
        return _Noted.halted(self, ws)


ENTRY_POINTS = {program.name: program for program in (EmptyOne, EmptyFour, NotedPageRank)}

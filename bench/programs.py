"""Programs that the daemons run during measurements, found like all others by the entry point group shoal.programs.

Each notes the time of every tick's Advance and, after the last tick, writes the times to a file of its shard: no
requests disturb a daemon during a measurement.
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
    """Notes the time of its ticks."""

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
    """A tick with one exchange: only a column's ghosts in Advance."""

    name = "bench-one"
    columns = (Column("beat", np.float64, ghosts=Direction.BOTH),)

    def start(self, ws: Workspace) -> None:
        ws.set("beat", 0.0)
        self._begin()

    def advance(self, ws: Workspace) -> None:
        self._mark()
        ws.set("beat", float(ws.tick))


class EmptyFour(EmptyOne):
    """A tick with four exchanges: Sense, Act and Decay send only that they are over."""

    name = "bench-four"

    def sense(self, ws: Workspace) -> None:
        pass

    def act(self, ws: Workspace) -> None:
        pass

    def decay(self, ws: Workspace) -> None:
        pass


class NotedPageRank(PageRank, _Noted):
    """The unchanged PageRank, noting its ticks."""

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

"""The parts of graphs that this shard holds, and those that are loaded but not decided yet.

A piece is built off the loop and waits under its load's name until the log says that the graph exists; then it is the
graph's part. A load that comes to nothing leaves nothing.
"""

from __future__ import annotations

import logging
from typing import Any

import msgpack

from daemon.protocol.load import LoadLimits, PieceArrived
from daemon.protocol.registry import View
from daemon.protocol.tick_messages import PieceBuilt
from shoal.errors import ShoalError, UnknownGraph
from shoal.graph_data import BadGraph
from shoal.part import Part, Placement
from shoal.piece import build

log = logging.getLogger("shoal.stage")


class Stage:
    """Parts by graph, and staged ones by load."""

    def __init__(self, shard: str, limits: LoadLimits) -> None:
        self._shard, self._limits = shard, limits
        self.parts: dict[str, Part] = {}
        self._staged: dict[str, Part] = {}

    def part(self, graph: str) -> Part:
        """A graph's part. Raises `UnknownGraph`."""
        if graph not in self.parts:
            raise UnknownGraph(f"this shard holds no piece of graph '{graph}'")
        return self.parts[graph]

    def put(self, load: str, part: Part) -> None:
        """A part waits for the log."""
        self._staged[load] = part
        while len(self._staged) > self._limits.pieces_max:
            dropped = next(iter(self._staged))
            log.warning("load %s was never decided: its piece is dropped", dropped)
            del self._staged[dropped]

    def install(self, graph: str, load: str) -> bool:
        """The log says that the graph exists; whether its piece is here."""
        part = self._staged.pop(load, None)
        if part is not None:
            self.parts[graph] = part
        return part is not None

    def drop(self, load: str) -> None:
        """A load came to nothing."""
        self._staged.pop(load, None)

    def remove(self, graph: str) -> None:
        """The log says that the graph is gone."""
        self.parts.pop(graph, None)

    def build(self, piece: PieceArrived, view: View | None) -> PieceBuilt:
        """Build the part of a piece that came here; in a worker thread. Whatever is wrong with it is the answer."""
        try:
            part = self._built(piece, view)
        except (ShoalError, ValueError, TypeError, KeyError) as error:
            log.warning("load %s: %s", piece.load, error)
            return PieceBuilt(piece.load, f"shard '{self._shard}': {error}", 0, 0, 0, 0, 0)
        self.put(piece.load, part)
        return PieceBuilt(piece.load, "", part.size, part.held_edges, part.ghost_count, part.cross_edges, part.nbytes)

    def _built(self, piece: PieceArrived, view: View | None) -> Part:
        spec: Any = msgpack.unpackb(piece.spec)
        if view is None or not isinstance(spec, dict) or spec.get("epoch") != view.epoch:
            raise BadGraph("the piece was cut for another view: load the graph again")
        graph, partitions = spec.get("graph"), spec.get("partitions")
        if not isinstance(graph, str) or not isinstance(partitions, int) or not 1 <= partitions <= 65536:
            raise BadGraph("the piece does not say of which graph it is")
        return build(
            graph, spec.get("piece"), piece.frames, placement_of(view, partitions), view.names.index(self._shard)
        )


def placement_of(view: View, partitions: int) -> Placement:
    """Who holds what in a view."""
    return Placement.of([holders[0] for holders in view.placement(partitions)], view.names)

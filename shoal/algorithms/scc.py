"""Strongly connected components: trimming, then colours forwards and answers backwards, until no node is left.

    trim      a node without edges to, or from, other remaining nodes is a component by itself; remove such, and repeat
    colour    every remaining node takes the least colour among the nodes from which a path leads to it
    answer    from each node that kept its own colour, go backwards along edges within that colour: the nodes reached
              can reach it and be reached from it, so they are a component (Orzan 2004; Yan et al., "Pregel
              Algorithms for Graph Connectivity Problems with Performance Guarantees", VLDB 2014, section 5.1)

Each of the three runs within a shard until nothing changes there, and sends only what crosses shards; a stage is over
after a tick in which no shard sent anything. Each round draws new colours, random numbers that follow from round and
node. So a chain of components falls apart into pieces of all sizes, and about log n rounds suffice; with the nodes' own
numbers, a round might find only one component. At the end the root of each component collects its members' ordinals and
sends them the least.

A stage's result does not depend on the cut: counts of removed nodes, least colours, and sets of reachable nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.algorithms.sides import Side
from shoal.api.errors import ShoalError
from shoal.engine.workspace import Workspace
from shoal.kernels.grouping import distinct
from shoal.program.declarations import Aggregate, Channel, Column, Merge
from shoal.program.phase import Phase
from shoal.program.program import Program
from shoal.program.randomness import bits

Array = NDArray[Any]
NONE = np.empty(0, np.int64)
LATER = np.iinfo(np.int64).max
ORDINAL_BITS = 32
TARGET_BITS = 32
A_TARGET = 1 << TARGET_BITS
"""Counts of lost sources (lower half) and lost targets (upper half) in one number."""
KEPT = ("component", "colour", "reached", "sources", "targets")


class Stage(IntEnum):
    """What a tick does."""

    TRIM = 0
    COLOUR = 1
    ANSWER = 2
    GATHER = 3
    TELL = 4
    DONE = 5


class StrongComponents(Program):
    """Finds strongly connected components: nodes belong together if paths lead from each to the other.

    Column `component` is the ordinal (position in id order, from 0) of the component's first node. Ends by itself.
    """

    name = "scc"
    columns = (
        Column("component", np.int64, null=-1),
        Column("colour", np.int64, hidden=True),
        Column("reached", np.int64, hidden=True),
        Column("sources", np.int64, hidden=True),
        Column("targets", np.int64, hidden=True),
    )
    aggregates = (
        Aggregate("sent", Merge.SUM, np.int64),
        Aggregate("left", Merge.SUM, np.int64),
        Aggregate("stage", Merge.MAX, np.int64),
        Aggregate("rounds", Merge.MAX, np.int64, shown=True),
    )
    channels = (
        Channel("fewer", np.int64, combine=Merge.SUM, sent_in=Phase.ADVANCE),
        Channel("least", np.int64, combine=Merge.MIN, sent_in=Phase.ADVANCE),
        Channel("asked", np.int64, sent_in=Phase.ADVANCE),
    )
    anytime = False

    def prepare(self, ws: Workspace) -> None:
        part = ws.part
        if part.node_count > 1 << ORDINAL_BITS:
            raise ShoalError(f"'scc' supports graphs of up to {1 << ORDINAL_BITS} nodes")
        self._out, self._into = Side(part.out_edges, part.in_kernel), Side(part.in_edges, part.out_kernel)
        self._told = np.full(part.ghost_count, LATER)
        self._again = False

    def start(self, ws: Workspace) -> None:
        size = ws.part.size
        self._component, self._colour = np.full(size, -1), np.full(size, -1)
        self._reached = np.zeros(size, np.int64)
        self._sources, self._targets = self._into.others(), self._out.others()
        self._trim(ws, NONE, 0)

    def resume(self, ws: Workspace) -> None:
        kept = (ws.pending(name).copy() for name in KEPT)
        self._component, self._colour, self._reached, self._sources, self._targets = kept
        self._again = True  # the node that spoke for a component's members at a shard may now be on another

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        held = (self._component, self._colour, self._reached, self._sources, self._targets)
        return dict(zip(KEPT, held, strict=True))

    def advance(self, ws: Workspace) -> None:
        if not ws.part.node_count:
            return
        stage, rounds = Stage(int(ws.total("stage"))), int(ws.total("rounds"))
        if int(ws.total("sent")) and stage < Stage.GATHER:
            self._go_on(ws, stage, rounds)
        elif stage is Stage.TRIM and int(ws.total("left")):
            self._draw_colours(ws, rounds + 1)
        elif stage is Stage.TRIM or (self._again and stage >= Stage.GATHER):
            self._gather(ws, rounds)
        elif stage is Stage.COLOUR:
            own = self._colour & ((1 << ORDINAL_BITS) - 1)
            self._answer(ws, np.flatnonzero(self._active & (own == ws.part.ordinals)), rounds)
        elif stage is Stage.ANSWER:
            found = np.flatnonzero(self._reached)
            self._component[found] = self._colour[found] & ((1 << ORDINAL_BITS) - 1)
            self._trim(ws, found, rounds)
        elif stage is Stage.GATHER:
            self._tell(ws, rounds)
        else:
            self._learn(ws, rounds)
        self._again = False

    def halted(self, ws: Workspace) -> bool:
        return not ws.part.node_count or int(ws.total("stage")) == Stage.DONE

    @property
    def _active(self) -> NDArray[np.bool_]:
        return self._component < 0

    def _go_on(self, ws: Workspace, stage: Stage, rounds: int) -> None:
        """Processes what has arrived, and continues from there within the shard."""
        if stage is Stage.TRIM:
            nodes, fewer = ws.arrived("fewer")
            self._sources[nodes] -= fewer & (A_TARGET - 1)
            self._targets[nodes] -= fewer >> TARGET_BITS
            self._trim(ws, NONE, rounds)
        elif stage is Stage.COLOUR:
            nodes, colours = ws.arrived("least")
            less = colours < self._colour[nodes]  # a node that already has its component has colour -1
            self._colour[nodes[less]] = colours[less]
            self._spread_colours(ws, nodes[less], rounds)
        else:
            nodes, told = ws.arrived("least")
            mine = (-told == self._colour[nodes]) & (self._reached[nodes] == 0) & self._active[nodes]
            self._answer(ws, nodes[mine], rounds)

    # -- trim ------------------------------------------------------------------------------------------------------

    def _trim(self, ws: Workspace, gone: Array, rounds: int) -> None:
        """Removes these nodes, then those left without a source or a target, and so on."""
        self._colour[gone], self._reached[gone] = -1, 0
        lonely = self._active & ((self._sources <= 0) | (self._targets <= 0))
        self._component[lonely] = ws.part.ordinals[lonely]
        gone = np.concatenate([gone, np.flatnonzero(lonely)])
        sides = ((self._out, self._sources, 1), (self._into, self._targets, A_TARGET))
        fewer = np.zeros(ws.part.ghost_count, np.int64)
        while len(gone):
            touched = []
            for side, counts, one in sides:
                own, ghosts = side.leave(ws, gone, counts)
                touched.append(own)
                fewer += one * np.bincount(ghosts - ws.part.size, minlength=len(fewer))
            gone = distinct(np.concatenate(touched), below=ws.part.size)
            gone = gone[self._active[gone]]
            self._component[gone] = ws.part.ordinals[gone]
        told = np.flatnonzero(fewer)
        self._say(ws, self._post(ws, "fewer", told + ws.part.size, fewer[told]), Stage.TRIM, rounds)

    # -- colour ----------------------------------------------------------------------------------------------------

    def _draw_colours(self, ws: Workspace, rounds: int) -> None:
        """Draws a random number per node, combined with the ordinal, so that no two are equal."""
        ordinals = ws.part.ordinals
        drawn = (bits(rounds, 0, ordinals) >> np.uint64(ORDINAL_BITS + 1)).astype(np.int64) << ORDINAL_BITS
        self._colour = np.where(self._active, drawn | ordinals, -1)
        self._told[:] = LATER
        self._spread_colours(ws, np.flatnonzero(self._active), rounds)

    def _spread_colours(self, ws: Workspace, front: Array, rounds: int) -> None:
        size, colour = ws.part.size, self._colour
        moved = np.zeros(size, np.bool_)
        while len(front):
            moved[front] = True
            if self._out.are_many(front):
                front = self._spread_over_all(ws)
                continue
            ends, begins = self._out.neighbours(front)
            own = ends < size
            ends, offered = ends[own], colour[begins[own]]
            less = offered < colour[ends]
            np.minimum.at(colour, ends[less], offered[less])
            front = distinct(ends[less], below=size)
        before = self._told.copy()
        begins, ghosts = self._out.crossing(np.flatnonzero(moved))
        np.minimum.at(self._told, ghosts - size, colour[begins])
        news = np.flatnonzero(self._told < before)
        self._say(ws, self._post(ws, "least", news + size, self._told[news]), Stage.COLOUR, rounds)

    def _spread_over_all(self, ws: Workspace) -> NDArray[np.int64]:
        """Takes one step along all edges at once, compiled; returns the nodes that got a lesser colour."""
        offered = np.full(ws.part.size + ws.part.ghost_count, LATER)
        offered[: ws.part.size] = np.where(self._active, self._colour, LATER)
        least = ws.part.in_kernel.reduce(np.minimum, offered, LATER, ws.pool, ws.threads)
        less = np.flatnonzero(least < self._colour)
        self._colour[less] = least[less]
        return less

    # -- answer ----------------------------------------------------------------------------------------------------

    def _answer(self, ws: Workspace, front: Array, rounds: int) -> None:
        """Continues backwards from nodes that can reach the node whose colour they have."""
        size, news = ws.part.size, np.zeros(ws.part.size, np.bool_)
        while len(front):
            self._reached[front] = 1
            news[front] = True
            if self._into.are_many(front):
                front = self._answer_over_all(ws)
                continue
            ends, begins = self._into.neighbours(front)
            own = ends < size
            ends, begins = ends[own], begins[own]
            same = (self._colour[ends] == self._colour[begins]) & (self._reached[ends] == 0)
            front = distinct(ends[same], below=size)
        begins, ghosts = self._into.crossing(np.flatnonzero(news))
        best = np.full(ws.part.ghost_count, -1)
        np.maximum.at(best, ghosts - size, self._colour[begins])
        sent = np.flatnonzero(best >= 0)  # a node's own colour can only be the greatest that it receives
        self._say(ws, self._post(ws, "least", sent + size, -best[sent]), Stage.ANSWER, rounds)

    def _answer_over_all(self, ws: Workspace) -> NDArray[np.int64]:
        """Takes the same step along all edges at once, compiled. A source's colour is never less than its target's."""
        told = np.full(ws.part.size + ws.part.ghost_count, -1)
        told[: ws.part.size] = np.where(self._reached, self._colour, -1)
        greatest = ws.part.out_kernel.reduce(np.maximum, told, -1, ws.pool, ws.threads)
        return np.flatnonzero((greatest == self._colour) & (self._reached == 0) & self._active)

    # -- least members ---------------------------------------------------------------------------------------------

    def _gather(self, ws: Workspace, rounds: int) -> None:
        """Sends every component's root its least member on each shard, and a request for the result."""
        ordinals = ws.part.ordinals
        order = ws.part.by_ordinal
        roots, first = np.unique(self._component[order], return_index=True)
        speakers = order[first]
        ws.post_to("least", speakers, roots, ordinals[speakers])
        ws.post_to("asked", speakers, roots, ordinals[speakers])
        self._say(ws, len(roots), Stage.GATHER, rounds)

    def _tell(self, ws: Workspace, rounds: int) -> None:
        roots, least = ws.arrived("least")
        asked, speakers = ws.arrived("asked")
        ws.post_to("least", asked, speakers, least[np.searchsorted(roots, asked)])
        self._say(ws, len(asked), Stage.TELL, rounds)

    def _learn(self, ws: Workspace, rounds: int) -> None:
        speakers, least = ws.arrived("least")
        roots = self._component[speakers]
        order = np.argsort(roots, kind="stable")
        place = np.searchsorted(roots[order], self._component)
        self._component = least[order][place]
        self._say(ws, 0, Stage.DONE, rounds)

    # ----------------------------------------------------------------------------------------------------------------

    def _post(self, ws: Workspace, channel: str, ghosts: Array, values: Array) -> int:
        ws.post(channel, np.zeros(len(ghosts), np.int64), ghosts, values)
        return len(ghosts)

    def _say(self, ws: Workspace, sent: int, stage: Stage, rounds: int) -> None:
        if not ws.part.size:
            return
        left = int(np.count_nonzero(self._active))
        for name, number in (("sent", sent), ("left", left), ("stage", int(stage)), ("rounds", rounds)):
            ws.contribute(name, np.array([number]), nodes=np.zeros(1, np.int64))

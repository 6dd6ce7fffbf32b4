"""Weakly connected components: merged within each shard first, then between shards by hooking and jumping.

Plain label propagation needs as many ticks as the graph's diameter. Here each shard first finds the components of its
own part (own nodes and ghosts, by union-find). Each such piece has one label, the least ordinal known to be connected.
Three processes run between shards at the same time, all with messages "node v is connected to label m":

    touch    a piece with a new label tells its ghosts                         along edges, so all is found in the end
    hook     a shard that finds labels a > m connected tells node a of m       so all pieces that follow a get m
    jump     a piece with a label a of another shard asks node a for its own   so chains of labels halve each time

This is FastSV (Zhang, Azad and Hu, "FastSV: A Distributed-Memory Connected Component Algorithm with Fast Convergence",
SIAM PP 2020) with pieces instead of nodes, and with all steps at once, which is possible because labels only fall. A
thinned grid of half a million nodes, whose diameter is in the thousands, takes 2 ticks on two shards, 7 on four and 8
on eight; R-MAT 18 takes 2 or 3.

Intermediate labels depend on the cut; the final ones do not, even if the cut changes during the run. Labels are
ordinals of nodes of the same component and never rise, so the component's first node keeps its own. A tick changes no
label only if every edge joins equal labels, because a piece that takes a new label tells the other ends. A run that
resumes elsewhere knows the nodes' labels, sends all of them again, and does not end with that tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.engine.workspace import Workspace
from shoal.kernels.grouping import Grouping
from shoal.kernels.reductions import Kernel
from shoal.kernels.traversals import components
from shoal.program.declarations import Aggregate, Channel, Column, Merge
from shoal.program.phase import Phase
from shoal.program.program import Program

Array = NDArray[Any]
DENSE = 16
"""A table over all nodes is faster than a sort if there is more than one number per this many nodes."""


class ConnectedComponents(Program):
    """Finds weakly connected components: nodes belong together if a path joins them, whatever its edges' directions.

    Column `component` is the ordinal (position in id order, from 0) of the component's first node. Ends by itself.
    """

    name = "wcc"
    columns = (Column("component", np.int64),)
    aggregates = (Aggregate("changed", Merge.SUM, np.int64),)
    channels = (
        Channel("connected", np.int64, combine=Merge.MIN, sent_in=Phase.ADVANCE),
        Channel("asked", np.int64, sent_in=Phase.ADVANCE),
    )
    anytime = False

    def prepare(self, ws: Workspace) -> None:
        part = ws.part
        count, self._piece = components(part.out_kernel, part.in_kernel)
        self._ghosts = np.arange(part.size, part.size + part.ghost_count)
        self._ghost_pieces = self._piece[part.size :]
        self._speaker = np.full(count, -1, np.int64)
        self._speaker[self._piece[: part.size]] = np.arange(part.size)
        crossing = np.zeros(count, np.bool_)
        crossing[self._ghost_pieces] = True
        self._open = np.flatnonzero(crossing)  # the others are whole components, which no message can concern
        self._label = np.full(count, np.iinfo(np.int64).max)
        self._again = False

    def start(self, ws: Workspace) -> None:
        np.minimum.at(self._label, self._piece, ws.part.all_ordinals())
        self._tell(ws, self._open)

    def resume(self, ws: Workspace) -> None:
        np.minimum.at(self._label, self._piece[: ws.part.size], ws.pending("component"))
        self._again = True

    def advance(self, ws: Workspace) -> None:
        nodes, labels = ws.arrived("connected")
        asked, askers = ws.arrived("asked")
        before = self._label[self._open]
        self._unite(ws, self._label[self._piece[nodes]], labels)
        self._answer(ws, asked, askers)
        self._tell(ws, self._open if self._again else self._open[before != self._label[self._open]])
        self._again = False

    def halted(self, ws: Workspace) -> bool:
        return ws.tick > 0 and int(ws.total("changed")) == 0

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        return {"component": self._label[self._piece[: ws.part.size]]}

    def _unite(self, ws: Workspace, labels: Array, others: Array) -> None:
        """Merges connected labels, pair by pair: all pieces with one of them take the least."""
        local = ws.part.local_of(others)
        here = local >= 0
        others = np.where(here, self._label[self._piece[np.where(here, local, 0)]], others) if len(others) else others
        news = labels != others
        if not news.any():
            return
        known, least = least_of_each(labels[news], others[news], ws.part.node_count)
        have = self._label[self._open]
        place = np.minimum(np.searchsorted(known, have), len(known) - 1)
        self._label[self._open] = np.where(known[place] == have, least[place], have)
        lost = known != least
        lost[lost] = ws.part.local_of(known[lost]) < 0
        self._post(ws, known[lost], least[lost])

    def _answer(self, ws: Workspace, asked: Array, askers: Array) -> None:
        """Tells the pieces that follow an own node which label it follows itself."""
        label = self._label[self._piece[asked]]
        news = label != ws.part.ordinals[asked]
        self._post(ws, askers[news], label[news])

    def _tell(self, ws: Workspace, changed: Array) -> None:
        """Sends the ghosts of these pieces their labels, and asks on behalf of all open ones."""
        part = ws.part
        if not part.size:
            return
        mark = np.zeros(len(self._label), np.bool_)
        mark[changed] = True
        touched = self._ghosts[mark[self._ghost_pieces]]
        self._post(ws, part.ghost_ordinals[touched - part.size], self._label[self._piece[touched]])
        labels = self._label[self._open]
        away = np.flatnonzero(part.local_of(labels) < 0)
        labels, first = np.unique(labels[away], return_index=True)
        speakers = self._speaker[self._open[away[first]]]
        ws.post_to("asked", speakers, labels, part.ordinals[speakers])
        ws.contribute("changed", np.array([len(changed)]), nodes=np.zeros(1, np.int64))

    def _post(self, ws: Workspace, ordinals: Array, labels: Array) -> None:
        ws.post_to("connected", np.zeros(len(ordinals), np.int64), ordinals, labels)


def least_of_each(one: Array, other: Array, bound: int) -> tuple[Array, Array]:
    """Returns the distinct given numbers (below `bound`), ascending, and the least number that each is connected to.

    >>> known, least = least_of_each(np.array([5, 9, 7]), np.array([7, 2, 8]), 10)
    >>> known.tolist(), least.tolist()
    ([2, 5, 7, 8, 9], [2, 5, 5, 5, 2])
    """
    known, rows, columns = _numbered(one, other, bound)
    grouping = Grouping(rows, len(known))
    pairs = Kernel(grouping.starts, grouping.deal(columns), len(known))
    nothing = Kernel(np.zeros(len(known) + 1, np.int64), np.empty(0, np.int32), len(known))
    count, group = components(pairs, nothing)
    first = np.full(count, len(known))
    np.minimum.at(first, group, np.arange(len(known)))
    return known, known[first[group]]


def _numbered(one: Array, other: Array, bound: int) -> tuple[Array, NDArray[np.int32], NDArray[np.int32]]:
    """Returns the distinct given numbers, ascending, and each one's index among them: by table if many, else sort."""
    if len(one) * DENSE < bound:
        known, inverse = np.unique(np.concatenate([one, other]), return_inverse=True)
        places = inverse.astype(np.int32)
        return known, places[: len(one)], places[len(one) :]
    given = np.zeros(bound, np.bool_)
    given[one] = given[other] = True
    table: NDArray[np.int32] = np.cumsum(given, dtype=np.int32)
    table -= 1
    return np.flatnonzero(given), table[one], table[other]

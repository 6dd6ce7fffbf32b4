"""A run that goes on elsewhere: captured at any tick, restored on any placement, it ends in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shoal
from examples.sandpile import Sandpile
from shoal import GraphData, Phase, Program
from shoal.algorithms.cdlp import CommunityDetection
from shoal.algorithms.degree import Degree
from shoal.algorithms.label_propagation import LabelPropagation
from shoal.algorithms.message_pagerank import MessagePageRank
from shoal.algorithms.pagerank import PageRank
from shoal.algorithms.wcc import ConnectedComponents
from shoal.engine.engine import BadState, Engine, is_fixed, state_bytes
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement
from tests import twin as twins
from tests.shoal.colony.colonies import Walkers
from tests.shoal.messages.programs import Chatter, Counted, Least, Summed
from tests.simulator.programs import Rumour
from tests.trials import Carried, Everything
from tests.twin import Twin

PARTITIONS = 7
SHARDS = ("x", "y", "z")
TICKS = 5
States = dict[int, bytes]


class Group:
    """Engines side by side, one a shard; a new program instance each, as on machines of their own."""

    def __init__(self, data: GraphData, program: type[Program], holder: Sequence[int], **params: Any) -> None:
        placement = Placement(SHARDS, np.array(holder, dtype=np.int16))
        self.engines = [Engine(part_of("g", data, placement, i), program(**params)) for i in range(len(SHARDS))]
        self.captured: States = {}

    def exchange(self, tick: int, phase: Phase) -> None:
        """As hosts do it; the state is taken before the Advance is settled."""
        sent = {engine.part.shard: engine.run(tick, phase) for engine in self.engines}
        if phase is Phase.ADVANCE:
            self.captured = self.capture()
        for engine in self.engines:
            me = engine.part.shard
            shares = {peer: out.to(me) for peer, out in sent.items() if peer != me}
            for peer, share in shares.items():
                engine.check(peer, phase, share)
            engine.settle(phase, shares)

    def begin(self, tick: int = 0) -> bool:
        self.exchange(tick, Phase.ADVANCE)
        return self.halted()

    def tick(self, tick: int) -> bool:
        """One tick; whether the run is over."""
        for phase in self.engines[0].program.phases():
            self.exchange(tick, phase)
        return self.halted()

    def halted(self) -> bool:
        (halted,) = {engine.halted() for engine in self.engines}
        return halted

    def capture(self) -> States:
        states: States = {}
        for engine in self.engines:
            states |= engine.capture()
        return states

    def restore(self, tick: int, states: Mapping[int, Any]) -> None:
        for engine in self.engines:
            engine.restore(tick, {partition: states[partition] for partition in engine.part.partitions})

    def totals(self) -> dict[str, bytes]:
        (totals,) = [
            dict(each)
            for each in {tuple((n, np.asarray(v).tobytes()) for n, v in e.ws.totals.items()) for e in self.engines}
        ]
        return totals

    def result(self, column: str, nodes: int) -> list[Any]:
        found: list[Any] = [None] * nodes
        for engine in self.engines:
            for ordinal, value in zip(engine.part.ordinals.tolist(), engine.result(column).tolist(), strict=True):
                found[ordinal] = value
        return found


@st.composite
def graphs(draw: st.DrawFn) -> GraphData:
    nodes = draw(st.lists(st.integers(-99, 99), max_size=12, unique=True))
    ends = st.sampled_from(nodes) if nodes else st.nothing()
    edges = draw(st.lists(st.tuples(ends, ends), max_size=30)) if nodes else []
    source, target = [s for s, _ in edges], [t for _, t in edges]
    return shoal.from_arrays(source, target, nodes=nodes, partition_count=PARTITIONS)


HOLDERS = st.lists(st.integers(0, 2), min_size=PARTITIONS, max_size=PARTITIONS)
PROGRAMS: list[tuple[type[Program], dict[str, Any]]] = [
    (PageRank, {}),
    (PageRank, {"tol": 1e-2}),
    (Degree, {}),
    (CommunityDetection, {}),
    (LabelPropagation, {"seed": 3}),
    (Rumour, {}),
    (Everything, {}),
    (Carried, {}),
    (Sandpile, {"chips": 2}),
    (MessagePageRank, {}),
    (Chatter, {}),
    (Summed, {}),
    (Least, {}),
    (Counted, {}),
    (Walkers, {"edge_decay": 0.3, "maturation": 1, "degree_max": 2}),
]


@pytest.mark.parametrize(("program", "params"), PROGRAMS, ids=lambda given: getattr(given, "name", ""))
@given(data=graphs(), before=HOLDERS, after=HOLDERS, again=HOLDERS, at=st.integers(0, TICKS), gap=st.integers(0, 2))
@example(data=shoal.from_arrays([], [], partition_count=7), before=[0] * 7, after=[1] * 7, again=[2] * 7, at=1, gap=1)
@settings(deadline=None, max_examples=25)
def test_a_restored_run_goes_on_in_the_same_bits(
    program: type[Program],
    params: dict[str, Any],
    data: GraphData,
    before: list[int],
    after: list[int],
    again: list[int],
    at: int,
    gap: int,
) -> None:
    """Twice interrupted, each time on another placement: every tick's states, totals and the end are as undisturbed."""
    states, totals, halts = [], [], []
    whole = Group(data, program, [0] * PARTITIONS, **params)
    for tick in range(TICKS + 1):
        halts.append(whole.tick(tick) if tick else whole.begin())
        states.append(whole.captured)
        assert whole.capture() == whole.captured  # settled or not
        totals.append(whole.totals())
        if halts[-1]:
            break
    last = len(states) - 1

    group, tick = Group(data, program, before, **params), 0
    seen = [(group.begin(), group.captured, group.totals())]
    for stop, holder in ((min(at, last), after), (min(at + gap, last), again), (last, None)):
        while tick < stop:
            tick += 1
            seen.append((group.tick(tick), group.captured, group.totals()))
        if holder is not None:
            kept = group.captured
            group = Group(data, program, holder, **params)
            group.restore(tick, kept)
            seen[tick] = (group.begin(tick), group.captured, group.totals())
    assert seen == list(zip(halts, states, totals, strict=True))


@given(data=graphs(), cuts=st.lists(HOLDERS, min_size=2, max_size=4), ats=st.lists(st.integers(0, 3), min_size=4))
@settings(deadline=None, max_examples=150)
def test_components_are_right_wherever_the_run_goes_on(data: GraphData, cuts: list[list[int]], ats: list[int]) -> None:
    """The labels in between depend on the cut, the last ones don't: the rule by which it halts holds across cuts."""
    group, tick = Group(data, ConnectedComponents, cuts[0]), 0
    halted = group.begin()
    for holder, more in zip(cuts[1:], ats, strict=False):
        for _ in range(more):
            if not halted:
                tick += 1
                halted = group.tick(tick)
        kept, before = group.captured, halted
        group = Group(data, ConnectedComponents, holder)
        group.restore(tick, kept)
        halted = group.begin(tick)
        assert halted == before
    while not halted:
        tick += 1
        assert tick < 100
        halted = group.tick(tick)
    assert group.result("component", data.node_count) == twins.components(Twin(data))


def test_components_go_on_over_a_cut_that_splits_what_was_whole() -> None:
    """A path: each shard had half of it in one piece, and now has every other node."""
    size = 40
    data = shoal.from_arrays(np.arange(size - 1), np.arange(1, size), partition_count=PARTITIONS)
    one = Group(data, ConnectedComponents, [0, 0, 0, 1, 1, 2, 2])
    one.begin()
    assert not one.tick(1)
    other = Group(data, ConnectedComponents, [0, 1, 2, 0, 1, 2, 0])
    other.restore(1, one.captured)
    tick, halted = 1, other.begin(1)
    while not halted:
        tick += 1
        halted = other.tick(tick)
    assert other.result("component", size) == [0] * size


@pytest.mark.parametrize(("program", "params"), [*PROGRAMS, (ConnectedComponents, {})])
def test_a_state_has_the_bytes_that_are_said(program: type[Program], params: dict[str, Any]) -> None:
    data = shoal.from_arrays(np.arange(20), np.arange(20)[::-1], partition_count=PARTITIONS)
    group = Group(data, program, [0, 1, 2, 0, 1, 2, 0], **params)
    group.begin()
    sizes = {p: len(state) for p, state in group.captured.items()}
    least = {p: state_bytes(program, int((data.partition == p).sum())) for p in range(PARTITIONS)}
    assert not (is_fixed(program) and program in (Carried, Walkers))
    assert sizes == least if is_fixed(program) else all(sizes[p] > least[p] for p in least)


def test_a_state_is_columns_and_then_aggregates() -> None:
    """In the program's order, little-endian: what a disk keeps has to be read by the next version."""
    data = shoal.from_arrays([0, 1, 2], [1, 2, 3], partition_count=1)
    engine = Engine(part_of("g", data, Placement(("x",), np.zeros(1, np.int16)), 0), PageRank())
    engine.run(0, Phase.ADVANCE)
    rank, share, dangling, change = [0.25] * 4, [0.25] * 3 + [0.0], [0.25], [0.0]
    assert engine.capture() == {0: np.array([*rank, *share, *dangling, *change], "<f8").tobytes()}


def test_what_is_being_worked_on_is_in_no_state() -> None:
    data = shoal.from_arrays(np.arange(20), np.arange(20)[::-1], partition_count=PARTITIONS)
    group = Group(data, Everything, [0, 1, 2, 0, 1, 2, 0])
    group.begin()
    group.tick(1)
    kept = group.captured
    for phase in (Phase.SENSE, Phase.ACT, Phase.DECAY):
        group.exchange(2, phase)
        assert group.capture() == kept


def _damage(states: dict[int, Any], **change: Any) -> dict[int, Any]:
    return {**states, **{int(key[1:]): value for key, value in change.items()}}


WRONG: dict[str, Callable[[dict[int, Any]], dict[int, Any]]] = {
    "a partition too few": lambda s: {p: state for p, state in s.items() if p != 3},
    "a partition too many": lambda s: _damage(s, p1=b""),
    "none": lambda s: {},
    "a byte too few": lambda s: _damage(s, p3=s[3][:-1]),
    "a byte too many": lambda s: _damage(s, p3=s[3] + b"0"),
    "another partition's": lambda s: _damage(s, p3=s[3] + bytes(16)),
    "no bytes": lambda s: _damage(s, p3="text"),
    "a number": lambda s: _damage(s, p3=7),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_state_of_these_partitions_is_refused(wrong: str) -> None:
    data = shoal.from_arrays(np.arange(20), np.arange(20)[::-1], partition_count=PARTITIONS)
    first, second = (Group(data, PageRank, [0, 1, 2, 0, 1, 2, 0]).engines[0] for _ in range(2))
    first.run(0, Phase.ADVANCE)
    states = first.capture()
    with pytest.raises(BadState):
        second.restore(0, WRONG[wrong](states))
    with pytest.raises(BadState):
        second.restore(-1, states)
    second.restore(0, {p: bytearray(state) for p, state in states.items()})  # nothing was begun: it can be done right
    assert second.ws.pending("rank").tolist() == first.ws.pending("rank").tolist()
    second.run(0, Phase.ADVANCE)
    assert second.capture() == states


def test_only_a_fresh_engine_is_restored_and_begins_with_that_tick() -> None:
    data = shoal.from_arrays(np.arange(20), np.arange(20)[::-1], partition_count=PARTITIONS)
    first, second = (Group(data, PageRank, [0] * PARTITIONS).engines[0] for _ in range(2))
    with pytest.raises(AssertionError, match="no state"):
        first.capture()
    first.run(0, Phase.ADVANCE)
    with pytest.raises(AssertionError, match="run already"):
        first.restore(0, first.capture())
    second.restore(3, first.capture())
    with pytest.raises(AssertionError, match="tick 3 was restored, not 0"):
        second.run(0, Phase.ADVANCE)
    with pytest.raises(AssertionError, match="begins with an Advance"):
        second.run(3, Phase.SENSE)

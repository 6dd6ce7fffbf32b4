"""Machines and engines together, without a network: one engine's answer, and a program's failure is its run's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from daemon.host.tick_runner import News, TickRunner
from daemon.protocol.load import LoadLimits
from daemon.protocol.tick import TickMachine, TickTiming
from daemon.protocol.tick_effects import RunOver, SendTick, TickCommitted
from daemon.protocol.tick_messages import PhaseDone
from shoal.phase import Phase
from shoal.program import Program
from shoal.ring import HashRing
from tests.simulator.programs import PARTITIONS, PROGRAMS, SmallGraph, alone, digest, result

NAMES = ("a", "b", "c")


class Group:
    """Runners that hand each other their messages at once, in turn."""

    def __init__(self, program: str, ticks: int, params: dict[str, object] | None = None, threads: int = 1) -> None:
        self.graph = SmallGraph.draw(Random(7))
        self.program, self.ticks = program, ticks
        self.now = 0
        self.news: dict[str, list[News]] = {name: [] for name in NAMES}
        self.sent: list[tuple[str, SendTick]] = []
        self.runners = {name: TickRunner(LoadLimits(), self._clock, kernel_threads=threads) for name in NAMES}
        owners = HashRing(NAMES, 20).placement(PARTITIONS)
        for name, runner in self.runners.items():
            made: Program = PROGRAMS[program](**(params or {}))
            machine = TickMachine(1, name, NAMES, made.phases(), ticks, TickTiming())
            self.take(name, runner.begin(machine, self.graph.part(name, NAMES, owners), made))

    def _clock(self) -> int:
        self.now += 1000
        return self.now

    def take(self, name: str, news: list[News]) -> None:
        for item in news:
            if isinstance(item, SendTick):
                self.sent.append((name, item))
            else:
                self.news[name].append(item)

    def deliver(self) -> None:
        while self.sent:
            sender, item = self.sent.pop(0)
            assert isinstance(item.message, PhaseDone)
            self.take(item.to, self.runners[item.to].take(sender, item.message))

    def ends(self) -> list[News]:
        return [self.news[name][-1] for name in NAMES]


@pytest.fixture
def closing() -> Iterator[list[TickRunner]]:
    runners: list[TickRunner] = []
    yield runners
    for runner in runners:
        runner.close()


@pytest.mark.parametrize("program", ["pagerank", "rumour", "degree", "wcc"])
@pytest.mark.parametrize("threads", [1, 2])
def test_three_shards_answer_as_one(program: str, threads: int, closing: list[TickRunner]) -> None:
    group = Group(program, 12, threads=threads)
    closing += group.runners.values()
    group.deliver()
    nodes: dict[int, tuple[int, ...]] = {}
    for name, runner in group.runners.items():
        over = group.news[name][-1]
        assert isinstance(over, RunOver)
        assert over.outcome == "completed"
        engine = runner.forget(1)
        assert engine is not None
        nodes |= result(engine)
    assert digest(nodes) == alone(group.graph, PROGRAMS[program](), 12)[1]


def test_a_committed_tick_tells_what_each_phase_cost_everyone() -> None:
    group = Group("rumour", 2)
    group.deliver()
    committed = [news for news in group.news["b"] if isinstance(news, TickCommitted)]
    assert [news.tick for news in committed] == [1, 2]
    for news in committed:
        assert [phase for phase, _ in news.figures] == list(Phase)
        assert all(len(shards) == 3 and all(ns > 0 for ns, _ in shards) for _, shards in news.figures)
    assert committed[1].figures == [news for news in group.news["c"] if isinstance(news, TickCommitted)][1].figures


@pytest.mark.parametrize("phase", ["sense", "act", "advance"])
def test_a_programs_failure_is_told_with_its_place(phase: str) -> None:
    group = Group("breaks", 9, {"phase": phase, "tick": 3})
    group.deliver()
    ends = group.ends()
    assert ends[0] == ends[1] == ends[2]
    assert isinstance(ends[0], RunOver)
    assert (ends[0].tick, ends[0].outcome) == (2, "failed")
    assert f"{phase} of tick 3 failed" in ends[0].failure
    assert "as it was told to" in ends[0].failure


def test_a_failure_while_settling_ends_one_alone() -> None:
    group = Group("breaks", 9, {"phase": "halted", "tick": 3})
    group.deliver()
    over = [end for end in group.ends() if isinstance(end, RunOver)]
    assert [(end.tick, end.outcome) for end in over] == [(2, "failed")], "the others wait for the log"


def test_a_share_that_does_not_fit_is_dropped_and_counted() -> None:
    group = Group("pagerank", 3)
    sender, item = group.sent[0]
    runner, message = group.runners[item.to], item.message
    assert isinstance(message, PhaseDone)
    bad = [
        replace(message, frames=(b"x",)),
        replace(message, aggregates=b"x"),
        replace(message, columns=1 << 40),
        replace(message, entry=1),  # Sense carries nothing
        replace(message, entry=0),
        replace(message, entry=-3),
    ]
    for share in bad:
        assert runner.take(sender, share) == []
    assert runner.take("stranger", message) == []
    assert runner.bad_exchanges == len(bad) + 1
    assert runner.plane.runs[1].barrier.entry(sender) == 0
    group.deliver()
    assert {type(end) for end in group.ends()} == {RunOver}, "and the run goes on"


def test_held_phases_wait_for_the_host() -> None:
    graph, made = SmallGraph.draw(Random(7)), PROGRAMS["rumour"]()
    runner = TickRunner(LoadLimits(), lambda: 0, hold=True)
    part = graph.part("one", ("one",), (("one",),) * PARTITIONS)
    news = runner.begin(TickMachine(1, "one", ("one",), made.phases(), 2, TickTiming()), part, made)
    while runner.held:
        assert not [item for item in news if isinstance(item, RunOver)]
        news += runner.run_held(runner.held[0])
    assert news[-1] == RunOver(1, 2, "completed", "")
    engine = runner.forget(1)
    assert engine is not None
    assert digest(result(engine)) == alone(graph, made, 2)[1]
    assert runner.forget(1) is None


def test_a_forgotten_run_takes_its_held_phases_with_it() -> None:
    graph, made = SmallGraph.draw(Random(7)), PROGRAMS["rumour"]()
    runner = TickRunner(LoadLimits(), lambda: 0, hold=True)
    part = graph.part("one", ("one",), (("one",),) * PARTITIONS)
    runner.begin(TickMachine(1, "one", ("one",), made.phases(), 2, TickTiming()), part, made)
    runner.plane.runs[1].abort("lost")
    runner.forget(1)
    assert runner.held == []

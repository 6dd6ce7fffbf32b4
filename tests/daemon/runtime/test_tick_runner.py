"""Machines and engines together, without a network: one engine's answer, and a program's failure is its run's own."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from daemon.runtime.tick_runner import MISFITS_MAX, News, TickRunner
from daemon.transfer.chunks import LoadLimits
from shoal.graph.ring import HashRing
from shoal.lockstep.effects import RunOver, SendTick, StoreStates, TickCommitted
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import BarrierRaised, Checkpoint, CheckpointHeld, PhaseDone
from shoal.lockstep.timing import AT_THE_END, Cadence, TickTiming
from shoal.program.phase import Phase
from shoal.program.program import Program
from tests.simulator.programs import PARTITIONS, PROGRAMS, SmallGraph, Twin, result

NAMES = ("a", "b", "c")


class Group:
    """Runners that hand each other their messages at once, in turn; each partition is held by its owner and the next.

    What is to be durable is so at once, in `disks`, unless the disk is slow.
    """

    def __init__(
        self,
        program: str,
        ticks: int,
        params: dict[str, object] | None = None,
        threads: int = 1,
        *,
        cadence: Cadence = AT_THE_END,
        states: dict[int, bytes] | None = None,
        tick: int = 0,
    ) -> None:
        self.graph = SmallGraph.draw(Random(7))
        self.program, self.ticks = program, ticks
        self.params, self.cadence = params or {}, cadence
        self.now = 0
        self.news: dict[str, list[News]] = {name: [] for name in NAMES}
        self.sent: list[tuple[str, SendTick]] = []
        self.disks: dict[str, dict[int, dict[int, bytes]]] = {name: {} for name in NAMES}
        self.slow: list[tuple[str, StoreStates]] | None = None
        self.runners = {name: TickRunner(name, LoadLimits(), self._clock, kernel_threads=threads) for name in NAMES}
        self.owners = HashRing(NAMES, 20).placement(PARTITIONS)
        self.begin(tick, states)

    def begin(self, tick: int = 0, states: dict[int, bytes] | None = None) -> None:
        owners = [chain[0] for chain in self.owners]
        replicas = {p: (owner, NAMES[(NAMES.index(owner) + 1) % len(NAMES)]) for p, owner in enumerate(owners)}
        for name, runner in self.runners.items():
            made: Program = PROGRAMS[self.program](**self.params)
            machine = TickMachine(
                1, name, NAMES, made.phases(), self.ticks, TickTiming(), tick=tick, cadence=self.cadence
            )
            part = self.graph.part(name, NAMES, self.owners)
            state = (tick, {p: states[p] for p in part.partitions}) if states is not None else None
            news = runner.begin(machine, part, made, replicas=replicas, primaries=dict(enumerate(owners)), state=state)
            self.take(name, news)

    def _clock(self) -> int:
        self.now += 1000
        return self.now

    def take(self, name: str, news: list[News]) -> None:
        for item in news:
            if isinstance(item, SendTick):
                self.sent.append((name, item))
            elif isinstance(item, StoreStates):
                if self.slow is None:
                    self.store(name, item)
                else:
                    self.slow.append((name, item))
            else:
                self.news[name].append(item)

    def store(self, name: str, item: StoreStates) -> None:
        kept = self.disks[name].setdefault(item.tick, {})
        kept.update({partition: bytes(memoryview(state)) for partition, state in item.states.items()})  # type: ignore[arg-type]
        self.take(name, self.runners[name].stored(item.token))

    def deliver(self, messages: int = 1_000_000) -> None:
        while self.sent and messages:
            messages -= 1
            sender, item = self.sent.pop(0)
            assert isinstance(item.message, PhaseDone | Checkpoint | CheckpointHeld | BarrierRaised)
            self.take(item.to, self.runners[item.to].take(sender, item.message))

    def ends(self) -> list[News]:
        return [self.news[name][-1] for name in NAMES]

    def whole(self, tick: int) -> dict[int, bytes]:
        """The states of a tick; every partition's is on two disks, and the same there."""
        found: dict[int, bytes] = {}
        count = 0
        for disk in self.disks.values():
            for partition, state in disk.get(tick, {}).items():
                assert found.setdefault(partition, state) == state
                count += 1
        assert (len(found), count) == (PARTITIONS, 2 * PARTITIONS)
        return found

    def results(self) -> dict[int, tuple[int, ...]]:
        nodes: dict[int, tuple[int, ...]] = {}
        for runner in self.runners.values():
            nodes |= result(runner.engines[1])
        return nodes


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
    assert nodes == Twin(group.graph).end(PROGRAMS[program](), 12)[1]


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


def test_a_share_that_never_fits_ends_the_run() -> None:
    """A peer that has another idea of the program would be asked for ever, and no stop would be heard."""
    group = Group("pagerank", 3)
    sender, item = group.sent[0]
    runner, message = group.runners[item.to], item.message
    assert isinstance(message, PhaseDone)
    told = [news for _ in range(MISFITS_MAX) for news in runner.take(sender, replace(message, frames=(b"x",)))]
    (over,) = told
    assert isinstance(over, RunOver)
    assert over.outcome == "failed"
    assert f"the share of shard {sender} did not fit" in over.failure
    assert runner.misfits
    runner.forget(1)
    assert not runner.misfits, "a run that is over is counted no more"


def test_held_phases_wait_for_the_host() -> None:
    graph, made = SmallGraph.draw(Random(7)), PROGRAMS["rumour"]()
    runner = TickRunner("one", LoadLimits(), lambda: 0, hold=True)
    part = graph.part("one", ("one",), (("one",),) * PARTITIONS)
    news = runner.begin(TickMachine(1, "one", ("one",), made.phases(), 2, TickTiming()), part, made)
    while runner.held:
        assert not [item for item in news if isinstance(item, RunOver)]
        news += runner.run_held(runner.held[0])
    (store,) = [item for item in news if isinstance(item, StoreStates)]
    assert not [item for item in news if isinstance(item, RunOver)], "not before its last tick is held"
    news += runner.stored(store.token)
    assert news[-1] == RunOver(1, 2, "completed", "")
    engine = runner.forget(1)
    assert engine is not None
    assert result(engine) == Twin(graph).end(made, 2)[1]
    assert runner.forget(1) is None


def test_a_forgotten_run_takes_its_held_phases_with_it() -> None:
    graph, made = SmallGraph.draw(Random(7)), PROGRAMS["rumour"]()
    runner = TickRunner("one", LoadLimits(), lambda: 0, hold=True)
    part = graph.part("one", ("one",), (("one",),) * PARTITIONS)
    runner.begin(TickMachine(1, "one", ("one",), made.phases(), 2, TickTiming()), part, made)
    runner.plane.runs[1].abort("lost")
    runner.forget(1)
    assert runner.held == []


@pytest.mark.parametrize("program", ["pagerank", "rumour", "degree", "wcc"])
@pytest.mark.parametrize("tick", [3, 6, 9])
def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_bits(program: str, tick: int) -> None:
    whole = Group(program, 9, cadence=Cadence(3))
    whole.deliver()
    over = whole.ends()[0]
    assert isinstance(over, RunOver)
    tick = min(tick, over.tick)  # wcc halts by itself
    again = Group(program, 9, cadence=Cadence(3), states=whole.whole(tick), tick=tick)
    again.deliver()
    assert again.ends() == whole.ends() == [over] * 3
    assert again.results() == whole.results() == Twin(whole.graph).end(PROGRAMS[program](), 9)[1]
    assert again.whole(tick) == whole.whole(tick)
    assert again.whole(over.tick) == whole.whole(over.tick)


def test_an_epoch_is_left_in_the_middle_and_the_run_goes_on_from_what_all_hold() -> None:
    group = Group("rumour", 8, cadence=Cadence(2))
    while sum(len(disk.get(4, {})) for disk in group.disks.values()) < 2 * PARTITIONS:
        group.deliver(1)
    stale = group.sent.copy()
    group.sent.clear()
    for runner in group.runners.values():
        runner.leave_epoch()
        assert runner.engines == {}
        assert runner.plane.deadline is None
    assert stale
    group.begin(4, group.whole(4))
    group.deliver()
    assert group.ends() == [RunOver(1, 8, "completed", "")] * 3
    assert group.results() == Twin(group.graph).end(PROGRAMS["rumour"](), 8)[1]


def test_a_checkpoint_waits_for_every_disk() -> None:
    group = Group("pagerank", 4, cadence=Cadence(2))
    group.slow = []
    group.deliver()
    assert {store.tick for _, store in group.slow} == {2}
    assert {runner.plane.runs[1].tick for runner in group.runners.values()} == {2}
    last = group.slow.pop()
    for name, store in group.slow:
        group.store(name, store)
    group.slow = []
    group.deliver()
    assert {runner.plane.runs[1].tick for runner in group.runners.values()} == {2}, "one disk of a replica is missing"
    group.slow = None
    group.store(*last)
    group.deliver()
    assert group.ends() == [RunOver(1, 4, "completed", "")] * 3


def test_a_state_that_does_not_fit_fails_its_run_and_nothing_else() -> None:
    whole = Group("pagerank", 2)
    whole.deliver()
    states = whole.whole(2) | {1: b"too short"}
    again = Group("pagerank", 4, states=states, tick=2)
    again.deliver()
    ends = again.ends()
    assert ends[0] == ends[1] == ends[2]
    assert isinstance(ends[0], RunOver)
    assert (ends[0].outcome, "the state of tick 2 can't be taken" in ends[0].failure) == ("failed", True)


def test_a_forgotten_run_leaves_nothing_that_waits_for_a_disk() -> None:
    group = Group("pagerank", 2)
    group.slow = []
    group.deliver()
    name, store = group.slow[0]
    runner = group.runners[name]
    runner.forget(1)
    assert runner.stored(store.token) == []
    assert runner.plane.deadline is None

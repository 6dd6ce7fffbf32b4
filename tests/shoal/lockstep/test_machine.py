"""Lockstep: one machine a shard, no network, every order of messages."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from shoal.engine.engine import Outgoing
from shoal.lockstep.barrier import entry_of
from shoal.lockstep.effects import PhaseLate, RunOver, SendTick, TickCommitted
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX
from shoal.lockstep.messages import STOP, BarrierRaised, PhaseDone, PhaseRequest, PhaseSent
from shoal.lockstep.states import State
from shoal.program.phase import Phase
from shoal.program.program import not_converged
from tests.shoal.lockstep.network import ALL, MS, Group, nothing


def test_nobody_starts_a_phase_before_all_have_finished_the_last() -> None:
    group = Group()
    group.compute("a")
    group.compute("b")
    group.deliver()
    assert [group.phase(name) for name in "abc"] == [(0, Phase.ADVANCE)] * 3
    group.compute("c")
    group.deliver()
    assert [group.phase(name) for name in "abc"] == [(1, Phase.SENSE)] * 3


def test_a_run_goes_through_its_phases_and_ends() -> None:
    group = Group(ticks=2)
    seen = [group.phase("a")]
    while not isinstance(group.told["a"][-1], RunOver):
        group.round()
        seen.append(group.phase("a"))
    assert seen[:-1] == [(0, Phase.ADVANCE), *((tick, phase) for tick in (1, 2) for phase in ALL)]
    for name in "abc":
        assert group.told[name][-1] == RunOver(1, 2, "completed", "")
        assert [e.tick for e in group.told[name] if isinstance(e, TickCommitted)] == [1, 2]


def test_a_phase_that_is_not_used_costs_nothing() -> None:
    group = Group(phases=(Phase.ADVANCE,), ticks=2)
    for _ in range(3):
        group.round()
    assert [group.machines[name].state for name in "abc"] == [State.OVER] * 3


def test_a_share_that_is_ahead_by_one_phase_is_kept() -> None:
    group = Group("ab")
    group.compute("a")
    group.compute("b")
    group.deliver(to="a")  # a goes on, b has not heard yet
    group.compute("a")
    assert group.phase("a") == (1, Phase.SENSE)
    group.deliver(to="b")
    assert group.phase("b") == (1, Phase.SENSE)
    group.compute("b")
    assert group.phase("b") == (1, Phase.ACT), "a's share of sense was here already"


@pytest.mark.parametrize("entry", [0, 3, entry_of(1, Phase.ACT), 1000, -5])
def test_what_is_out_of_the_window_changes_nothing(entry: int) -> None:
    group = Group()
    stray = PhaseDone(1, entry, 0, b"", STOP, "a lie", 0, 0)
    assert group.machines["a"].step("b", stray, 0) == []
    assert group.machines["a"].lacking() == ("b", "c")
    assert group.machines["a"].step("stranger", replace(stray, entry=4), 0) == []
    assert group.machines["a"].barrier.entry("b") == 0


def test_a_lost_share_is_asked_for_and_sent_again() -> None:
    group = Group("ab")
    group.compute("a")
    group.compute("b")
    group.bag.clear()
    group.now = 200 * MS
    assert group.machines["a"].deadline == group.now
    group.wake()
    assert group.bag == [("a", "b", PhaseRequest(1, 4)), ("b", "a", PhaseRequest(1, 4))]
    group.deliver()
    told = [("b", "a", BarrierRaised(1, (("a", 0), ("b", 4)))), ("b", "a", PhaseSent(1, 4, 1))]
    assert group.bag == [*told, ("a", "b", BarrierRaised(1, (("a", 4), ("b", 0)))), ("a", "b", PhaseSent(1, 4, 1))]
    group.deliver()
    assert group.bag == [("a", "b", PhaseRequest(1, 4, 1)), ("b", "a", PhaseRequest(1, 4, 1))], "it is lost for certain"
    group.deliver()
    group.deliver()
    assert [group.phase(name) for name in "ab"] == [(1, Phase.SENSE)] * 2


def test_a_share_that_is_only_slow_is_not_sent_again() -> None:
    """The link needs ten seconds for it; each question is answered behind it."""
    group = Group("ab")
    group.compute("a")
    group.compute("b")
    group.deliver(to="b")
    slow = list(group.bag)
    group.bag.clear()
    asked = 0
    for now in range(0, 10_000, 50):
        group.now = now * MS
        group.wake()
        wanted = [item for item in group.bag if item[0] == "a"]
        asked += len(wanted)
        assert all(isinstance(message, PhaseRequest) for _, _, message in wanted)
        slow += [item for item in group.bag if item[0] == "b" and item[1] == "a"]
        group.bag = wanted
        group.deliver(to="b")
        slow += group.bag
        group.bag = []
    assert 4 <= asked <= 10, "ever more rarely"
    assert [type(message) for _, _, message in slow].count(PhaseDone) == 1
    group.bag = slow
    group.deliver()
    assert not any(isinstance(message, PhaseRequest) for _, _, message in group.bag), "it came before all answers"
    assert group.phase("a") == (1, Phase.SENSE)


def test_a_copy_that_is_lost_too_is_sent_once_more_and_an_old_word_brings_none() -> None:
    group = Group("ab")
    group.compute("a")
    group.compute("b")
    a, b = group.machines["a"], group.machines["b"]
    (again,) = a.step("b", PhaseRequest(1, 4, 1), 0)
    assert isinstance(again, SendTick)
    assert isinstance(again.message, PhaseDone)
    assert a.step("b", PhaseRequest(1, 4, 1), 0)[1:] == [SendTick("b", PhaseSent(1, 4, 2))], "of two copies one is lost"
    assert b.step("a", PhaseSent(1, 4, 2), 0) == [SendTick("a", PhaseRequest(1, 4, 2))]
    assert a.step("b", PhaseRequest(1, 4, 2), 0) == [again]
    assert b.step("stranger", PhaseSent(1, 4, 3), 0) == b.step("a", PhaseSent(1, 5, 1), 0) == []


def test_gossip_that_a_share_is_ready_has_it_asked_for_soon() -> None:
    group = Group("ab")
    group.compute("a")
    for now in (200, 600, 1400):
        group.now = now * MS
        group.wake()
    assert group.machines["a"].deadline == 2200 * MS
    assert group.machines["a"].relayed([("b", 4)], group.now) == []
    assert group.machines["a"].deadline == 1600 * MS


def test_the_last_phase_but_one_can_still_be_asked_for() -> None:
    group = Group("ab")
    group.compute("a")
    group.compute("b")
    group.deliver(to="a")
    group.compute("a")  # a has done sense; b still lacks a's start
    sent = group.machines["a"].step("b", PhaseRequest(1, 4, 1), 0)
    assert [(e.to, e.message.entry) for e in sent if isinstance(e, SendTick)] == [("b", 4)]  # type: ignore[attr-defined]
    assert group.machines["a"].step("b", PhaseRequest(1, 3), 0) == []


def test_a_late_phase_names_who_is_missing_again_and_again() -> None:
    group = Group()
    group.compute("a")
    group.compute("b")
    group.deliver()
    late = []
    for now in range(0, 3000, 100):
        group.now = now * MS
        group.wake()
    late = [effect for effect in group.told["a"] if isinstance(effect, PhaseLate)]
    assert [(e.missing, e.phase, e.waited_ns) for e in late] == [
        (("c",), Phase.ADVANCE, 1000 * MS),
        (("c",), Phase.ADVANCE, 2000 * MS),
    ]


@pytest.mark.parametrize("when", ["computing", "waiting"])
def test_a_stop_ends_everyone_at_the_same_tick(when: str) -> None:
    group = Group("ab", ticks=99)
    for _ in range(5):
        group.round()
    assert group.phase("a") == (2, Phase.SENSE)
    for _ in range(3 if when == "computing" else 0):
        group.round()
    if when == "waiting":
        group.compute("a")
    group.take("a", group.machines["a"].stop(group.now))
    for _ in range(6):
        group.round()
    ends = [group.told[name][-1] for name in "ab"]
    assert ends[0] == ends[1] == RunOver(1, 2, "stopped", "")


def test_a_stop_that_misses_advance_ends_a_stepped_run_all_the_same() -> None:
    """It comes when our share of Advance is out; nobody will grant the tick that carries it (a simulator's find)."""
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=99, granted=1)
    group.round()
    for name in "ab":
        group.compute(name)
    for name in "ab":
        group.take(name, group.machines[name].stop(group.now))
    group.deliver()
    group.round()
    assert [group.told[name][-1] for name in "ab"] == [RunOver(1, 2, "stopped", "")] * 2


def test_a_stop_ends_a_run_that_waits_for_a_grant() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=99, granted=0)
    group.round()
    assert group.machines["a"].state is State.PACED
    for name in "ab":
        group.take(name, group.machines[name].stop(group.now))
    group.round()
    assert [group.told[name][-1] for name in "ab"] == [RunOver(1, 1, "stopped", "")] * 2


def test_grants_may_be_repeated_and_late() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=99, granted=0)
    group.round()
    for grant in (2, 1, 2):
        for name in "ab":
            group.take(name, group.machines[name].grant(grant, group.now))
    for _ in range(5):
        group.round()
    assert [group.machines[name].tick for name in "ab"] == [2, 2]
    assert [group.machines[name].doing() for name in "ab"] == ["paced advance of tick 2"] * 2


def test_a_programs_failure_ends_everyone_at_the_same_tick() -> None:
    group = Group(phases=(Phase.ACT, Phase.ADVANCE), ticks=99)
    for _ in range(3):
        group.round()
    assert group.phase("a") == (2, Phase.ACT)
    group.take("b", group.machines["b"].raised("it broke " + "x" * 9999, 1, group.now))
    group.compute("a")
    group.compute("c")
    group.deliver()
    ends = [group.told[name][-1] for name in "abc"]
    assert ends[0] == ends[1] == ends[2]
    assert isinstance(ends[0], RunOver)
    assert (ends[0].tick, ends[0].outcome, ends[0].failure[:11]) == (1, "failed", "b: it broke")
    assert len(ends[0].failure) == FAILURE_CHARACTERS_MAX


def test_what_several_shards_say_alike_is_told_once() -> None:
    group = Group(phases=(Phase.ADVANCE,))
    for name, told in (("a", "it broke"), ("b", "it fell"), ("c", "it broke")):
        group.take(name, group.machines[name].raised(told, 1, group.now))
    group.deliver()
    ends = [group.told[name][-1] for name in "abc"]
    assert [end.failure for end in ends if isinstance(end, RunOver)] == ["a, c: it broke\nb: it fell"] * 3


def test_a_failure_while_settling_is_told_by_the_log() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,))
    machine = group.machines["a"]
    group.compute("b")
    machine.computed(nothing(("b",)), 1, 0)
    machine.step("b", group.bag[0][2], 0)
    assert machine.state is State.SETTLING
    assert machine.raised("halted broke", 0, 0) == [RunOver(1, 0, "failed", "a: halted broke")]
    assert machine.abort("the log says so") == []


def test_a_run_that_must_halt_has_failed_if_it_does_not() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=2, must_halt=True)
    while not all(machine.state is State.OVER for machine in group.machines.values()):
        group.round()
    ends = [group.told[name][-1] for name in "ab"]
    assert ends[0] == ends[1] == RunOver(1, 1, "failed", not_converged(2))


def test_an_aborted_run_is_over_once() -> None:
    group = Group()
    assert group.machines["a"].abort("lost") == [RunOver(1, 0, "failed", "lost")]
    assert group.machines["a"].abort("lost") == []
    assert group.machines["a"].deadline is None


def test_who_gets_no_arrays_gets_one_and_the_same_message() -> None:
    group, frame = Group(), np.arange(3)
    effects = group.machines["a"].computed(Outgoing(1, b"agg", {"b": (), "c": (frame,)}), 1, 0)
    sent = {e.to: e.message for e in effects if isinstance(e, SendTick)}
    assert sent["b"].frames == ()  # type: ignore[attr-defined]
    assert sent["c"].frames == (frame,)  # type: ignore[attr-defined]
    assert {m.aggregates for m in sent.values()} == {b"agg"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_loss_and_repetition_ends_in_the_same_place(seed: int) -> None:
    random = Random(seed)
    group = Group("abcd"[: random.randint(2, 4)], ticks=4)
    finished = dict.fromkeys(group.machines, 0)
    for _ in range(100_000):
        if all(machine.state is State.OVER for machine in group.machines.values()):
            break
        computing = [name for name, machine in group.machines.items() if machine.state is State.COMPUTING]
        if computing and random.random() < 0.3:
            name = random.choice(computing)
            entry = group.machines[name].entry
            before = [done for other, done in finished.items() if other != name]
            assert all(done >= finished[name] for done in before), "a phase was passed early"
            finished[name] = entry
            group.compute(name)
        elif group.bag and random.random() < 0.8:
            sender, to, message = group.bag.pop(random.randrange(len(group.bag)))
            if random.random() < 0.2:
                continue  # lost
            if random.random() < 0.2:
                group.bag.append((sender, to, message))  # repeated
            group.take(to, group.machines[to].step(sender, message, group.now))
        else:
            group.now += 100 * MS
            group.wake()
    assert {str(told[-1]) for told in group.told.values()} == {str(RunOver(1, 4, "completed", ""))}


@pytest.mark.parametrize("slow_disk", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_a_program_that_ends_on_one_shard_alone_has_failed(slow_disk: bool, lost: bool) -> None:
    """The others wait for it in the next tick, and it for them to report; what they send, or ask for, gives it away."""
    group = Group(phases=(Phase.ADVANCE,), ticks=9, halts_at=1, halts_on="a", slow_disk=slow_disk)
    group.round()
    group.round()
    expected = State.HOLDING if slow_disk else State.OVER
    assert group.machines["a"].state is expected
    group.compute("b")
    group.compute("c")
    if lost:
        group.bag.clear()
        group.now += 300 * MS
        for name in "bc":
            group.take(name, group.machines[name].wake(group.now))
    group.deliver()
    over = group.told["a"][-1]
    assert isinstance(over, RunOver)
    assert over.outcome == "failed"
    assert over.failure.startswith("a: halted after tick 1 says that the run is over, and on shard b it does not")
    ends = [effect for effect in group.told["a"] if isinstance(effect, RunOver) and effect.outcome == "failed"]
    assert len(ends) == 1, "it is told once"
    assert group.machines["b"].state is State.WAITING, "the log ends it for the others"


def test_late_words_of_phases_before_the_end_are_no_disagreement() -> None:
    group = Group(phases=(Phase.ADVANCE,), ticks=2)
    for _ in range(3):
        group.round()
    for entry in (entry_of(1, Phase.ADVANCE), entry_of(2, Phase.ADVANCE)):
        effects = group.machines["a"].step("b", PhaseRequest(1, entry), group.now)
        assert {type(effect) for effect in effects} == {SendTick}
        assert group.machines["a"].step("b", PhaseDone(1, entry, 0, b"", 0, "", 1, 0), group.now) == []
    assert group.told["a"][-1] == RunOver(1, 2, "completed", "")

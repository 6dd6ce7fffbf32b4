"""Which ticks are held, that nobody completes one before it is, and going on from one of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from shoal.lockstep.barrier import entry_of
from shoal.lockstep.effects import (
    HoldTick,
    PhaseLate,
    RunOver,
    SendTick,
    TickCommitted,
    TickEffect,
)
from shoal.lockstep.messages import DUE, OPEN, STOP, BarrierRaised, PhaseDone, PhaseRequest
from shoal.lockstep.states import State
from shoal.lockstep.timing import Cadence
from shoal.program.phase import Phase
from tests.shoal.lockstep.network import MS, TIMING, Group, nothing

ADVANCE = (Phase.ADVANCE,)


def ends(group: Group) -> list[TickEffect]:
    return [told[-1] for told in group.told.values()]


def until_over(group: Group, rounds: int = 200) -> None:
    for _ in range(rounds):
        if all(machine.state is State.OVER for machine in group.machines.values()):
            return
        group.round()
    raise AssertionError([machine.doing() for machine in group.machines.values()])


@pytest.mark.parametrize(
    ("ticks", "every", "tick", "halts_at", "held"),
    [
        (7, 3, 0, None, [(3, 0), (6, 3), (7, 6)]),  # the last is a checkpoint, for it is known to be the last
        (6, 3, 0, None, [(3, 0), (6, 3)]),
        (2, 3, 0, None, [(2, 0)]),
        (7, 3, 0, 5, [(3, 0), (5, 3)]),  # the end could not be known: it is held behind its barrier
        (7, 3, 0, 6, [(3, 0), (6, 3)]),
        (5, -1, 0, None, [(5, 0)]),
        (5, -1, 0, 3, [(3, 0)]),
        (5, 1, 0, None, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]),
        (0, -1, 0, None, [(0, 0)]),
        (9, 3, 0, 0, [(0, 0)]),
        # going on: the tick is held once more, and its floor is not itself until all have it
        (7, 3, 4, None, [(4, 0), (6, 4), (7, 6)]),
        (7, 3, 3, None, [(3, 0), (6, 3), (7, 6)]),
        (7, -1, 5, None, [(5, 0), (7, 5)]),
        (7, -1, 7, None, [(7, 0)]),  # it was over, and nobody had told
        (7, 3, 5, 5, [(5, 0)]),
        (3, -1, 5, None, [(5, 0)]),
    ],
)
def test_which_ticks_are_held(
    ticks: int, every: int, tick: int, halts_at: int | None, held: list[tuple[int, int]]
) -> None:
    group = Group(ticks=ticks, tick=tick, cadence=Cadence(every), halts_at=halts_at)
    until_over(group)
    assert [group.held(name) for name in "abc"] == [held] * 3
    assert ends(group) == [RunOver(1, held[-1][0], "completed", "")] * 3


def test_the_data_of_a_checkpoint_crosses_while_it_is_held_and_the_entry_follows() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(2), slow_disk=True)
    group.round()
    group.round()
    for name in "ab":
        group.compute(name)
    entry, before = entry_of(2, Phase.ADVANCE), entry_of(1, Phase.ADVANCE)
    assert group.machines["a"].doing() == "holding advance of tick 2"
    assert [(s, to, m.flags & OPEN) for s, to, m in group.bag if isinstance(m, PhaseDone)] == [
        ("a", "b", OPEN), ("b", "a", OPEN)
    ]  # fmt: skip
    group.deliver()
    group.hold("b")
    assert group.bag == [("b", "a", BarrierRaised(1, (("a", before), ("b", entry))))]
    group.deliver()  # a peer's entry is taken while a holds
    assert group.machines["a"].state is State.HOLDING
    assert group.machines["b"].lacking() == ("a",), "its data is here, and its entry is not"
    assert group.machines["b"].state is State.WAITING
    group.hold("a")
    assert group.phase("a") == (3, Phase.ADVANCE)
    group.deliver()
    assert group.phase("b") == (3, Phase.ADVANCE)


def test_an_open_share_that_was_lost_comes_again_with_the_entry_or_without_it() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(2), slow_disk=True)
    group.round()
    group.round()
    entry = entry_of(2, Phase.ADVANCE)
    for name in "ab":
        group.compute(name)
    for held, flags in ((False, OPEN), (True, 0)):
        if held:
            group.hold("a")
        (again,) = group.machines["a"].step("b", PhaseRequest(1, entry, 2 if held else 1), group.now)
        assert isinstance(again, SendTick)
        assert isinstance(again.message, PhaseDone)
        assert again.message.flags == flags


def test_no_end_is_told_before_the_last_tick_is_held() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, slow_disk=True, halts_at=1)
    group.round()
    group.round()
    assert [machine.doing() for machine in group.machines.values()] == ["holding advance of tick 1"] * 2
    assert isinstance(group.told["a"][-2], TickCommitted), "committed it is, at its barrier"
    group.hold("a")
    assert group.told["a"][-1] == RunOver(1, 1, "completed", "")
    assert group.machines["b"].state is State.HOLDING
    asked = group.machines["a"].step("b", PhaseRequest(1, entry_of(1, Phase.ADVANCE), 1), 0)
    assert [type(effect.message) for effect in asked if isinstance(effect, SendTick)] == [PhaseDone], "a last share"


def test_a_failed_run_holds_nothing() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(1), slow_disk=True)
    group.round()
    group.compute("a")
    group.take("b", group.machines["b"].raised("broken", 1, 0))
    group.deliver()
    group.hold("a")
    group.deliver()
    assert ends(group) == [RunOver(1, 0, "failed", "b: broken")] * 2


def test_a_program_that_fails_at_keeping_a_checkpoint_tells_all_in_its_shares_stead() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(2), slow_disk=True)
    group.round()
    group.round()
    machine = group.machines["a"]
    assert [type(effect) for effect in machine.computed(nothing(("b",)), 1, group.now)] == [HoldTick]
    machine.validate()
    group.take("a", machine.raised("broken", 1, group.now))
    group.compute("b")
    group.hold("b")
    group.deliver()
    assert ends(group) == [RunOver(1, 1, "failed", "a: broken")] * 2


def test_one_that_fails_at_keeping_the_end_has_failed_where_it_is() -> None:
    """All have passed the barrier; what the log makes of it is one shard's report."""
    group = Group("ab", phases=ADVANCE, ticks=9, slow_disk=True, halts_at=1)
    group.round()
    group.round()
    group.take("a", group.machines["a"].raised("broken", 1, group.now))
    group.machines["a"].validate()
    assert group.told["a"][-1] == RunOver(1, 0, "failed", "a: broken")
    assert group.machines["b"].state is State.HOLDING


def test_an_abort_while_holding_is_the_end_and_what_the_disk_says_then_is_late() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(1), slow_disk=True)
    group.round()
    group.compute("a")
    assert group.machines["a"].abort("lost") == [RunOver(1, 0, "failed", "lost")]
    assert group.machines["a"].held(5) == []
    group.machines["a"].validate()


@pytest.mark.parametrize("when", ["checkpoint", "end"])
def test_a_stop_while_holding_is_not_lost(when: str) -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(2), slow_disk=True, halts_at=3 if when == "end" else 9)
    group.round()
    group.round()
    group.round()
    if when == "end":
        for name in "ab":
            group.hold(name)
        group.deliver()
        group.round()
        group.round()
    assert group.machines["a"].state is State.HOLDING
    group.take("a", group.machines["a"].stop(group.now))
    for name in "ab":
        group.hold(name)
    group.deliver()
    if when == "checkpoint":  # its share is out already: the next tick carries the stop
        group.round()
        for name in "ab":
            group.hold(name)
    expected = RunOver(1, 3, "stopped" if when == "checkpoint" else "completed", "")
    assert ends(group) == [expected] * 2


def test_a_stop_ends_a_run_with_its_last_tick_held() -> None:
    group = Group("ab", phases=ADVANCE, ticks=9, cadence=Cadence(5))
    group.round()
    group.take("b", group.machines["b"].stop(group.now))
    until_over(group)
    assert [group.held(name) for name in "ab"] == [[(1, 0)]] * 2
    assert ends(group) == [RunOver(1, 1, "stopped", "")] * 2


def test_a_resumed_tick_that_carries_a_stop_is_the_last() -> None:
    group = Group("ab", ticks=9, tick=4)
    group.take("a", group.machines["a"].stop(group.now))
    until_over(group)
    assert ends(group) == [RunOver(1, 4, "stopped", "")] * 2


def test_a_stop_waits_until_all_that_was_seen_committed_is_there_again() -> None:
    group = Group("ab", phases=ADVANCE, ticks=99, tick=4, reached=7)
    group.take("a", group.machines["a"].stop(group.now))
    until_over(group)
    assert ends(group) == [RunOver(1, 7, "stopped", "")] * 2


def test_by_time_one_clock_is_enough_and_the_next_tick_is_everyones_checkpoint() -> None:
    group = Group("ab", phases=ADVANCE, ticks=99, cadence=Cadence(0, 50 * MS))
    group.round()
    group.round()
    assert group.held("a") == []
    group.compute("a")
    group.now = 50 * MS
    group.compute("b")  # tick 2: only b's clock has come so far
    assert [message.flags for _, _, message in group.bag if isinstance(message, PhaseDone)] == [0, DUE]
    group.deliver()
    for _ in range(4):
        group.round()
    assert group.held("a") == group.held("b") == [(3, 0)], "and the time counts anew from there"
    group.now = 100 * MS
    group.round()
    group.round()
    assert group.held("a") == group.held("b") == [(3, 0), (8, 3)]


def test_checkpoints_by_time_take_a_tenth_of_all_time_at_the_most() -> None:
    group = Group("ab", phases=ADVANCE, ticks=99, cadence=Cadence(0, 50 * MS), slow_disk=True)
    group.now = 50 * MS
    group.round()  # one is due, so the next tick is held
    for name in "ab":
        group.compute(name)
    assert group.machines["a"].state is State.HOLDING
    group.now = 150 * MS  # a hundred milliseconds until it is held and everyone has passed: not before 1,050
    for name in "ab":
        group.hold(name)
    group.deliver()
    group.now = 1_000 * MS
    for _ in range(3):
        group.round()
    assert group.machines["a"].state is State.COMPUTING
    group.now = 1_050 * MS
    group.round()
    for name in "ab":
        group.compute(name)
    assert group.machines["a"].state is State.HOLDING


def test_a_due_checkpoint_of_a_stepped_run_waits_for_its_tick() -> None:
    group = Group("ab", phases=ADVANCE, ticks=99, granted=0, cadence=Cadence(0, 50 * MS))
    group.now = 60 * MS
    group.round()
    assert group.machines["a"].state is State.PACED
    for name in "ab":
        group.take(name, group.machines[name].grant(1, group.now))
    group.round()
    assert group.held("a") == group.held("b") == [(1, 0)]


@pytest.mark.parametrize("flags", [8, 1 << 40, -8])
def test_flags_that_nobody_knows_are_ignored(flags: int) -> None:
    group = Group("ab", phases=ADVANCE, ticks=9)
    group.compute("a")
    group.compute("b")
    group.bag = [(s, to, replace(m, flags=flags) if isinstance(m, PhaseDone) else m) for s, to, m in group.bag]
    group.deliver()
    assert [group.phase(name) for name in "ab"] == [(1, Phase.ADVANCE)] * 2
    assert group.held("a") == []
    assert not flags & (STOP | DUE)


def test_storage_that_takes_long_is_late_and_nobody_is_asked_for_a_share() -> None:
    group = Group("ab", phases=ADVANCE, ticks=0, slow_disk=True)
    group.now = 7 * MS
    group.compute("a")
    machine = group.machines["a"]
    assert machine.deadline == 7 * MS + TIMING.phase_timeout_ns
    group.now = 900 * MS
    group.wake()
    assert [type(message) for _, _, message in group.bag] == [PhaseDone]
    group.now = 7 * MS + TIMING.phase_timeout_ns
    group.wake()
    assert group.told["a"][-1] == PhaseLate(1, 0, Phase.ADVANCE, (), TIMING.phase_timeout_ns)
    assert machine.deadline == group.now + TIMING.phase_timeout_ns
    group.hold("a")
    assert machine.since == group.now


def test_a_run_that_goes_on_begins_at_advance() -> None:
    group = Group("ab", ticks=9, tick=7)
    assert group.phase("a") == (7, Phase.ADVANCE)
    assert group.machines["a"].entry == entry_of(7, Phase.ADVANCE)
    group.round()
    assert [group.phase(name) for name in "ab"] == [(8, Phase.SENSE)] * 2
    assert group.machines["b"].barrier.entry("a") == entry_of(7, Phase.ADVANCE)

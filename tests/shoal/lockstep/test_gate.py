"""The gate of a phase: everyone's entry in the merged counter, and everyone's data. Either alone keeps it shut."""

from __future__ import annotations

import pytest

from shoal.lockstep.barrier import entry_of
from shoal.lockstep.effects import RunOver, TickCommitted
from shoal.lockstep.machine import RunMessage
from shoal.lockstep.messages import BarrierRaised, PhaseDone, PhaseRequest
from shoal.lockstep.states import State
from shoal.lockstep.timing import Cadence
from shoal.program.phase import Phase
from tests.shoal.lockstep.network import Group

START, CHECKPOINT = entry_of(0, Phase.ADVANCE), entry_of(1, Phase.ADVANCE)


def lose(group: Group, sender: str, to: str, kind: type[RunMessage]) -> None:
    """Loses what is on its way from one to the other."""
    before = len(group.bag)
    group.bag = [item for item in group.bag if not (item[:2] == (sender, to) and isinstance(item[2], kind))]
    assert len(group.bag) < before, "there is nothing to lose"


def at_a_checkpoint(names: str = "abc") -> Group:
    """All have computed tick 1, their data is everywhere, and nobody's disk has it."""
    group = Group(names, phases=(Phase.ADVANCE,), ticks=9, cadence=Cadence(1), slow_disk=True)
    group.round()
    group.round()
    assert {machine.doing() for machine in group.machines.values()} == {"holding advance of tick 1"}
    return group


def committed(group: Group, name: str) -> list[int]:
    return [effect.tick for effect in group.told[name] if isinstance(effect, TickCommitted)]


def test_all_data_and_not_all_entries_keep_it_shut() -> None:
    group = at_a_checkpoint()
    group.hold("a")
    group.hold("b")
    group.deliver()
    a = group.machines["a"]
    assert all(a.has_share_of(peer) for peer in "bc")
    assert (a.state, a.lacking(), committed(group, "a")) == (State.WAITING, ("c",), [])
    group.hold("c")
    group.deliver()
    assert [committed(group, name) for name in "abc"] == [[1]] * 3


def test_all_entries_and_not_all_data_keep_it_shut() -> None:
    group = Group("abc")
    group.compute("a")
    group.compute("b")
    group.compute("c")
    lose(group, "c", "a", PhaseDone)
    group.deliver()
    a = group.machines["a"]
    assert a.relayed([("c", START)], group.now) == []
    assert a.barrier.passed(START)
    assert (a.state, a.lacking()) == (State.WAITING, ("c",))


def test_a_relayed_entry_opens_it_when_the_word_of_it_is_lost() -> None:
    """Nobody is asked: gossip has what the shard itself has said in vain."""
    group = at_a_checkpoint()
    for name in "abc":
        group.hold(name)
    lose(group, "c", "a", BarrierRaised)
    lose(group, "b", "a", BarrierRaised)
    group.deliver()
    assert committed(group, "a") == []
    group.take("a", group.machines["a"].relayed([("b", CHECKPOINT)], group.now))
    assert committed(group, "a") == []
    group.take("a", group.machines["a"].relayed([("c", CHECKPOINT)], group.now))
    assert committed(group, "a") == [1]


def test_one_shards_counter_has_anothers_entry() -> None:
    group = at_a_checkpoint()
    group.hold("c")
    lose(group, "c", "a", BarrierRaised)
    group.deliver()
    group.hold("b")  # it has heard of c's
    group.hold("a")
    group.deliver(to="a")
    assert committed(group, "a") == [1]


def test_who_is_a_phase_ahead_has_passed_the_barrier_and_so_has_everyone_come_to_it() -> None:
    group = at_a_checkpoint()
    for name in "abc":
        group.hold(name)
    lose(group, "c", "a", BarrierRaised)
    lose(group, "b", "a", BarrierRaised)
    group.deliver()
    assert committed(group, "a") == []
    group.compute("b")
    group.deliver(to="a")
    assert committed(group, "a") == [1]


def test_an_entry_that_is_lost_is_asked_for() -> None:
    group = at_a_checkpoint("ab")
    for name in "ab":
        group.hold(name)
    lose(group, "b", "a", BarrierRaised)
    group.deliver()
    group.now += 200 * 1_000_000
    group.wake()
    assert ("a", "b", PhaseRequest(1, CHECKPOINT)) in group.bag
    group.deliver()
    group.deliver()
    assert committed(group, "a") == [1]


@pytest.mark.parametrize("entries", [[("a", CHECKPOINT)], [("c", 99)], [("stranger", CHECKPOINT)]])
def test_what_nobody_can_know_is_not_merged(entries: list[tuple[str, int]]) -> None:
    """The own entry is one's own; nobody is further than the next phase; and members are the view's."""
    group = at_a_checkpoint()
    machine = group.machines["a"]
    before = machine.barrier.entries()
    assert machine.relayed(entries, group.now) == []
    assert machine.step("b", BarrierRaised(1, tuple(entries)), group.now) == []
    assert machine.barrier.entries() == before


def test_a_counter_that_comes_when_all_is_over_changes_nothing() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=0)
    group.round()
    assert group.told["a"][-1] == RunOver(1, 0, "completed", "")
    assert group.machines["a"].step("b", BarrierRaised(1, (("b", START + 1),)), group.now) == []


def test_who_fails_at_a_checkpoint_ends_it_for_all_whose_data_is_out() -> None:
    group = Group("ab", phases=(Phase.ADVANCE,), ticks=9, cadence=Cadence(1), slow_disk=True)
    group.round()
    group.compute("a")
    group.take("b", group.machines["b"].raised("broken", 1, group.now))
    group.deliver()
    group.hold("a")
    group.deliver()
    assert [told[-1] for told in group.told.values()] == [RunOver(1, 0, "failed", "b: broken")] * 2

"""Clusters that lose machines, drives, power and each other, and get them back: the control planes alone."""

from __future__ import annotations

from random import Random

import pytest

from daemon.control.effects import BeginRun, DeleteParts, MendHoldings, TellStates
from daemon.control.leader.messages import StatesHeld
from daemon.state.commands import Drain, StartRun, StopRun, from_bits
from daemon.state.records import FAILED, STOPPING, RunRecord
from tests.daemon.control.network import PARTITIONS, Machine, ShardCluster, begun, states, views_of
from tests.simulator.world import MS, SECOND

EVERYTHING = frozenset(range(PARTITIONS))
DETECTION_NS = 3 * SECOND
"""From a crash to its being known, and another moment for the log: see `membership_config`."""


def hold_states(cluster: ShardCluster, run: int, tick: int) -> None:
    """As after a checkpoint: everyone has the state of what it holds."""
    epoch = cluster.led().registry.epoch
    for machine in cluster.machines.values():
        held = machine.drive.held.get("load-web", frozenset())
        machine.drive.states.setdefault(run, {})[tick, epoch] = held


def record(cluster: ShardCluster, name: str = "rank-1") -> RunRecord:
    return cluster.led().registry.runs[name]


def is_ideal(machine: Machine) -> bool:
    registry = machine.registry
    return all(registry.placements[name] == registry.ideal(graph) for name, graph in registry.graphs.items())


def settled(cluster: ShardCluster, *names: str) -> bool:
    """All in one view, everything where the ring wants it, and no run waiting."""
    return cluster.have_view(*names) and all(
        is_ideal(cluster[name]) and not cluster[name].registry.waiting_runs() for name in names
    )


def same_everywhere(cluster: ShardCluster) -> None:
    assert len({b"".join(machine.up.state.freeze()) for machine in cluster.running()}) == 1


# -- a machine dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leads", [False, True])
def test_a_view_without_the_dead_is_formed_within_the_detection_time(leads: bool) -> None:
    cluster = ShardCluster(3).formed()
    victim = cluster.led() if leads else cluster.others()[0]
    victim.kill()
    names = [machine.name for machine in cluster.running()]
    took = cluster.until(lambda: cluster.have_view(*names))
    assert took < DETECTION_NS + leads * 2 * SECOND
    (_, view, *_) = views_of(cluster.running()[0])
    assert (view.epoch, view.names) == (2, tuple(names))


def test_runs_go_on_everywhere_from_one_tick_once_all_have_said_what_they_have() -> None:
    cluster = ShardCluster(3).formed()
    run = cluster.start_run()
    hold_states(cluster, run, 7)
    late, victim = cluster.others()
    late.tells = False
    victim.kill()
    cluster.until(lambda: bool(late.saw(TellStates)))
    cluster.run(3 * SECOND)
    assert [begun(machine) for machine in cluster.running()] == [[("rank-1", 1, 0)]] * 2, "not before all have told"
    held = {run: late.drive.states[run]}
    late.perform(late.up.states_held(late.registry.epoch, held, cluster.world.now))
    late.tells = True
    cluster.until(lambda: all(len(begun(machine)) >= 2 for machine in cluster.running()))
    assert {begun(machine)[1] for machine in cluster.running()} == {("rank-1", late.registry.epoch, 7)}
    for machine in cluster.running():
        assert machine.saw(BeginRun)[1].view == late.registry.view
    same_everywhere(cluster)


def test_states_of_another_epoch_count_nothing() -> None:
    cluster = ShardCluster(3).formed()
    run = cluster.start_run()
    machine = cluster.others()[0]
    assert machine.up.states_held(9, {run: states(7, EVERYTHING)}, cluster.world.now) == []
    leader = cluster.led()
    assert leader.up.step(machine.up.identity, StatesHeld(9, ()), cluster.world.now) == []


def test_lost_copies_are_made_again_and_a_better_view_follows() -> None:
    cluster = ShardCluster(3).formed()
    for machine in cluster.machines.values():
        machine.mends = False
    victim = cluster.others()[0]
    victim.kill()
    names = [machine.name for machine in cluster.running()]
    cluster.until(lambda: cluster.have_view(*names))
    cluster.run(5 * SECOND)
    for machine in cluster.running():
        wants = machine.saw(MendHoldings)[-1].wants
        assert {want.partition for want in wants} == EVERYTHING - machine.drive.held["load-web"]
        assert all(machine.name not in want.sources for want in wants)
        assert machine.registry.epoch == 2
    for machine in cluster.running():
        machine.fetch()
    cluster.until(lambda: settled(cluster, *names))
    assert all(machine.registry.epoch == 3 for machine in cluster.running())


def test_after_a_quick_restart_there_is_one_more_view() -> None:
    cluster = ShardCluster(3).formed()
    run = cluster.start_run()
    hold_states(cluster, run, 7)
    machine = cluster.others()[0]
    machine.kill()
    cluster.run(200 * MS)
    machine.start()
    cluster.until(lambda: settled(cluster, *cluster.machines))
    assert [view.epoch for view in views_of(machine)][-1] == 2
    assert {identity.generation for identity in machine.registry.view.members} == {1, 2}  # type: ignore[union-attr]
    assert begun(machine) == [("rank-1", 2, 7)]
    assert machine.drive.held["load-web"]
    same_everywhere(cluster)


def test_a_restart_after_the_verdict_joins_again_with_what_it_held() -> None:
    cluster = ShardCluster(3).formed()
    run = cluster.start_run()
    hold_states(cluster, run, 7)
    machine = cluster.others()[0]
    before = dict(machine.drive.held)
    machine.kill()
    cluster.run(8 * SECOND)
    machine.start()
    cluster.until(lambda: settled(cluster, *cluster.machines))
    assert machine.drive.held["load-web"] >= before["load-web"]
    assert machine.saw(DeleteParts) == [], "it fell back to its old place"
    assert begun(machine)[-1][2] == 7
    cluster.run(15 * SECOND)
    assert settled(cluster, *cluster.machines), "and nothing goes on for ever"
    epoch = machine.registry.epoch
    assert all(m.drive.held["load-web"] == m.registry.disks[m.name].loads["load-web"] for m in cluster.running())
    cluster.run(10 * SECOND)
    assert machine.registry.epoch == epoch


def test_a_wiped_drive_is_another_server() -> None:
    """It must never vote as its former self, who may have promised what this one does not know."""
    cluster = ShardCluster(3).formed()
    machine = cluster.others()[0]
    machine.kill()
    machine.wipe()
    cluster.run(SECOND)
    machine.start()
    seen = []

    def voters() -> bool:
        raft = cluster.led().up.raft if cluster.leader() else None
        if raft is not None and raft.configuration not in seen:
            seen.append(raft.configuration)
        return settled(cluster, *cluster.machines) and machine.up.has_seat

    cluster.until(voters, every=MS)
    cluster.until(lambda: voters() and f"{machine.name}/2" in seen[-1].voters, every=MS)
    roles = [
        (f"{machine.name}/1" in c.voters, f"{machine.name}/2" in c.learners, f"{machine.name}/2" in c.voters)
        for c in seen
    ]
    assert roles == [(True, False, False), (False, False, False), (False, True, False), (False, False, True)]
    assert machine.drive.held["load-web"] == machine.registry.disks[machine.name].loads["load-web"]
    same_everywhere(cluster)


# -- the power fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_after_a_power_cut_of_all_one_view_has_them_all(seed: int) -> None:
    cluster, random = ShardCluster(3, seed).formed(), Random(seed)
    run = cluster.start_run()
    hold_states(cluster, run, 40)
    before = cluster.led().registry
    for machine in cluster.running():
        machine.kill()
    cluster.run(SECOND)
    for machine in random.sample(list(cluster.machines.values()), 3):
        machine.start()
        cluster.run(random.randrange(1500) * MS)
    cluster.until(lambda: settled(cluster, *cluster.machines))
    for machine in cluster.running():
        assert machine.registry.epoch == 2
        assert begun(machine) == [("rank-1", 2, 40)]
        assert (machine.registry.graphs, machine.registry.placements) == (before.graphs, before.placements)
        assert (machine.registry.cluster, machine.registry.runs_begun) == (before.cluster, 1)
    same_everywhere(cluster)


def test_one_who_does_not_come_back_is_not_waited_for_for_ever() -> None:
    cluster = ShardCluster(3).formed()
    for machine in cluster.running():
        machine.kill()
    ant, bee = cluster["ant"], cluster["bee"]
    ant.start()
    bee.start()
    patience = cluster.settings.absent_patience_ns
    took = cluster.until(lambda: cluster.have_view("ant", "bee"))
    assert patience <= took < patience + 5 * SECOND


# -- joining and leaving -----------------------------------------------------------------------------------------------


def joined(cluster: ShardCluster, name: str = "dog") -> Machine:
    """One more machine, just started."""
    machine = cluster.machines[name] = Machine(name, cluster)
    machine.start()
    return machine


def test_a_fourth_learns_votes_takes_its_share_and_the_others_give_it_up() -> None:
    cluster = ShardCluster(3).formed()
    held = {machine.name: machine.drive.held["load-web"] for machine in cluster.running()}
    dog = Machine("dog", cluster)
    dog.mends = False
    cluster.machines["dog"] = dog
    dog.start()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    cluster.until(lambda: dog.up.raft is not None and "dog/1" in dog.up.raft.configuration.voters)
    assert dog.registry.epoch == 2
    ideal = dog.registry.ideal(dog.registry.graphs["web"])
    share = {partition for partition, holders in enumerate(ideal) if "dog" in holders}
    assert share
    assert {want.partition for want in dog.saw(MendHoldings)[-1].wants} == share
    assert not any(machine.saw(MendHoldings) for machine in cluster.running() if machine is not dog)
    dog.fetch()
    cluster.until(lambda: settled(cluster, *cluster.machines), 5 * SECOND)
    assert dog.registry.epoch == 3
    assert dog.drive.held["load-web"] == share
    assert not any(machine.saw(DeleteParts) for machine in cluster.running()), "not before the grace is over"
    cluster.run(cluster.settings.surplus_grace_ns + SECOND)
    for machine in cluster.running():
        if machine is not dog:
            kept = {p for p, holders in enumerate(ideal) if machine.name in holders}
            assert machine.drive.held["load-web"] == machine.registry.disks[machine.name].loads["load-web"] == kept
            gone = [from_order for order in machine.saw(DeleteParts) for from_order in sorted(order.partitions or ())]
            assert set(gone) == held[machine.name] - kept
    same_everywhere(cluster)


@pytest.mark.parametrize("leads", [False, True])
def test_a_drained_shard_hands_everything_over_and_goes(leads: bool) -> None:
    cluster = ShardCluster(4, seed=3).formed()
    machine = cluster.led() if leads else cluster.others()[0]
    others = [name for name in cluster.machines if name != machine.name]
    for name in others:
        cluster[name].mends = False
    cluster.propose(Drain(machine.name, True), cluster[others[0]])
    cluster.run(3 * SECOND)
    assert cluster.led() is not machine, "leadership is handed over"
    assert machine.up.in_view, "it stays until what it holds is held by others"
    assert any(cluster[name].saw(MendHoldings) for name in others)
    for name in others:
        cluster[name].fetch()
    cluster.until(lambda: settled(cluster, *others) and not machine.up.in_view)
    assert machine.up.has_seat
    machine.perform(machine.up.give_up_seat(cluster.world.now))
    cluster.until(lambda: not machine.up.has_seat)
    cluster.run(SECOND)
    assert not machine.up.has_seat, "and it is not given back"
    machine.perform(machine.up.leave(cluster.world.now))
    cluster.run(SECOND)
    machine.kill()
    cluster.run(3 * SECOND)
    assert settled(cluster, *others)
    machine.start()
    cluster.until(lambda: settled(cluster, *cluster.machines) and machine.up.has_seat)
    assert machine.name not in cluster.led().registry.draining, "who starts again is meant to take part again"


def test_a_seat_that_is_given_up_stays_so_although_a_snapshot_comes() -> None:
    cluster = ShardCluster(4).formed()
    machine = cluster.others()[0]
    machine.perform(machine.up.give_up_seat(cluster.world.now))
    cluster.cut = frozenset((machine.name,))
    for _ in range(20):
        cluster.propose(StopRun("none"))
    cluster.cut = frozenset()
    cluster.run(8 * SECOND)
    own = machine.up.membership.member(machine.name)
    assert own is not None
    assert ("leaving", "1") in own.tags


# -- cut off -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leads", [False, True])
def test_a_minority_decides_nothing_and_joins_again_when_it_is_healed(leads: bool) -> None:
    cluster = ShardCluster(3).formed()
    run = cluster.start_run()
    hold_states(cluster, run, 7)
    machine = cluster.led() if leads else cluster.others()[0]
    others = [name for name in cluster.machines if name != machine.name]
    cluster.cut = frozenset((machine.name,))
    cluster.run(6 * SECOND)
    assert machine.up.leader is None
    assert machine.registry.epoch == 1
    effects = machine.up.propose(
        "r", StartRun("rank", "web", "load-web", (), 1, 0, False, 1, ()), 10**18, cluster.world.now
    )
    machine.perform(effects)
    cluster.until(lambda: settled(cluster, *others))
    cluster.cut = frozenset()
    cluster.until(lambda: settled(cluster, *cluster.machines))
    assert machine.generation == 1
    cluster.until(lambda: "rank-2" in machine.registry.runs)
    same_everywhere(cluster)


# -- partitions that nobody holds --------------------------------------------------------------------------------------


def halted() -> tuple[ShardCluster, Machine, Machine]:
    """Five machines, two copies; two machines have died that alone held some partitions."""
    cluster = ShardCluster(5).formed()
    run = cluster.start_run()
    hold_states(cluster, run, 7)
    first, second = next(
        (cluster[holders[0]], cluster[holders[1]]) for holders in cluster.led().registry.placements["web"]
    )
    first.kill()
    second.kill()
    left = [machine.name for machine in cluster.running()]
    cluster.until(lambda: cluster.have_view(*left))
    return cluster, first, second


def test_a_graph_that_lost_a_partition_is_halted_by_name() -> None:
    cluster, first, second = halted()
    registry = cluster.led().registry
    assert registry.lost("web")
    assert set(registry.last_holders("web")) == {first.name, second.name}
    answer = cluster.propose(StartRun("rank", "web", "load-web", (), 1, 0, False, 1, ()))
    assert "halted" in answer.error
    assert first.name in answer.error
    assert second.name in answer.error
    assert record(cluster).active
    assert record(cluster).epoch == 0


def test_a_halted_run_can_be_stopped() -> None:
    cluster, *_ = halted()
    cluster.propose(StopRun("rank-1"))
    cluster.until(lambda: record(cluster).state not in ("running", STOPPING))
    assert record(cluster).state == FAILED
    assert "halted" in record(cluster).failure


def test_one_of_its_holders_brings_a_halted_graph_back() -> None:
    cluster, first, _ = halted()
    cluster.run(3 * SECOND)
    first.start()
    names = [machine.name for machine in cluster.running()]
    cluster.until(lambda: settled(cluster, *names))
    assert not cluster.led().registry.lost("web")
    assert {begun(machine)[-1][2] for machine in cluster.running()} == {7}
    (run,) = cluster.led().registry.active_runs()
    for source in run.sources:
        assert from_bits(source.partitions) <= cluster[source.shard].drive.held["load-web"]


# -- and all of it at random -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_all_is_well_in_the_end(seed: int) -> None:
    cluster, random = ShardCluster(4, seed).formed(), Random(seed)
    run = cluster.start_run()
    for step in range(10):
        machine = random.choice(list(cluster.machines.values()))
        match random.randrange(5):
            case 0 | 1 if machine.shard is not None:
                machine.kill()
            case 2:
                cluster.cut = frozenset(random.sample(sorted(cluster.machines), random.randrange(3)))
            case 3 if cluster.leader() is not None and len(cluster.running()) > 2 and not cluster.cut:
                hold_states(cluster, run, step)
            case _ if machine.shard is None:
                machine.start()
        cluster.run(random.randrange(4000) * MS)
    cluster.cut = frozenset()
    for machine in cluster.machines.values():
        if machine.shard is None:
            machine.start()
    cluster.until(lambda: settled(cluster, *cluster.machines), 120 * SECOND)
    cluster.run(30 * SECOND)
    assert settled(cluster, *cluster.machines)
    same_everywhere(cluster)
    assert {begun(machine)[-1] for machine in cluster.running()} == {
        ("rank-1", record(cluster).epoch, record(cluster).resumed)
    }

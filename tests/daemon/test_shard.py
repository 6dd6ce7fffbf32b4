"""The composition root: what one machine says reaches the others. The clusters are the simulator's, in fair weather."""

from __future__ import annotations

from random import Random

import pytest

from daemon.effects import Answered, Effect, GrantTicks, HealBarrier, Send
from daemon.protocol.cluster_messages import (
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    RunReport,
    ShardProgress,
    StepAsked,
    StepGranted,
)
from daemon.protocol.decisions import DropGraph, Identity, StopRun
from daemon.protocol.membership_messages import Member
from daemon.protocol.registry import FAILED
from daemon.shard import Shard, ShardSettings
from tests.simulator.cluster import Cluster
from tests.simulator.host import Host
from tests.simulator.world import MS, SECOND

LATE = 10**15


def formed(size: int = 3, seed: int = 2) -> Cluster:
    cluster = Cluster(seed, size)
    cluster.form()
    cluster.world.run(SECOND)
    return cluster


def led(cluster: Cluster) -> tuple[Host, Host]:
    """The leader and somebody else."""
    leader = cluster.leader()
    assert leader is not None
    return leader, next(host for host in cluster.members() if host is not leader)


def answers(effects: list[Effect]) -> list[Answered]:
    return [effect for effect in effects if isinstance(effect, Answered)]


def member(name: str) -> Member:
    return Member(name, 1, f"sim://{name}/control", f"sim://{name}/ticks", b"")


def test_a_lone_shard_founds_its_cluster() -> None:
    cluster = formed(1)
    shard = cluster.hosts["ant"].shard
    assert (shard.leader, shard.in_view) == ("ant", True)
    assert shard.registry.view is not None
    assert shard.registry.view.names == ("ant",)


def test_a_shard_that_waits_for_a_seed_founds_nothing_alone() -> None:
    shard = Shard(member("ant"), ["sim://bee/control"], ShardSettings(expect=1), Random(1), 0)
    for now in range(0, 30 * SECOND, 100 * MS):
        shard.wake(now)
        shard.validate()
    assert (shard.raft, shard.leader, shard.in_view) == (None, None, False)


def test_all_founders_are_in_the_view_and_agree_on_it() -> None:
    cluster = formed(5)
    views = [host.shard.registry.view for host in cluster.members()]
    assert len(views) == 5
    assert all(view == views[0] for view in views)
    assert len({host.shard.leader for host in cluster.members()}) == 1


def test_a_proposal_by_a_follower_is_answered_where_it_was_asked() -> None:
    cluster = formed()
    leader, other = led(cluster)
    effects = other.shard.propose(DropGraph("r", "small"), LATE, cluster.world.now)
    assert [(e.to, type(e.message)) for e in effects if isinstance(e, Send)] == [(leader.name, Proposal)]
    other.perform(effects)
    cluster.world.run(SECOND)
    answer = other.diary.answers["r"]
    assert (answer.error, answer.name) == ("", "small")
    assert "r" not in leader.diary.answers


def test_a_declined_proposal_is_answered_in_words() -> None:
    cluster = formed()
    _, other = led(cluster)
    cluster.propose(other, StopRun("r", "nothing-7"))
    cluster.world.run(SECOND)
    assert "there is no run 'nothing-7'" in other.diary.answers["r"].error


def test_a_proposal_without_a_leader_is_given_up_in_time() -> None:
    cluster = formed()
    cluster.faults.partition(["ant"], 60 * SECOND)
    cluster.world.run(5 * SECOND)
    host = cluster.hosts["ant"]
    cluster.propose(host, DropGraph("r", "small"))
    cluster.world.run(31 * SECOND)
    assert "no answer from a tick leader" in host.diary.answers["r"].error


def test_what_is_no_decision_is_never_proposed() -> None:
    cluster = formed()
    leader, other = led(cluster)
    last = leader.shard.raft.last_index if leader.shard.raft else 0
    assert leader.shard.step(other.identity, Proposal("r", b"nonsense"), cluster.world.now) == []
    assert leader.shard.raft is not None
    assert leader.shard.raft.last_index == last


def test_a_refusal_is_an_answer_only_to_who_asked() -> None:
    cluster = formed()
    leader, other = led(cluster)
    now, refusal = cluster.world.now, ProposalRefused("r", "too large")
    assert answers(other.shard.step(leader.identity, refusal, now)) == []
    other.shard.propose(DropGraph("r", "small"), LATE, now)
    (answer,) = answers(other.shard.step(leader.identity, refusal, now))
    assert (answer.request, answer.error) == ("r", "too large")


def test_proposals_reach_the_next_leader_without_waiting() -> None:
    cluster = formed(3)
    leader, other = led(cluster)
    cluster.faults.pause(leader.name, 3 * SECOND)
    cluster.propose(other, DropGraph("r", "small"))
    assert cluster.world.run_until(lambda: cluster.leader() not in (None, leader), 10 * SECOND, 10 * MS)
    assert cluster.world.run_until(lambda: "r" in other.diary.answers, 200 * MS, 10 * MS)


def test_a_run_that_lost_a_member_ends_with_its_name() -> None:
    cluster = formed()
    run = cluster.start_run("rumour", 10**6)
    _, other = led(cluster)
    cluster.faults.crash(other.name)
    assert cluster.world.run_until(lambda: not cluster._active(), 60 * SECOND)
    record = cluster.record(run)
    assert record is not None
    assert (record.state, f"the view has lost {other.name}:" in record.failure) == (FAILED, True)
    again = cluster.start_run("degree", 1)
    assert cluster.world.run_until(lambda: not cluster._active(), 60 * SECOND)
    record = cluster.record(again)
    assert record is not None
    assert record.state == FAILED, "no run goes on without a member of its view"


def test_a_report_of_a_run_that_is_over_is_neither_kept_nor_repeated() -> None:
    cluster = formed()
    run = cluster.start_run("degree", 1)
    assert cluster.world.run_until(lambda: not cluster._active(), 60 * SECOND)
    leader, other = led(cluster)
    late = RunReport(1, 1, "completed", "", 0, 0)
    assert other.shard.run_over(late, cluster.world.now) == []
    assert leader.shard.step(other.identity, late, cluster.world.now) == []
    assert (other.shard._own_reports, leader.shard._reports) == ({}, {})
    assert run in leader.shard.registry.runs


@pytest.mark.parametrize("sender", [Identity("stranger", 1), Identity("bee", 9)])
def test_a_report_counts_only_from_that_life_of_a_member(sender: Identity) -> None:
    cluster = formed()
    cluster.start_run("rumour", 10**6)
    leader, _ = led(cluster)
    leader.shard.step(sender, RunReport(1, 1, "failed", "a lie", 0, 0), cluster.world.now)
    cluster.world.run(SECOND)
    assert cluster._active() == ["rumour-1"]


def test_steps_are_granted_by_the_leader_and_once_a_request() -> None:
    cluster = formed()
    cluster.start_run("rumour", 9, paced=True)
    cluster.world.run(200 * MS)
    leader, other = led(cluster)
    now = cluster.world.now
    assert other.shard.step_run("r", 1, now) == [Send(leader.name, StepAsked("r", 1))]
    for _ in range(2):
        effects = leader.shard.step(other.identity, StepAsked("r", 1), now)
        assert GrantTicks(1, 1) in effects
        assert Send(other.name, StepGranted("r", 1, 1)) in effects
    effects = other.shard.step(leader.identity, StepGranted("r", 1, 1), now)
    assert effects == [GrantTicks(1, 1), Answered("r", "", tick=1)]
    assert answers(leader.shard.step_run("s", 1, now)) == [Answered("s", "", tick=2)]


def test_a_step_without_a_leader_says_so() -> None:
    shard = Shard(member("ant"), [], ShardSettings(expect=3), Random(1), 0)
    (answer,) = answers(shard.step_run("r", 1, 0))
    assert "no tick leader" in answer.error


def test_a_tick_that_a_shard_is_in_was_granted() -> None:
    """The grant itself may have gone with a leader that was cut off before the others heard of it."""
    cluster = formed()
    cluster.start_run("rumour", 9, paced=True)
    cluster.world.run(200 * MS)
    leader, other = led(cluster)
    told = Progress(1, (ShardProgress(other.name, 99, 13, 3, "waiting", 0.0),))
    effects = leader.shard.step(other.identity, told, cluster.world.now)
    assert effects == [HealBarrier(1, ((other.name, 13),)), GrantTicks(1, 3)]
    assert leader.shard.step(other.identity, Grant(1, 3), cluster.world.now) == []


def test_a_later_life_of_a_member_is_none() -> None:
    cluster = formed()
    _, other = led(cluster)
    cluster.faults.crash(other.name)
    cluster.world.run(SECOND)
    cluster.faults.restart(other.name)
    cluster.world.run(20 * SECOND)
    shard = other.shard
    assert (shard.in_view, shard.raft, shard.leader) == (False, None, None)
    leader = cluster.leader()
    assert leader is not None
    assert leader.shard.missing_members() == [other.name]
    (answer,) = answers(shard.step_run("r", 1, cluster.world.now))
    assert answer.error


def test_a_follower_that_was_cut_off_catches_up_by_a_snapshot() -> None:
    cluster = formed()
    _, other = led(cluster)
    cluster.faults.partition([other.name], 2 * SECOND)
    for number in range(20):
        leader, _ = led(cluster)
        cluster.propose(leader, DropGraph(f"r{number}", "nothing"))
        cluster.world.run(50 * MS)
    run = cluster.start_run("rumour", 2)
    cluster.world.run(10 * SECOND)
    leader, _ = led(cluster)
    assert cluster.record(run) == other.shard.registry.runs[run]
    assert other.shard.raft is not None
    assert other.shard.raft.log.snapshot.index > 8
    assert other.shard.registry.freeze() == leader.shard.registry.freeze()


def test_waking_early_or_twice_does_nothing() -> None:
    cluster = formed()
    for host in cluster.members():
        now = cluster.world.now
        host.perform(host.shard.wake(now))
        assert host.shard.wake(now) == []
        assert host.shard.deadline is not None
        assert host.shard.deadline > now

"""The composition root: what one machine says reaches the others."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from consensus import Stored, VoteRequest
from daemon.control.bootstrap import Promise
from daemon.control.effects import (
    Answered,
    BeginRun,
    DeleteParts,
    Effect,
    GrantTicks,
    HealBarrier,
    KeepPromise,
    MendHoldings,
    Send,
)
from daemon.control.leader.messages import RunReport
from daemon.control.log_time import ASK_INTERVAL_NS
from daemon.control.messages import (
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    ReadIndexReply,
    ShardProgress,
    StepReply,
    StepRequest,
)
from daemon.control.plane import ControlPlane
from daemon.control.settings import OnDisk, ShardSettings
from daemon.membership.effects import Counted, MemberLeft
from daemon.membership.messages import ALIVE, Member, PushPullReply, Record
from daemon.services.cluster.waiting import why_waiting
from daemon.state import command_codec
from daemon.state.commands import DropGraph, Identity, StopRun
from daemon.state.sessions import IDLE_NS, TOO_LATE
from tests.daemon.control.network import SETTINGS, Machine, ShardCluster
from tests.simulator.world import MS, SECOND

LATE = 10**15


def formed(size: int = 3, seed: int = 2) -> ShardCluster:
    return ShardCluster(size, seed).formed()


def led(cluster: ShardCluster) -> tuple[Machine, Machine]:
    """The leader and somebody else."""
    return cluster.led(), cluster.others()[0]


def answers(effects: list[Effect]) -> list[Answered]:
    return [effect for effect in effects if isinstance(effect, Answered)]


def member(name: str) -> Member:
    return Member(name, 1, f"sim://{name}/control", f"sim://{name}/ticks", b"")


def over(outcome: str = "completed", failure: str = "") -> RunReport:
    return RunReport(1, 1, 9, outcome, failure, 0)


def test_a_lone_shard_founds_its_cluster_and_does_all_it_can_at_once() -> None:
    cluster = ShardCluster(1)
    cluster["ant"].start()
    cluster.until(lambda: cluster.have_view("ant"), 5 * SECOND)
    shard = cluster["ant"].up
    assert (shard.leader, shard.in_view, shard.has_seat) == ("ant", True, True)
    assert shard.wake(cluster.world.now) == []


def test_a_shard_that_waits_for_a_seed_founds_nothing_alone() -> None:
    shard = ControlPlane(member("ant"), ["sim://bee/control"], ShardSettings(expect=1), Random(1), 0)
    for now in range(0, 30 * SECOND, 100 * MS):
        shard.wake(now)
        shard.validate()
    assert (shard.raft, shard.leader, shard.in_view) == (None, None, False)


def belonging(name: str, cluster: str = "", disk: int = 1) -> Record:
    tags = (("cluster", cluster), ("disk", str(disk))) if cluster else (("disk", str(disk)),)
    return Record(replace(member(name), tags=tags), 1, ALIVE)


def alive(shard: ControlPlane) -> list[str]:
    return [record.name for record in shard.membership.live()]


def test_a_newcomer_that_hears_two_clusters_waits_for_one_and_takes_no_member_of_the_other() -> None:
    shard = ControlPlane(member("ant"), ["sim://bee/control"], ShardSettings(expect=3), Random(1), 0)
    ours = (belonging("bee", "a6ff"), belonging("cat", "a6ff"), belonging("dog"))
    effects = shard.step(Identity("bee", 1), PushPullReply((*ours, belonging("eel", "05c1"))), 0)
    assert shard.founding == "a6ff"
    assert [effect.member.name for effect in effects if isinstance(effect, MemberLeft)] == ["eel"]
    shard.step(Identity("bee", 1), PushPullReply((belonging("fox", "05c1"), belonging("gnu"))), 1)
    assert alive(shard) == ["ant", "bee", "cat", "dog", "gnu"]
    assert not [e for e in shard.found(1)[0] if isinstance(e, KeepPromise)]
    assert "which will admit" in shard.found(1)[1]
    shard.validate()


def test_consensus_is_not_heard_before_it_is_known_whose_it_is() -> None:
    """A shard that waited for a cluster starts again: it remembers that, and not for which."""
    found = OnDisk(1, Stored())
    shard = ControlPlane(member("ant"), ["sim://bee/control"], ShardSettings(expect=3), Random(1), 0, found)
    bee = Identity("bee", 1)
    shard.step(bee, PushPullReply((belonging("bee"),)), 0)
    request = VoteRequest(7, 0, 0)
    assert shard.step(bee, request, 0) == []
    assert shard.raft is not None
    assert shard.raft.term == 0
    shard.step(bee, PushPullReply((Record(belonging("bee", "a6ff").member, 2, ALIVE),)), 0)
    assert shard.founding == "a6ff"
    shard.step(bee, request, 0)
    assert shard.raft.term == 7


def test_a_shard_is_told_to_found_only_where_nobody_else_will() -> None:
    seeds = ["sim://bee/control"]
    shard = ControlPlane(member("ant"), seeds, ShardSettings(expect=1), Random(1), 0)
    assert shard.waits_to_be_let_in
    shard.step(Identity("bee", 1), PushPullReply((belonging("bee"), belonging("cat"))), 0)
    effects, reason = shard.found(0)
    assert reason == ""
    kept = [place for place, effect in enumerate(effects) if isinstance(effect, KeepPromise)]
    assert kept == [0], "before anything that tells of it"
    assert shard.founding
    assert shard.found(0) == ([], "this shard belongs to a cluster")
    assert (
        "cluster.expect is 3" in ControlPlane(member("ant"), seeds, ShardSettings(expect=3), Random(1), 0).found(0)[1]
    )
    waiting = ControlPlane(member("ant"), seeds, ShardSettings(expect=1), Random(1), 0, OnDisk(1, Stored()))
    assert "move this shard's data folder away" in waiting.found(0)[1]


def test_what_was_promised_alone_is_kept_after_a_crash() -> None:
    """It was told to found, and its machine failed in the moment between the promise and the cluster."""
    found = OnDisk(1, promise=Promise(1, (Identity("ant", 1),)))
    shard = ControlPlane(member("ant"), ["sim://bee/control"], ShardSettings(expect=1), Random(1), 0, found)
    shard.wake(SECOND)
    assert shard.founding


def test_a_founder_that_starts_again_is_bound_and_says_for_whom_it_waits() -> None:
    promise = Promise(4, (Identity("ant", 1), Identity("bee", 1), Identity("cat", 1)))
    shard = ControlPlane(member("ant"), ["sim://b"], ShardSettings(expect=2), Random(1), 0, OnDisk(1, promise=promise))
    own = shard.membership.member("ant")
    assert own is not None
    assert dict(own.tags)["founders"].startswith("4-")
    shard.step(Identity("bee", 1), PushPullReply((belonging("bee"), belonging("dog"))), 0)
    assert (shard.raft, shard.awaited_founders) == (None, ("bee", "cat"))
    assert shard.promised_founders == ("ant", "bee", "cat")
    assert "bee, cat" in why_waiting(shard, 2)


def test_one_that_has_forgotten_its_founding_and_sees_nobody_says_how_to_go_on() -> None:
    found = OnDisk(1, promise=Promise(1, (Identity("ant", 1),)), forgot=True)
    shard = ControlPlane(member("ant"), [], ShardSettings(expect=1), Random(1), 0, found)
    shard.wake(SECOND)
    assert "if it was the only shard of its cluster, start it once with --accept-loss" in why_waiting(shard, 1)
    shard.step(Identity("bee", 1), PushPullReply((belonging("bee"),)), SECOND)
    assert "--accept-loss" not in why_waiting(shard, 1)


def test_all_founders_are_in_the_view_and_agree_on_it() -> None:
    cluster = formed(5)
    assert cluster.have_view(*cluster.machines)
    assert len({machine.up.leader for machine in cluster.running()}) == 1


def test_a_proposal_by_a_follower_is_answered_where_it_was_asked() -> None:
    cluster = formed()
    leader, other = led(cluster)
    effects = other.up.propose("r", DropGraph("web", "load-web"), LATE, cluster.world.now)
    assert [(e.to, type(e.message)) for e in effects if isinstance(e, Send)] == [(leader.name, Proposal)]
    other.perform(effects)
    cluster.run(SECOND)
    answer = other.answer("r")
    assert answer is not None
    assert (answer.error, answer.name, answer.decided) == ("", "web", True)
    assert leader.answer("r") is None


def test_a_declined_proposal_is_answered_in_words() -> None:
    cluster = formed()
    _, other = led(cluster)
    assert "there is no run 'nothing-7'" in cluster.propose(StopRun("nothing-7"), other).error


def test_a_proposal_without_a_leader_is_given_up_in_time() -> None:
    cluster = formed()
    ant = cluster["ant"]
    cluster.cut = frozenset(("ant",))
    cluster.run(5 * SECOND)
    answer = cluster.propose(DropGraph("web", "load-web"), ant)
    assert "no tick leader answers" in answer.error
    assert not answer.decided


def test_a_refusal_is_an_answer_only_to_who_asked() -> None:
    cluster = formed()
    leader, other = led(cluster)
    now = cluster.world.now
    effects = other.up.propose("r", DropGraph("web", "load-web"), LATE, now)
    (sent,) = [effect.message for effect in effects if isinstance(effect, Send)]
    assert isinstance(sent, Proposal)
    assert answers(other.up.step(leader.up.identity, ProposalRefused(sent.sequence + 1, "too large"), now)) == []
    (answer,) = answers(other.up.step(leader.up.identity, ProposalRefused(sent.sequence, "too large"), now))
    assert (answer.request, answer.error) == ("r", "too large")


def test_proposals_reach_the_next_leader_without_waiting() -> None:
    cluster = formed()
    leader, other = led(cluster)
    leader.kill()
    other.perform(other.up.propose("r", DropGraph("web", "load-web"), LATE, cluster.world.now))
    cluster.until(lambda: cluster.leader() not in (None, leader), 10 * SECOND, 10 * MS)
    assert cluster.until(lambda: other.answer("r") is not None, SECOND, 10 * MS) <= 200 * MS


def test_a_run_is_over_when_all_have_said_so_however_often_it_takes() -> None:
    cluster = formed()
    cluster.start_run()
    leader, other = led(cluster)
    cluster.cut = frozenset((other.name,))
    for machine in cluster.running():
        machine.perform(machine.up.run_over(over(), cluster.world.now))
    cluster.run(500 * MS)
    assert leader.registry.active_runs()
    cluster.cut = frozenset()
    cluster.until(lambda: not leader.registry.active_runs(), 5 * SECOND)
    record = leader.registry.runs["rank-1"]
    assert (record.state, record.tick) == ("completed", 9)


def test_a_report_of_a_run_that_is_over_is_neither_kept_nor_repeated() -> None:
    cluster = formed()
    cluster.start_run()
    for machine in cluster.running():
        machine.perform(machine.up.run_over(over(), cluster.world.now))
    cluster.until(lambda: not any(machine.registry.active_runs() for machine in cluster.running()), 5 * SECOND)
    leader, other = led(cluster)
    assert other.up.run_over(over(), cluster.world.now) == []
    assert leader.up.step(other.up.identity, over(), cluster.world.now) == []
    assert leader.up.step(other.up.identity, over("failed"), cluster.world.now) == []


@pytest.mark.parametrize("sender", [Identity("stranger", 1), Identity("bee", 9)])
def test_a_report_counts_only_from_that_life_of_a_member(sender: Identity) -> None:
    cluster = formed()
    cluster.start_run()
    leader, other = led(cluster)
    leader.perform(leader.up.step(sender, over("failed", "a lie"), cluster.world.now))
    cluster.run(SECOND)
    assert leader.registry.active_runs()
    leader.perform(leader.up.step(other.up.identity, over("failed", "it broke"), cluster.world.now))
    cluster.run(SECOND)
    assert leader.registry.runs["rank-1"].failure == "it broke"


def test_steps_are_granted_by_the_leader_and_once_a_request() -> None:
    cluster = formed()
    cluster.start_run(paced=True)
    leader, other = led(cluster)
    now = cluster.world.now
    assert other.up.step_run("r", 1, now) == [Send(leader.name, StepRequest("r", 1))]
    for _ in range(2):
        effects = leader.up.step(other.up.identity, StepRequest("r", 1), now)
        assert GrantTicks(1, 1) in effects
        assert Send(other.name, StepReply("r", 1, 1)) in effects
    effects = other.up.step(leader.up.identity, StepReply("r", 1, 1), now)
    assert effects == [GrantTicks(1, 1), Answered("r", "", tick=1)]
    assert answers(leader.up.step_run("s", 1, now)) == [Answered("s", "", tick=2)]


def test_a_step_without_a_leader_says_so() -> None:
    shard = ControlPlane(member("ant"), [], ShardSettings(expect=3), Random(1), 0)
    (answer,) = answers(shard.step_run("r", 1, 0))
    assert "no tick leader" in answer.error


def test_a_tick_that_a_shard_is_in_was_granted() -> None:
    """The grant itself may have gone with a leader that was cut off before the others heard of it."""
    cluster = formed()
    cluster.start_run(paced=True)
    leader, other = led(cluster)
    told = Progress(1, 1, (ShardProgress(other.name, 99, 13, 3, "waiting", 0.0),))
    effects = leader.up.step(other.up.identity, told, cluster.world.now)
    assert effects == [HealBarrier(1, ((other.name, 13),)), GrantTicks(1, 3)]
    assert leader.up.step(leader.up.identity, Grant(1, 3), cluster.world.now) == []


def test_a_later_life_of_a_member_begins_nothing_before_it_is_in_the_view() -> None:
    cluster = formed()
    cluster.start_run()
    _, other = led(cluster)
    other.kill()
    cluster.run(100 * MS)
    other.start()
    assert not other.up.in_view
    assert other.registry.graphs == {} or other.registry.active_runs()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    cluster.until(lambda: bool(other.saw(BeginRun)))
    assert all(effect.view.has(other.up.identity) for effect in other.saw(BeginRun))


def test_a_follower_that_was_cut_off_catches_up_by_a_snapshot() -> None:
    cluster = formed()
    leader, other = led(cluster)
    cluster.cut = frozenset((other.name,))
    for _ in range(20):
        cluster.propose(DropGraph("nothing", "load-web"), leader)
    cluster.cut = frozenset()
    cluster.until(lambda: other.up.applied_index == leader.up.applied_index)
    assert other.up.raft is not None
    assert other.up.raft.log.snapshot.index > 8
    assert list(other.up.state.freeze()) == list(leader.up.state.freeze())


def test_what_is_fetched_of_a_graph_that_was_dropped_meanwhile_is_deleted_again() -> None:
    cluster = formed()
    _, other = led(cluster)
    for machine in cluster.running():
        machine.mends = False
    next(machine for machine in cluster.others() if machine is not other).kill()
    cluster.until(lambda: bool(other.saw(MendHoldings)))
    assert other.saw(MendHoldings)[-1].wants
    cluster.propose(DropGraph("web", "load-web"))
    cluster.until(lambda: not other.registry.graphs)
    assert other.saw(MendHoldings)[-1].wants == ()
    assert other.saw(DeleteParts) == [DeleteParts("load-web", None)]
    effects = other.up.parts_gained("load-web", frozenset({3}), cluster.world.now)
    assert effects == [DeleteParts("load-web", frozenset({3}))]
    assert other.up.holdings.held == {}


def test_a_proposal_that_is_sent_again_is_appended_once() -> None:
    """Committed or not: each entry is a sync of every disk, and the slower these are, the more is sent again."""
    cluster = formed()
    leader, other = led(cluster)
    raft, proposal = leader.up.raft, Proposal(99, 99, "cluster", command_codec().encode(StopRun("nothing")))
    assert raft is not None
    before = raft.last_index
    assert raft.commit_index == before

    def send() -> int:
        leader.perform(leader.up.step(other.up.identity, proposal, cluster.world.now))
        return raft.last_index

    assert [send() for _ in range(3)] == [before + 1] * 3
    assert raft.commit_index == before
    cluster.until(lambda: raft.commit_index == before + 1)
    assert [send() for _ in range(3)] == [before + 1] * 3


def test_a_proposal_that_was_lost_with_its_leader_is_appended_by_the_next() -> None:
    cluster = formed()
    leader, other = led(cluster)
    cluster.cut = frozenset((leader.name,))
    now = cluster.world.now
    leader.perform(leader.up.propose("r", StopRun("nothing"), now + 30 * SECOND, now))
    lost = leader.up.raft
    assert lost is not None
    assert lost.last_index > lost.commit_index
    cluster.until(lambda: other.up.leader not in (None, leader.name))
    cluster.propose(StopRun("nothing else"), other)
    cluster.cut = frozenset()
    cluster.until(lambda: leader.answer("r") is not None)
    answer = leader.answer("r")
    assert answer is not None
    assert answer.decided


def test_a_proposal_that_is_too_late_is_answered() -> None:
    """Its message was lost, the next one decided, and then all clocks leap: the session keeps only numbers."""
    cluster = formed()
    leader, other = led(cluster)
    now = cluster.world.now
    other.up.propose("lost", StopRun("nothing"), now + 30 * SECOND, now)
    assert cluster.propose(StopRun("nothing"), other).decided
    for machine in cluster.running():
        machine.up.set_clock(2 * IDLE_NS)
    cluster.lost = (Proposal,)
    cluster.run(ASK_INTERVAL_NS + SECOND)
    assert cluster.propose(StopRun("nothing"), leader).decided
    cluster.lost = ()
    cluster.until(lambda: other.answer("lost") is not None, 5 * SECOND)
    assert other.answer("lost") == Answered("lost", TOO_LATE, decided=True)


def test_a_start_goes_on_from_the_disk() -> None:
    cluster = formed()
    ant = cluster["ant"]
    found = OnDisk(ant.drive.number, ant.drive.stored, dict(ant.drive.held))
    shard = ControlPlane(member("ant"), [], SETTINGS, Random(1), 0, found)
    assert shard.raft is not None
    assert shard.has_seat
    assert shard.registry.cluster == ant.registry.cluster
    assert dict(shard.membership.member("ant").tags)["disk"] == "1"  # type: ignore[union-attr]


def test_waking_early_or_twice_does_nothing() -> None:
    cluster = formed()
    for machine in cluster.running():
        now = cluster.world.now
        machine.perform(machine.up.wake(now))
        assert machine.up.wake(now) == []
        assert machine.up.deadline is not None
        assert machine.up.deadline > now


def test_only_the_leader_grants_ticks_and_refuses_proposals() -> None:
    """A grant of a far tick would end the pacing of a run for good, whoever of the cluster's members has sent it."""
    cluster = formed()
    leader, third = led(cluster)
    other = next(machine for machine in cluster.machines.values() if machine not in (leader, third))
    now = cluster.world.now
    for message in (Grant(1, 2**40), StepReply("r", 1, 2**40), ProposalRefused(1, "no"), ReadIndexReply("r", 0)):
        effects = third.up.step(other.up.identity, message, now)
        assert [effect.name for effect in effects if isinstance(effect, Counted)] == ["control_unauthorized"]
        assert not [e for e in third.up.step(leader.up.identity, message, now) if isinstance(e, Counted)]
    stranger = Identity("mallory", 1)
    effects = third.up.step(stranger, Progress(1, leader.registry.epoch, ()), now)
    assert [effect.name for effect in effects if isinstance(effect, Counted)] == ["control_unauthorized"]

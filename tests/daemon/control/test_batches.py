"""Proposals that come while those before are on their way to the disks gather, and share the next write."""

from __future__ import annotations

from consensus import Append, AppendReply, LeaderChanged, Persist
from daemon.control.effects import Effect, Send
from daemon.control.gathering import GATHER_NS
from daemon.control.messages import Proposal
from daemon.state import command_codec
from daemon.state.commands import StopRun
from tests.daemon.control.network import SETTINGS, Machine, ShardCluster
from tests.simulator.world import SECOND

LATE = 10**18


def proposed(leader: Machine, number: int, now: int) -> list[Effect]:
    return leader.up.propose(f"r-{number}", StopRun("nothing"), LATE, now)


def written(effects: list[Effect]) -> list[Persist]:
    return [effect for effect in effects if isinstance(effect, Persist)]


def test_what_comes_while_the_disk_is_busy_is_one_write_and_one_message_to_each_follower() -> None:
    cluster = ShardCluster().formed()
    leader, now = cluster.led(), cluster.world.now
    first = proposed(leader, 0, now)
    assert [len(persist.entries) for persist in written(first)] == [1]
    for number in range(1, 40):
        assert not written(proposed(leader, number, now))
    assert not written(leader.up.persisted(written(first)[0], now + GATHER_NS - 1))
    assert leader.up.deadline == now + GATHER_NS
    then = leader.up.wake(now + GATHER_NS)
    assert [len(persist.entries) for persist in written(then)] == [39]
    assert [len(e.message.entries) for e in then if isinstance(e, Send) and isinstance(e.message, Append)] == [39, 39]


def test_what_has_gathered_is_written_as_soon_as_what_was_before_is_committed() -> None:
    cluster = ShardCluster().formed()
    leader, other, now = cluster.led(), cluster.others()[0], cluster.world.now
    raft = leader.up.raft
    assert raft is not None
    (first,) = written(proposed(leader, 0, now))
    for number in range(1, 4):
        proposed(leader, number, now)
    assert not written(leader.up.persisted(first, now))
    reply = AppendReply(raft.term, accepted=True, index=raft.last_index)
    (then,) = written(leader.up.step(other.up.identity, reply, now + 1))
    assert len(then.entries) == 3


def test_on_a_slow_disk_what_has_gathered_is_written_right_behind_what_was_before() -> None:
    cluster = ShardCluster().formed()
    leader, now = cluster.led(), cluster.world.now
    (first,) = written(proposed(leader, 0, now))
    proposed(leader, 1, now)
    assert not written(leader.up.wake(now + 2 * GATHER_NS))
    (then,) = written(leader.up.persisted(first, now + 3 * GATHER_NS))
    assert len(then.entries) == 1


def test_others_proposals_gather_once_each_however_often_they_are_sent() -> None:
    cluster = ShardCluster().formed()
    leader, other, now = cluster.led(), cluster.others()[0], cluster.world.now
    (first,) = written(proposed(leader, 0, now))
    codec = command_codec()
    commands = [codec.encode(StopRun(f"nothing-{number}")) for number in range(3)]
    for number, command in [*enumerate(commands, start=90)] * 3:
        assert not leader.up.step(other.up.identity, Proposal(number, 90, "cluster", command), now)
    (then,) = written(leader.up.persisted(first, now + GATHER_NS))
    assert [codec.open(entry.data).command for entry in then.entries] == commands
    assert [codec.open(entry.data).sequence for entry in then.entries] == [90, 91, 92]


def test_no_more_gathers_than_the_log_has_room_for() -> None:
    cluster = ShardCluster().formed()
    leader, now = cluster.led(), cluster.world.now
    room = SETTINGS.consensus.uncommitted_max
    (first,) = written(proposed(leader, 0, now))
    for number in range(1, room + 20):
        proposed(leader, number, now)
    (then,) = written(leader.up.persisted(first, now + GATHER_NS))
    assert len(then.entries) == room - 1


def test_what_has_gathered_when_another_leads_is_asked_of_that_one() -> None:
    cluster = ShardCluster().formed()
    old, now = cluster.led(), cluster.world.now
    answers = [f"r-{number}" for number in range(5)]
    for number in range(5):
        proposed(old, number, now)  # none of it is written, nor sent
    raft = old.up.raft
    assert raft is not None
    heir = cluster.others()[0]
    assert heir.up.raft is not None
    effects = old.up.step(heir.up.identity, Append(raft.term + 1, 2, 1, (), 2), now)
    assert [effect for effect in effects if isinstance(effect, LeaderChanged)]
    assert not written(old.up.persisted(Persist(), now))
    old.perform(effects)
    cluster.run(30 * SECOND)
    assert all(old.answer(request) is not None for request in answers)


def test_what_has_gathered_waits_while_leadership_is_handed_over_in_vain() -> None:
    """A leader's own decisions are proposed once: nobody would ask for one again that is forgotten here."""
    cluster = ShardCluster().formed()
    leader, others, now, codec = cluster.led(), cluster.others(), cluster.world.now, command_codec()
    raft = leader.up.raft
    assert raft is not None
    (first,) = written(proposed(leader, 0, now))
    command = codec.encode(StopRun("nothing-1"))
    leader.up.step(others[0].up.identity, Proposal(90, 90, "cluster", command), now)
    heir = next(voter for voter in raft.configuration.voters if voter != raft.name)
    raft.transfer_leadership(heir, now)  # it never hears of that
    assert not written(leader.up.persisted(first, now + GATHER_NS))
    later = now + SETTINGS.consensus.election_timeout_ns
    for other in others:
        leader.up.step(other.up.identity, AppendReply(raft.term, accepted=True, index=raft.commit_index), later - 1)
    (then,) = written(leader.up.wake(later))
    assert [codec.open(entry.data).command for entry in then.entries] == [command]

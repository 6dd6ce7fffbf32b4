"""Once a shard has given an answer, every other one that is asked then knows as much."""

from __future__ import annotations

import pytest

from daemon.control.effects import Answered
from daemon.control.messages import ReadIndexReply, ReadIndexRequest
from daemon.state.commands import StopRun
from tests.daemon.control.network import Machine, ShardCluster
from tests.simulator.world import MS, SECOND

PATIENCE = 3 * SECOND


def formed(size: int = 3, seed: int = 2) -> ShardCluster:
    return ShardCluster(size, seed).formed()


def ask(cluster: ShardCluster, machine: Machine, request: str) -> None:
    machine.perform(machine.up.read(request, cluster.world.now + PATIENCE, cluster.world.now))


def read(cluster: ShardCluster, machine: Machine, request: str) -> Answered:
    """Ask, and wait for the answer."""
    ask(cluster, machine, request)
    cluster.until(lambda: machine.answer(request) is not None, 2 * PATIENCE, MS // 4)
    answer = machine.answer(request)
    assert answer is not None
    return answer


@pytest.mark.parametrize("size", [1, 3, 5])
def test_what_one_shard_has_told_every_other_knows(size: int) -> None:
    """Voters or not, with up to three of them or more; and without the read, some would not."""
    cluster, lagged = formed(size), 0
    for number in range(8):
        for teller in cluster.running():
            request, others = f"{teller.name} {number}", [m for m in cluster.running() if m is not teller]
            now = cluster.world.now
            teller.perform(teller.up.propose(request, StopRun("nothing"), now + 30 * SECOND, now))
            cluster.until(lambda: teller.answer(request) is not None, SECOND, MS // 4)  # noqa: B023
            index = teller.up.applied_index
            lagged += sum(machine.up.applied_index < index for machine in others)
            for machine in others:
                ask(cluster, machine, f"after {request}")
            for machine in others:
                cluster.until(lambda: machine.answer(f"after {request}") is not None, SECOND, MS // 4)  # noqa: B023
                assert machine.up.applied_index >= index
    assert size == 1 or lagged


@pytest.mark.parametrize(("size", "round_trips"), [(3, 1), (5, 2)])
def test_a_read_costs_a_round_trip_and_beyond_three_voters_two(size: int, round_trips: int) -> None:
    """The leader's own is one in any case."""
    cluster = formed(size)
    for machine in cluster.running():
        ask(cluster, machine, "quick")
        limit = 3 * MS if machine is cluster.led() else 3 * MS * round_trips  # a message takes up to one and a half ms
        cluster.until(lambda machine=machine: machine.answer("quick") is not None, limit, MS // 4)  # type: ignore[misc]


def test_a_lone_shard_reads_at_once() -> None:
    cluster = formed(1)
    ask(cluster, cluster["ant"], "x")
    assert cluster["ant"].answer("x") == Answered("x", "")


def test_reads_that_come_together_share_a_question() -> None:
    cluster = formed()
    other = cluster.others()[0]
    heard: list[object] = []
    carry = cluster.carry
    cluster.carry = lambda sender, to, message: (heard.append(message), carry(sender, to, message))[1]  # type: ignore[method-assign]
    for number in range(100):
        ask(cluster, other, str(number))
    cluster.until(lambda: all(other.answer(str(number)) for number in range(100)), SECOND)
    assert len([message for message in heard if isinstance(message, ReadIndexRequest)]) == 2
    assert len([message for message in heard if isinstance(message, ReadIndexReply)]) == 2


def test_without_a_majority_the_first_is_told_so_in_time_and_the_others_at_once() -> None:
    cluster = formed()
    ant = cluster["ant"]
    cluster.cut = frozenset(("ant",))
    began = cluster.world.now
    assert "does the cluster have a majority?" in read(cluster, ant, "first").error
    assert cluster.world.now - began <= PATIENCE + 100 * MS
    cluster.run(5 * SECOND)
    assert read(cluster, ant, "leaderless").error
    began = cluster.world.now
    for number in range(10):
        assert read(cluster, ant, str(number)).error
    assert cluster.world.now - began <= 100 * MS
    told = cluster.propose(StopRun("nothing"), cluster["bee"])
    assert told.decided
    index = cluster["bee"].up.applied_index
    assert ant.up.applied_index < index
    cluster.cut = frozenset()
    cluster.until(lambda: not read(cluster, ant, f"healed at {cluster.world.now}").error, 30 * SECOND, 100 * MS)
    assert ant.up.applied_index >= index


def test_a_deposed_leader_does_not_vouch_for_what_it_knows() -> None:
    cluster = formed()
    deposed = cluster.led()
    cluster.cut = frozenset((deposed.name,))
    ask(cluster, deposed, "cut off")
    cluster.until(lambda: cluster.leader() not in (None, deposed), 10 * SECOND, 10 * MS)
    cluster.until(lambda: deposed.answer("cut off") is not None, PATIENCE)
    answer = deposed.answer("cut off")
    assert answer is not None
    assert answer.error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_leader_that_dies_costs_no_more_than_an_election(seed: int) -> None:
    cluster = formed(3, seed)
    leader, other = cluster.led(), cluster.others()[0]
    cluster.propose(StopRun("nothing"), leader)
    index = leader.up.applied_index
    leader.kill()
    assert not read(cluster, other, "x").error
    assert other.up.applied_index >= index


def test_who_comes_back_knows_what_was_decided_while_it_was_away() -> None:
    cluster = formed()
    victim, teller = cluster.others()
    victim.kill()
    for _ in range(20):  # more than a snapshot's worth
        cluster.propose(StopRun("nothing"), teller)
    index = teller.up.applied_index
    victim.start()
    assert not read(cluster, victim, "back").error
    assert victim.up.applied_index >= index


def test_nobody_but_the_leader_answers_and_nothing_that_was_not_asked_is_heard() -> None:
    cluster = formed()
    leader, other = cluster.led(), cluster.others()[0]
    now = cluster.world.now
    assert other.up.step(leader.up.identity, ReadIndexRequest("x", 1), now) == []
    assert other.up.step(leader.up.identity, ReadIndexReply("x", 1), now) == []
    term = leader.up.raft.term if leader.up.raft else 0
    assert leader.up.step(other.up.identity, ReadIndexRequest("x" * 64, term), now)
    assert leader.up.step(other.up.identity, ReadIndexRequest("x" * 65, term), now) == []

"""Disks that go back to an earlier state: who finds it out, who has no say then, and what becomes of the shard."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from consensus import Append
from daemon.control import lives as lives_module
from daemon.control.effects import DiskWentBack
from daemon.control.lives import DISKS_REMEMBERED, Life, Lives, life_of
from daemon.control.messages import DiskForgets
from daemon.membership.messages import ALIVE, DEAD, Gossip, Member
from daemon.state.commands import Identity, StopRun
from daemon.state.records import Disk
from tests.daemon.control.network import Drive, Machine, ShardCluster
from tests.simulator.world import MS, SECOND

# -- what can be known of a disk ---------------------------------------------------------------------------------------


def member(generation: int, name: str = "a") -> Member:
    return Member(name, generation, f"sim://{name}", "", b"")


@pytest.mark.parametrize(
    ("seen", "logged", "before", "lived"),
    [
        ([10, 20], None, 20, 0),  # it remembers the last one that was seen
        ([10, 20], None, 25, 0),  # and one that nobody saw
        ([10, 20], None, 10, 20),
        ([10, 20], None, 0, 20),  # a fresh folder would have another number
        ([20, 10], None, 10, 20),  # late news of an earlier life
        ([20, 30], None, 10, 20),  # the present life is no proof
        ([20, 30, 30], None, 10, 20),
        ([], Disk(20, {}, 7), 10, 20),  # the log says so
        ([], Disk(20, {}, 8), 10, 0),  # of another disk
        ([], Disk(30, {}, 7), 10, 0),  # of this life
        ([10], Disk(20, {}, 7), 10, 20),
        ([], None, 0, 0),
    ],
)
def test_a_disk_must_remember_the_lives_that_others_have_seen_on_it(
    seen: list[int], logged: Disk | None, before: int, lived: int
) -> None:
    lives = Lives()
    for generation in seen:
        lives.see(member(generation), Life(7))
    lives.see(member(99, "b"), Life(7))
    assert lives.forgotten(member(30), Life(7, before), logged) == lived


def test_a_life_is_new_once() -> None:
    lives = Lives()
    assert [lives.see(member(each), Life(7)) for each in (10, 10, 20, 10, 20)] == [True, False, True, False, False]
    assert lives.see(member(20), Life(8))


def test_a_shard_that_speaks_before_gossip_calls_it_alive_is_looked_at_first() -> None:
    """Or what it says in a life would be held against what that life began with."""
    cluster = ShardCluster(3).formed()
    listener, other = cluster.others()[0], cluster.led()
    listener.kill()
    listener.start()
    shard, now, raft = listener.up, cluster.world.now, other.up.raft
    record = next(r for r in other.up.membership.live() if r.name == other.name)
    assert raft is not None
    shard.step(Identity("x", 1), Gossip((structs.replace(record, status=DEAD),)), now)
    log = raft.log
    shard.step(other.up.identity, Append(raft.term, log.last_index, log.last_term, (), 1), now)
    shard.step(Identity("x", 1), Gossip((structs.replace(record, incarnation=record.incarnation + 1),)), now)
    assert shard.membership.status(other.name) == ALIVE
    assert not shard.trust.forgetful


def test_nobody_is_held_to_the_beginning_of_a_life_that_was_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a shard has promised in the middle of a life is more than what it told when that began."""
    monkeypatch.setattr(lives_module, "DISKS_REMEMBERED", 1)
    cluster = ShardCluster(3).formed()
    for number in range(3):
        cluster.propose(StopRun(f"run-{number}"))
    cluster.run(2 * SECOND)
    assert [machine.up.trust.forgetful for machine in cluster.running()] == [(), (), ()]


def test_the_memory_of_disks_is_bounded() -> None:
    lives = Lives()
    for number in range(3 * DISKS_REMEMBERED):
        lives.see(member(1), Life(number))
    assert len(lives._seen) == DISKS_REMEMBERED


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"disk": "7"},
        {"life": "1 2 3"},
        {"disk": "7", "life": "1 2"},
        {"disk": "7", "life": "1 2 3 4"},
        {"disk": "7", "life": "1 2 -3"},
        {"disk": "7", "life": "1 2 x"},
        {"disk": "7", "life": "1 2 \u0663"},
        {"disk": "", "life": "1 2 3"},
        {"disk": "7", "life": f"1 2 {'3' * 21}"},
        {"disk": "7", "life": "forgot"},
    ],
)
def test_a_tag_that_makes_no_sense_tells_nothing(tags: dict[str, str]) -> None:
    assert life_of(tags) is None


@pytest.mark.parametrize("life", [Life(7), Life(7, 1, 2, 3), Life(7, 1, 2, 3, forgot=True)])
def test_what_a_life_tells_is_read_as_it_was_told(life: Life) -> None:
    assert life_of({"disk": str(life.disk), "life": life.tag}) == life


# -- whole shards ------------------------------------------------------------------------------------------------------


def copy(drive: Drive) -> Drive:
    return replace(drive, held=dict(drive.held), states=dict(drive.states))


def decide(cluster: ShardCluster) -> None:
    """One more entry in the log, which all have."""
    cluster.propose(StopRun("nothing"))
    index = cluster.led().up.applied_index
    cluster.until(lambda: all(machine.up.applied_index >= index for machine in cluster.running()), 10 * SECOND)


def goes_back(cluster: ShardCluster, victim: Machine, *, lives: int = 1) -> None:
    """To what its drive was some decisions and so many lives ago."""
    drive = copy(victim.drive)
    for _ in range(lives):
        victim.kill()
        victim.start()
        cluster.until(lambda: cluster.have_view(*cluster.machines))
        decide(cluster)
    decide(cluster)
    victim.kill()
    victim.drive = drive
    victim.start()


def comes_back_as_new(cluster: ShardCluster, victim: Machine) -> None:
    """What the host does with the effect; then all is as if the drive had been wiped, but for the graphs on it."""
    cluster.until(lambda: bool(victim.saw(DiskWentBack)), 20 * SECOND)
    victim.kill()
    victim.drive = replace(victim.drive, number=victim.drive.number + 100, stored=None, life=victim.generation)
    victim.start()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    server = f"{victim.name}/{victim.drive.number}"
    cluster.until(lambda: server in cluster.led().up.raft.configuration.voters)  # type: ignore[union-attr]
    assert len(cluster.led().up.raft.configuration.members) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("leads", [False, True])
@pytest.mark.parametrize("lives", [1, 2])
def test_a_disk_of_an_earlier_life_is_known_by_its_peers_and_comes_back_as_new(leads: bool, lives: int) -> None:
    cluster = ShardCluster(3).formed()
    victim = cluster.led() if leads else cluster.others()[0]
    goes_back(cluster, victim, lives=lives)
    cluster.until(lambda: bool(victim.up.trust.lost), 20 * SECOND)
    assert not victim.up.raft.is_leader  # type: ignore[union-attr]
    comes_back_as_new(cluster, victim)


def test_a_log_that_has_lost_what_it_acknowledged_is_known_by_the_leader() -> None:
    """In the same life, so that the lives are none the wiser."""
    cluster = ShardCluster(3).formed()
    victim, leader = cluster.others()[0], cluster.led()
    goes_back(cluster, victim, lives=0)
    comes_back_as_new(cluster, victim)
    assert leader.name == cluster.led().name


def test_a_disk_that_has_gone_back_comes_back_as_new_each_time_that_it_is_put_in_again() -> None:
    """Its lives fit, for the last one that the others have seen on it ended when it was told."""
    cluster = ShardCluster(3).formed()
    victim = cluster.others()[0]
    drive = copy(victim.drive)
    goes_back(cluster, victim)
    remembered = victim.generation
    comes_back_as_new(cluster, victim)
    victim.kill()
    victim.drive = replace(copy(drive), life=remembered)
    victim.start()
    comes_back_as_new(cluster, victim)


def test_a_shard_that_knows_it_of_itself_tells_the_others() -> None:
    cluster = ShardCluster(3).formed()
    victim = cluster.others()[0]
    victim.kill()
    victim.drive = replace(copy(victim.drive), forgot=True)
    victim.start()
    victim.drive.forgot = False
    assert victim.up.trust.lost
    comes_back_as_new(cluster, victim)


def test_a_leader_that_knows_nothing_of_it_is_leader_enough() -> None:
    """Who knew told it while nobody led, and a shard that is silent gives nobody cause to say it again."""
    cluster = ShardCluster(3).formed()
    victim, knows = cluster.others()
    server = f"{victim.name}/{victim.drive.number}"
    told = DiskForgets(server, victim.generation, victim.generation - 1, 0, 0, is_led=False)
    victim.perform(victim.up.step(knows.up.identity, told, cluster.world.now))
    assert victim.up.trust.lost
    assert not victim.saw(DiskWentBack)
    assert not cluster.led().up.trust.forgetful
    comes_back_as_new(cluster, victim)


def test_a_power_cut_of_all_leaves_what_the_log_knows_of_the_lives() -> None:
    cluster = ShardCluster(3).formed()
    victim = cluster.others()[0]
    drive = copy(victim.drive)
    victim.kill()
    victim.start()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    for machine in cluster.machines.values():
        machine.kill()
    victim.drive = drive
    for machine in cluster.machines.values():
        machine.start()
    comes_back_as_new(cluster, victim)


def test_one_that_is_the_only_other_voter_decides_nothing_until_the_third_is_back() -> None:
    """Its vote would make a majority out of one memory."""
    cluster = ShardCluster(3).formed()
    victim, third = cluster.others()
    decide(cluster)
    drive = copy(victim.drive)
    victim.kill()
    victim.start()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    decide(cluster)
    third.kill()
    victim.kill()
    victim.drive = drive
    cluster.world.run(10 * SECOND)
    victim.start()
    cluster.world.run(20 * SECOND)
    assert victim.up.trust.lost
    assert not victim.saw(DiskWentBack), "there is nobody yet whom it could join"
    assert all(machine.up.leader is None for machine in cluster.running())
    third.start()
    comes_back_as_new(cluster, victim)


def test_two_of_three_that_went_back_elect_nobody_and_keep_what_they_have() -> None:
    cluster = ShardCluster(3).formed()
    kept = cluster.led()
    victims = cluster.others()
    drives = [copy(victim.drive) for victim in victims]
    for victim in victims:
        victim.kill()
        victim.start()
        cluster.until(lambda: cluster.have_view(*cluster.machines))
        decide(cluster)
    applied = kept.up.applied_index
    for victim, drive in zip(victims, drives, strict=True):
        victim.kill()
        victim.drive = drive
    cluster.world.run(10 * SECOND)
    for victim in victims:
        victim.start()
    cluster.world.run(30 * SECOND)
    assert all(victim.up.trust.lost for victim in victims)
    assert not any(victim.saw(DiskWentBack) for victim in victims)
    assert {machine.up.leader for machine in cluster.running()} == {None}
    assert kept.up.applied_index >= applied, "what the third one knows is not written over"


def test_an_honest_disk_is_never_suspected() -> None:
    cluster = ShardCluster(3).formed()
    for _ in range(3):
        for machine in cluster.machines.values():
            decide(cluster)
            machine.kill()
            cluster.world.run(200 * MS)
            machine.start()
            cluster.until(lambda: cluster.have_view(*cluster.machines))
    assert not any(machine.up.trust.lost or machine.up.trust.forgetful for machine in cluster.machines.values())

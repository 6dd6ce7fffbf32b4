"""The cluster version: raised once all can be at it, never lowered, and a door that is closed to who can't."""

from __future__ import annotations

import pytest

from daemon.control.effects import KeptOut, LogUnreadable
from daemon.control.lives import DISK_TAG
from daemon.control.raising import Holder, can_join, common_version, holding_down
from daemon.control.versions import CLUSTER_VERSION_TAG, OWN, VERSION_TAG, Version
from daemon.membership.messages import Member
from daemon.services.cluster.waiting import why_waiting
from daemon.state.commands import Identity, RaiseVersion, StopRun
from tests.daemon.control.network import SETTINGS, Machine, ShardCluster
from tests.simulator.world import SECOND

NOW, NEXT = OWN.newest, OWN.newest + 1
LATER = Version("9.1.0", NOW, NEXT)
LATEST = Version("9.2.0", NEXT, NEXT + 1)


def cluster_of(*versions: Version, size: int = 3) -> ShardCluster:
    cluster = ShardCluster(size, seed=3)
    for machine, version in zip(cluster.machines.values(), versions, strict=False):
        machine.version = version
    cluster.form()
    return cluster


def at(cluster: ShardCluster, version: int) -> bool:
    return all(machine.registry.cluster_version == version for machine in cluster.running())


def upgrade(machine: Machine, version: Version = LATER) -> None:
    machine.kill()
    machine.version = version
    machine.start()


def test_founders_begin_at_the_highest_version_that_all_can_be_at() -> None:
    for versions, expected in (((OWN, OWN, OWN), NOW), ((LATER, OWN, LATER), NOW), ((LATER, LATER, LATEST), NEXT)):
        cluster = cluster_of(*versions)
        cluster.until(lambda: at(cluster, expected))  # noqa: B023
        cluster.run(5 * SECOND)
        assert at(cluster, expected)
        tags = [dict(record.member.tags) for record in cluster["ant"].up.membership.live()]
        assert [tag[CLUSTER_VERSION_TAG] for tag in tags] == [str(expected)] * 3


def holders(cluster: ShardCluster) -> list[Holder]:
    """Who keeps the version down, as each shard would say."""
    said = []
    for machine in cluster.running():
        shard, view = machine.up, machine.registry.view
        assert shard.raft is not None
        assert view is not None
        live = [record.member for record in shard.membership.live()]
        servers = shard.raft.configuration.members
        said.append(holding_down(machine.registry.cluster_version, view.members, servers, live))
    assert all(one == said[0] for one in said)
    return said[0]


def test_who_keeps_it_down_is_named_as_long_as_it_does() -> None:
    cluster = cluster_of()
    ant, bee, cat = cluster.machines.values()
    cat.kill()
    cluster.until(lambda: cluster.have_view("ant", "bee"))
    assert holders(cluster) == [], "nobody could be at a later one"
    upgrade(ant)
    cluster.until(lambda: cluster.have_view("ant", "bee"))
    assert holders(cluster) == [Holder("bee", True, OWN), Holder("cat", False, None)]
    upgrade(bee)
    cluster.until(lambda: cluster.have_view("ant", "bee"))
    assert holders(cluster) == [Holder("cat", False, None)], "a server that is gone is in no view"
    cat.wipe()
    upgrade(cat)
    cluster.until(lambda: at(cluster, NEXT), 60 * SECOND)
    assert holders(cluster) == []


def test_a_rolling_upgrade_raises_it_with_the_last_one_and_not_before() -> None:
    cluster = cluster_of()
    for machine in cluster.machines.values():
        cluster.run(10 * SECOND)
        assert at(cluster, NOW)
        upgrade(machine)
        cluster.until(lambda: cluster.have_view(*cluster.machines))
    cluster.until(lambda: at(cluster, NEXT), 10 * SECOND)
    assert len({b"".join(machine.up.state.freeze()) for machine in cluster.running()}) == 1


def test_who_is_away_holds_it_down() -> None:
    cluster = cluster_of()
    away, *others = cluster.machines.values()
    away.kill()
    for machine in others:
        upgrade(machine)
        cluster.until(lambda: cluster.have_view(*(other.name for other in others)))
    cluster.run(30 * SECOND)
    assert at(cluster, NOW)
    away.start()  # with what it had
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    cluster.run(10 * SECOND)
    assert at(cluster, NOW)
    upgrade(away)
    cluster.until(lambda: at(cluster, NEXT))


def test_it_is_never_lowered() -> None:
    cluster = cluster_of(LATER, LATER, LATER)
    cluster.until(lambda: at(cluster, NEXT))
    for version in (NOW, NEXT):
        answer = cluster.propose(RaiseVersion(version))
        assert answer.error == f"the cluster version is {NEXT} already, and is never lowered"


def test_a_later_leader_and_a_snapshot_know_it() -> None:
    cluster = cluster_of(LATER, LATER, LATER)
    cluster.until(lambda: at(cluster, NEXT))
    leader, late = cluster.led(), cluster.others()[0]
    late.kill()
    for _ in range(2 * SETTINGS.snapshot_entries):
        cluster.propose(StopRun("nothing"), leader)
    late.wipe()
    late.start()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    assert at(cluster, NEXT)


def test_who_was_downgraded_before_it_is_raised_works_on() -> None:
    cluster = cluster_of(LATER, LATER, OWN)
    upgrade(cluster["ant"], OWN)
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    upgrade(cluster["cat"])
    cluster.run(10 * SECOND)
    assert at(cluster, NOW)


def test_who_was_downgraded_after_it_was_raised_stops_with_a_sentence() -> None:
    cluster = cluster_of(LATER, LATER, LATER)
    cluster.until(lambda: at(cluster, NEXT))
    old = cluster.others()[0]
    upgrade(old, OWN)
    cluster.until(lambda: old.shard is None)
    (stopped,) = old.saw(LogUnreadable)
    assert f"version: the cluster's becomes {NEXT}, and this Shoal reads up to {NOW}" in stopped.why
    assert "Install the version that the others run" in stopped.why


@pytest.mark.parametrize(("cluster_version", "joins"), [(LATER, OWN), (OWN, LATEST)])
def test_a_joining_shard_that_can_not_be_at_it_is_kept_out_and_both_sides_say_why(
    cluster_version: Version, joins: Version
) -> None:
    cluster = ShardCluster(4, seed=3)
    for machine in cluster.machines.values():
        machine.version = cluster_version
    new = cluster["dog"]
    for name in ("ant", "bee", "cat"):
        cluster[name].start()
    cluster.until(lambda: cluster.have_view("ant", "bee", "cat"))
    cluster.until(lambda: all(m.registry.cluster_version == cluster_version.newest for m in cluster.running()))
    new.version = joins
    new.start()
    cluster.run(20 * SECOND)
    assert cluster["ant"].registry.view is not None
    assert cluster["ant"].registry.view.names == ("ant", "bee", "cat")
    raft = cluster.led().up.raft
    assert raft is not None
    assert not [server for server in raft.configuration.members if server.startswith("dog")]
    sentence = (
        f"shard dog runs {joins}, and the cluster is at version {cluster_version.newest}: "
        "install a Shoal that supports it"
    )
    assert why_waiting(new.up, 3) == sentence
    assert [kept.why for kept in cluster.led().saw(KeptOut)] == [sentence]
    assert not any(machine.saw(KeptOut) for machine in cluster.others())
    upgrade(new, cluster_version)
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    assert why_waiting(new.up, 3) == ""


# -- the rule alone ------------------------------------------------------------------------------------------------


def member(name: str, tag: str = LATER.tag, generation: int = 1, disk: str = "7") -> Member:
    return Member(name, generation, f"tcp://{name}:1", "", b"", ((DISK_TAG, disk), (VERSION_TAG, tag)))


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([member("a"), member("b")], NEXT),
        ([member("a"), member("b", OWN.tag)], NOW),
        ([member("a", LATEST.tag), member("b", OWN.tag)], 0),
        ([member("a")], 0),
        ([member("a"), member("b", "nonsense")], 0),
        ([member("a"), member("b", generation=2)], 0),
        ([member("a"), member("b", disk="8")], 0),
        ([member("a"), member("b"), member("stranger", OWN.tag)], NEXT),
    ],
)
def test_the_common_version_is_that_of_all_members_and_servers(live: list[Member], expected: int) -> None:
    assert common_version([Identity("a", 1), Identity("b", 1)], ["a/7", "b/7"], live) == expected


def test_nobody_has_nothing_in_common() -> None:
    assert common_version([], [], [member("a")]) == 0


def test_who_may_be_in_a_cluster() -> None:
    tags = {VERSION_TAG: LATER.tag}
    assert [can_join(tags, version) for version in (0, NOW - 1, NOW, NEXT, NEXT + 1)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert can_join({}, 0)
    assert not can_join({}, NOW)

"""A rolling upgrade during faults: members of two versions, some of which are downgraded again."""

from __future__ import annotations

from random import Random

from daemon.control.versions import OWN, Version
from tests.simulator.cluster import Cluster
from tests.simulator.host import Host
from tests.simulator.network import FAIR, LOSSY, PLANES
from tests.simulator.next_version import NEXT, NEXT_VERSION, NOW
from tests.simulator.workload import recovered, start_runs
from tests.simulator.world import MS, SECOND

FAULTS = ("partition", "pause", "storm", "crash", "crash", "crash", "crash", "disk full", "join")
"""None loses a server for good: then the version might rise too early, or never."""


def upgraded_in_the_middle(seed: int, verbose: bool = False) -> Cluster:
    """While a member may have the older version, nobody sends anything new, and members may be downgraded; afterwards
    all send it.
    """
    random = Random(f"{seed} upgrade")
    cluster = Cluster(seed, random.randint(2, 4), spare=random.randint(0, 1), verbose=verbose)
    cluster.network.weather = dict.fromkeys(PLANES, random.choice([FAIR, FAIR, LOSSY]))
    last = random.choice(cluster.founders)  # keeps the version down
    others = [name for name in cluster.names if name != last]
    for name in others:
        cluster.hosts[name].version = random.choice([OWN, NEXT_VERSION])
    cluster.form()
    cluster.faults.schedule(12 * SECOND, random.choice([1, 2]), FAULTS)
    cluster.chatter(12 * SECOND)
    for name in others:
        for version in random.choice([[NEXT_VERSION], [NEXT_VERSION, OWN], [OWN, NEXT_VERSION]]):
            cluster.world.after(random.randrange(12 * SECOND), lambda h=cluster.hosts[name], v=version: _install(h, v))  # type: ignore[misc]
    over = cluster.world.now + 12 * SECOND
    start_runs(cluster, 12 * SECOND)
    cluster.world.run(max(0, over - cluster.world.now))
    assert all(host.shard.registry.cluster_version in (0, NOW) for host in cluster.running())
    assert not any(any(host.news) for host in cluster.hosts.values()), "something new is said too early"
    _upgrade_the_rest(cluster, random)
    start_runs(cluster, 2 * SECOND)
    control, ticks = zip(*(host.news for host in cluster.running()), strict=True)
    assert any(control), "nothing new is said between the control planes"
    assert any(ticks), "nothing new is said between the tick planes"
    return recovered(cluster)


def _install(host: Host, version: Version) -> None:
    """Installs the version for the next life."""
    host.version = version


def _upgrade_the_rest(cluster: Cluster, random: Random) -> None:
    """Upgrades the others one after the other, during whatever runs there are."""
    cluster.faults.heal()

    def settled() -> bool:
        return not cluster.faults.expected() and cluster.is_settled()

    assert cluster.world.run_until(settled, 120 * SECOND), f"not settled: {cluster.told()}"
    for host in cluster.hosts.values():
        host.version = NEXT_VERSION
        if host.running and host.daemon.version != NEXT_VERSION:
            cluster.faults.crash(host.name, random.randrange(200 * MS, 2 * SECOND))
            assert cluster.world.run_until(settled, 120 * SECOND), f"{host.name}: {cluster.told()}"

    def raised() -> bool:
        return {host.shard.registry.cluster_version for host in cluster.running()} == {NEXT}

    assert cluster.world.run_until(raised, 60 * SECOND), f"the version is not raised: {cluster.told()}"
